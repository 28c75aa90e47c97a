"""How the evaluator holds values, and how results are rounded to the dtype that the program declares.

Operators see three kinds of tensors only: floats are float32, whatever the program stores; integers are int64; booleans
are bool. A result is brought back to its declared dtype by `narrow`: float16 is rounded to the nearest even (and
overflows to infinity), integers wrap around in two's complement. So an operator need not know its precision, and a
float16 program is float32 arithmetic with one rounding after each operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BITS", "Tensor", "ints", "is_float", "narrow", "number", "to_numpy", "wide"]

BITS = {
    "int4": 4, "int8": 8, "int16": 16, "int32": 32, "int64": 64,
    "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6, "uint8": 8, "uint16": 16, "uint32": 32,
}  # fmt: skip
"""Width of every integer dtype, by MIL's name."""
NUMPY = {"fp16": "float16", "fp32": "float32", "bool": "bool", "int64": "int64"}
"""NumPy's names, where they differ from MIL's."""


def wide(value: Any) -> Tensor:
    """A constant or an input as operators see it: float32, int64 or bool."""
    array = np.asarray(value)
    if array.dtype.kind == "f":
        return torch.from_numpy(np.array(array, dtype=np.float32))
    if array.dtype.kind == "b":
        return torch.from_numpy(np.array(array))
    return torch.from_numpy(np.array(array, dtype=np.int64))


def narrow(tensor: Tensor, dtype: str) -> Tensor:
    """A result with the values that `dtype` can hold, again as operators see it.

    Args:
        tensor: float, integer or bool.
        dtype: MIL's name of the declared dtype.
    """
    if dtype == "fp32":
        return tensor.to(torch.float32)
    if dtype == "fp16":
        return tensor.to(torch.float16).to(torch.float32)
    if dtype == "bool":
        return tensor.to(torch.bool)
    bits = BITS[dtype]
    whole = tensor.to(torch.int64)
    if bits == 64:
        return whole
    if dtype.startswith("u"):
        return whole & ((1 << bits) - 1)
    half = 1 << (bits - 1)
    return ((whole + half) & ((1 << bits) - 1)) - half


def to_numpy(tensor: Tensor, dtype: str) -> np.ndarray:
    """A value in the dtype that the program declares, sub-byte ones as bytes."""
    name = NUMPY.get(dtype) or (dtype if BITS[dtype] >= 8 else ("uint8" if dtype.startswith("u") else "int8"))
    return np.array(tensor.numpy(), dtype=name, order="C")


def ints(tensor: Tensor | Iterable[int]) -> list[int]:
    """A parameter such as strides or axes as a list, also where it is a scalar."""
    return [int(n) for n in tensor.reshape(-1).tolist()] if isinstance(tensor, Tensor) else [int(n) for n in tensor]


def number(value: Tensor | float) -> float:
    """A scalar parameter, such as epsilon."""
    return float(value)


def is_float(tensor: Tensor) -> bool:
    """Whether a value is real rather than an integer or a bool."""
    return bool(tensor.dtype == torch.float32)
