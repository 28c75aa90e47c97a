"""float16: weights and arithmetic in half precision, inputs and outputs in float32.

The conversion is ONNX Runtime's (`onnxruntime.transformers.float16`). It leaves operators in float32 that have no
float16 kernel or that lose too much (its DEFAULT_OP_BLOCK_LIST), and clips weights beyond ±65504, which is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST = 65504.0


def to_float16(model: Any, keep: Iterable[str]) -> tuple[Any, tuple[str, ...]]:
    """The model in float16, and what a reader of it should know.

    Args:
        model: cleaned, in float32. It is not changed.
        keep: names of nodes that stay in float32.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    clipped = _beyond(copy)
    converted = convert_float_to_float16(copy, keep_io_types=True, node_block_list=sorted(keep))
    return converted, _notes(clipped)


def _beyond(model: Any) -> list[str]:
    """Names of the float32 initialisers with finite values that float16 cannot hold."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    names = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = np.abs(numpy_helper.to_array(tensor))
            if values[np.isfinite(values)].max(initial=0.0) > LARGEST:
                names.append(tensor.name)
    return names


def _notes(clipped: list[str]) -> tuple[str, ...]:
    if not clipped:
        return ()
    shown = ", ".join(clipped[:3]) + (", …" if len(clipped) > 3 else "")
    return (f"Values beyond 65504, the largest float16, were clipped in {len(clipped)} tensors ({shown}).",)
