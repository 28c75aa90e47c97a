"""Operators whose results are constant, or known from shapes alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgekit.convert.onnx_to_torch.node import Node, Operator, UnsupportedNodeError
from edgekit.convert.onnx_to_torch.tensors import axis_of, ints, to_tensor, torch_dtype


def _constant(node: Node) -> Tensor:
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32),
                        ("value_int", np.int64), ("value_ints", np.int64)):  # fmt: skip
        if name in node.attributes:
            return to_tensor(np.asarray(node.attributes[name], dtype=dtype))
    if "value" not in node.attributes:
        raise UnsupportedNodeError(f"a constant given as {', '.join(node.attributes)}")
    return to_tensor(node.attributes["value"])


def _constant_of_shape(node: Node, shape: np.ndarray) -> Tensor:
    value = node.get("value", np.zeros(1, dtype=np.float32))
    return to_tensor(np.full(ints(shape), value.reshape(-1)[0], dtype=value.dtype))


def _range(_node: Node, start: np.ndarray, limit: np.ndarray, step: np.ndarray) -> Tensor:
    """Each element is start + i × step, as the standard says, not a running sum."""
    count = max(0, int(np.ceil((float(limit.item()) - float(start.item())) / float(step.item()))))
    return to_tensor((start.reshape(()) + np.arange(count) * step.reshape(())).astype(start.dtype))


def _eye_like(node: Node, x: Tensor) -> Tensor:
    dtype = torch_dtype(node.get("dtype")) if node.get("dtype") is not None else x.dtype
    rows, columns = x.shape
    return torch.from_numpy(np.eye(rows, columns, node.get("k", 0))).to(dtype)


def _shape(node: Node, x: Tensor) -> Tensor:
    """`start` and `end` (opset 15) cut the shape like a Python slice."""
    return torch.tensor(list(x.shape)[node.get("start", 0) : node.get("end")], dtype=torch.int64)


def _size(_node: Node, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64)


def _one_hot(node: Node, indices: Tensor, depth: np.ndarray, values: Tensor) -> Tensor:
    """Indices in -depth..depth-1; beyond it a row of the off value."""
    count = int(depth.reshape(-1)[0])
    axis = axis_of(node.get("axis", -1), indices.ndim + 1)
    positive = torch.where(indices < 0, indices + count, indices).unsqueeze(axis)
    shape = [1] * positive.ndim
    shape[axis] = count
    hot = positive == torch.arange(count, dtype=positive.dtype).reshape(shape)
    return torch.where(hot, values[1], values[0])


def _window(function: Any) -> Operator:
    """Hann, Hamming and Blackman windows: a cosine series over `size` (periodic) or `size - 1` (symmetric) steps."""

    def run(node: Node, size: np.ndarray) -> Tensor:
        count = int(size.reshape(-1)[0])
        steps = count if node.get("periodic", 1) else count - 1
        angle = 2 * np.pi * np.arange(count) / max(steps, 1)
        return torch.from_numpy(function(angle)).to(torch_dtype(node.get("output_datatype", 1)))

    return Operator(run, static=(0,))


OPERATORS = {
    "BlackmanWindow": _window(lambda angle: 0.42 - 0.5 * np.cos(angle) + 0.08 * np.cos(2 * angle)),
    "Constant": Operator(_constant),
    "ConstantOfShape": Operator(_constant_of_shape, static=(0,)),
    "EyeLike": Operator(_eye_like, described=(0,)),
    "HammingWindow": _window(lambda angle: 25 / 46 - 21 / 46 * np.cos(angle)),
    "HannWindow": _window(lambda angle: 0.5 - 0.5 * np.cos(angle)),
    "OneHot": Operator(_one_hot, static=(1,)),
    "Range": Operator(_range, static=(0, 1, 2)),
    "Shape": Operator(_shape, described=(0,)),
    "Size": Operator(_size, described=(0,)),
}
