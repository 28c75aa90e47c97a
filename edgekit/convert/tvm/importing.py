"""From an export to a Relax module: PyTorch programs and ONNX files.

Attention is kept whole through PyTorch's decompositions and translated here, into two batched products around a
softmax. Decomposed, it comes with a check for rows that are masked throughout, seven operators over all scores, which
an attention without a mask does not need.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgekit.convert.programs import load_program
from edgekit.errors import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

_ATTENTION = "scaled_dot_product_attention.default"


def from_torch_export(path: Path) -> Any:
    """The Relax module of a `torch.export` program, its parameters as constants, its outputs as a tuple.

    Raises:
        RefusedError: TVM's importer does not know an operator of the program; names it.
    """
    import torch
    from tvm.relax.frontend.torch import from_exported_program

    table = torch.export.default_decompositions()
    table.pop(torch.ops.aten.scaled_dot_product_attention.default, None)
    program = load_program(path).run_decompositions(table)
    try:
        return from_exported_program(program, run_ep_decomposition=False, custom_convert_map=_ours())
    except (AssertionError, NotImplementedError, ValueError) as error:
        raise RefusedError(
            f"TVM's importer cannot read the model: {str(error).strip().splitlines()[-1]}.",
            remedy="Replace that operator in the model, or choose another format.",
        ) from error


def from_onnx(path: Path) -> Any:
    """The Relax module of an ONNX file, its initializers as constants, its outputs as a tuple.

    Raises:
        RefusedError: TVM's importer does not know an operator of the file; names it.
    """
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx as import_onnx

    try:
        module = import_onnx(onnx.load(str(path)), keep_params_in_input=False)
    except (tvm.error.InternalError, tvm.error.OpError, NotImplementedError, ValueError, AssertionError) as error:
        raise RefusedError(
            f"TVM's importer cannot read the ONNX file: {str(error).strip().splitlines()[-1]}.",
            remedy="Replace that operator in the model, or choose another format.",
        ) from error
    module = relax.transform.DecomposeOpsForInference()(module)
    return relax.transform.CanonicalizeBindings()(module)


def _ours() -> dict[str, Any]:
    """The operators that are translated here: attention, and what TVM's importer does not know."""
    return {_ATTENTION: _attention, "amax.default": _extreme("max"), "amin.default": _extreme("min")}


def _extreme(name: str) -> Any:
    def translate(node: Any, importer: Any) -> Any:
        from tvm import relax

        given = list(node.args[1:])
        axes = given[0] if given else []
        keeps = len(given) > 1 and bool(given[1])
        return importer.block_builder.emit(
            getattr(relax.op, name)(importer.env[node.args[0]], axes or None, keepdims=keeps)
        )

    return translate


def _attention(node: Any, importer: Any) -> Any:
    """softmax(q kᵀ · scale + mask) v, as `torch.nn.functional.scaled_dot_product_attention` defines it."""
    import numpy as np
    from tvm import relax

    emit = importer.block_builder.emit
    given = dict(zip(("attn_mask", "dropout_p", "is_causal"), node.args[3:], strict=False)) | dict(node.kwargs)
    query, key, value = (importer.env[argument] for argument in node.args[:3])
    if given.get("dropout_p") or given.get("enable_gqa"):
        raise NotImplementedError("attention with dropout or grouped queries")
    depth = importer.shape_of(query)[-1]
    scale = given.get("scale") or 1.0 / math.sqrt(int(depth))
    dtype = str(query.ty.dtype)
    swap = [*range(len(importer.shape_of(key)) - 2), -1, -2]
    axes = [axis % len(swap) for axis in swap]
    scores = emit(relax.op.matmul(query, emit(relax.op.permute_dims(key, axes))))
    scores = emit(relax.op.multiply(scores, relax.const(scale, dtype)))
    minus_infinity = relax.const(np.array(-np.inf, dtype))
    mask = given.get("attn_mask")
    if mask is not None:
        mask = importer.env[mask]
        if str(mask.ty.dtype) == "bool":
            zero = relax.const(0.0, dtype)
            mask = emit(relax.op.where(mask, zero, minus_infinity))
        scores = emit(relax.op.add(scores, mask))
    if given.get("is_causal"):
        rows, columns = (int(size) for size in list(importer.shape_of(scores))[-2:])
        triangle = np.where(np.tri(rows, columns, dtype=bool), 0.0, -np.inf).astype(dtype)
        scores = emit(relax.op.add(scores, relax.const(triangle)))
    weights = emit(relax.op.nn.softmax(scores, axis=-1))
    if mask is not None:  # a row that is masked throughout attends to nothing, rather than to NaN
        highest = emit(relax.op.max(scores, axis=[-1], keepdims=True))
        # TVM's maximum begins at the lowest finite number, so that is what a row of minus infinity gives.
        empty = emit(relax.op.less_equal(highest, relax.const(np.finfo(dtype).min, dtype)))
        weights = emit(relax.op.where(empty, relax.const(0.0, dtype), weights))
    return emit(relax.op.matmul(weights, value))
