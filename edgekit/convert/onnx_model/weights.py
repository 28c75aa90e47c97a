"""int8 weights alone: stored as int8 per channel, dequantized when they are used, everything computed in float32.

Symmetric: the largest magnitude of each channel becomes 127. A weight that would not get smaller stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

_COST_BYTES = 160
"""About what the DequantizeLinear node and its names take in the file."""


def weight_axes(model: Any) -> dict[str, dict[str, int]]:
    """By node, the initialisers that are its weights, each with the axis of its channels."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found: dict[str, dict[str, int]] = {}
    for node in model.graph.node:
        position, axis = _weight_of(node)
        name = node.input[position] if 0 <= position < len(node.input) else ""
        if name in constants and len(constants[name].dims) >= 2 and constants[name].data_type == 1:  # float32
            found[node.name] = {name: axis % len(constants[name].dims)}
    return found


def _weight_of(node: Any) -> tuple[int, int]:
    """(position of the weight among a node's inputs, axis of its channels); -1 for a node without weights."""
    if node.op_type == "Conv":
        return 1, 0
    if node.op_type == "ConvTranspose":
        return 1, 1
    if node.op_type == "MatMul":
        return 1, -1
    if node.op_type == "Gemm":
        return 1, 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return (0, 0) if node.op_type == "Gather" else (-1, 0)


def to_int8_weights(model: Any, keep: Collection[str]) -> Any:
    """A copy with the weights of all nodes as int8, but for those that a node in `keep` uses."""
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    axes: dict[str, set[int]] = {}
    for weights in weight_axes(model).values():
        for name, axis in weights.items():
            axes.setdefault(name, set()).add(axis)
    users: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, set()).add(node.name)
    chosen = {n: min(a) for n, a in axes.items() if len(a) == 1 and not users[n].intersection(keep)}
    kept, nodes = [], []
    for tensor in result.graph.initializer:
        made = _quantized(tensor, chosen[tensor.name]) if tensor.name in chosen else None
        if made is None:
            kept.append(tensor)
        else:
            kept += made[:-1]
            nodes.append(made[-1])
    body = [*nodes, *result.graph.node]
    del result.graph.initializer[:], result.graph.node[:]
    result.graph.initializer.extend(kept)
    result.graph.node.extend(body)
    return result


def _quantized(tensor: Any, axis: int) -> list[Any] | None:
    """The int8 tensor, its scales, and the node that makes floats of them; None if that would not be smaller."""
    import onnx
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    channels = values.shape[axis]
    if values.nbytes <= values.size + 4 * channels + _COST_BYTES:
        return None
    others = tuple(i for i in range(values.ndim) if i != axis)
    scales = np.abs(values).max(axis=others) / 127.0
    scales = np.where(scales == 0, 1.0, scales).astype(np.float32)
    shape = [1] * values.ndim
    shape[axis] = channels
    stored = np.clip(np.rint(values / scales.reshape(shape)), -127, 127).astype(np.int8)
    int8, scale = f"{tensor.name}.int8", f"{tensor.name}.scale"
    node = onnx.helper.make_node("DequantizeLinear", [int8, scale], [tensor.name], axis=axis)
    return [numpy_helper.from_array(stored, int8), numpy_helper.from_array(scales, scale), node]
