"""Between numpy, ONNX and torch: arrays, dtypes, axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from edgekit.convert.onnx_to_torch.node import UnsupportedNodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "bool": torch.bool,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "uint16": torch.int32,
    "uint32": torch.int64,
    "uint64": torch.int64,
    "int4": torch.int8,
    "uint4": torch.uint8,
}
"""By numpy's (and ml_dtypes') name, the torch dtype that holds it."""


def dtype_name(onnx_type: int) -> str:
    """numpy's name of a TensorProto.DataType: `float32`.

    Raises:
        UnsupportedNodeError: it has none, or none that torch can hold (strings, complex numbers, float8).
    """
    from onnx import TensorProto, helper

    if onnx_type == TensorProto.STRING:
        raise UnsupportedNodeError("strings")
    name = str(np.dtype(helper.tensor_dtype_to_np_dtype(onnx_type)).name)
    if name not in _DTYPES:
        raise UnsupportedNodeError(f"the dtype {name}")
    return name


def torch_dtype(onnx_type: int) -> torch.dtype:
    """The torch dtype that holds a TensorProto.DataType."""
    return _DTYPES[dtype_name(onnx_type)]


def to_tensor(array: np.ndarray) -> Tensor:
    """A tensor of its own memory, in the dtype that holds the array's."""
    name = array.dtype.name
    if name not in _DTYPES:
        raise UnsupportedNodeError("strings" if array.dtype.kind in "OSU" else f"the dtype {name}")
    if name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    held = str(_DTYPES[name]).removeprefix("torch.")
    return torch.from_numpy(np.array(array, dtype=held, order="C"))


def to_array(tensor: Tensor) -> np.ndarray:
    """The tensor as numpy sees it; bfloat16, which it lacks, as float32."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return np.asarray(tensor.detach().cpu().numpy())


def ints(array: np.ndarray | Sequence[int] | int) -> list[int]:
    """A constant input (or a list attribute) as Python's integers."""
    return [int(value) for value in np.asarray(array).reshape(-1)]


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis


def number(value: Any) -> Any:
    """A foldable input: a Python number where it is a constant of one element, a tensor otherwise."""
    if isinstance(value, np.ndarray):
        return value.reshape(-1)[0].item() if value.size == 1 else to_tensor(value)
    return value
