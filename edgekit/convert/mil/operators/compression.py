"""Compressed weights (`constexpr_*`, in the versions of iOS 16 and iOS 18), and quantized activations.

Both versions of an operator have one function here: they differ in the names of their inputs. Weights are expanded
once, before the program runs, and rounded to the dtype of their scale or palette.
"""

from __future__ import annotations

from math import log2, prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from edgekit.convert.mil.values import Tensor, ints

if TYPE_CHECKING:
    from collections.abc import Callable

RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


def quantize(
    input: Tensor,  # noqa: A002 - MIL's name
    scale: Tensor,
    output_dtype: str,
    zero_point: Tensor | None = None,
    axis: Tensor | None = None,
) -> Tensor:
    """clip(round(input / scale) + zero point); halves go to the even."""
    low, high = RANGES[output_dtype]
    steps = torch.round(input / _along(scale, input, axis))
    if zero_point is not None:
        steps = steps + _along(zero_point, input, axis)
    return steps.clamp(low, high).to(torch.int64)


def dequantize(
    input: Tensor,  # noqa: A002 - MIL's name
    scale: Tensor,
    zero_point: Tensor | None = None,
    axis: Tensor | None = None,
) -> Tensor:
    """scale · (input - zero point)."""
    steps = input if zero_point is None else input - _along(zero_point, input, axis)
    return steps * _along(scale, input, axis)


def constexpr_affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Tensor) -> Tensor:
    return dequantize(quantized_data, scale, zero_point, axis)


def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """scale · (data - offset), with one scale and offset per block; blocks divide every axis evenly."""
    steps = data if offset is None else data - _per_block(offset, data)
    return steps * _per_block(scale, data)


def constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:  # noqa: ARG001 - the declared dtype
    return source_val


def constexpr_lut_to_dense(
    indices: Tensor, lut: Tensor, shape: Tensor | None = None, vector_axis: Tensor | None = None
) -> Tensor:
    """Values by their index in a palette.

    iOS 16 packs the indices into bytes, least significant bit first, and has one palette; `shape` is the result's.
    From iOS 18 on `indices` has the result's rank, and `lut` two axes more: one palette per block, and a vector of
    values per entry, which is laid out along `vector_axis`.
    """
    if shape is not None:
        size = ints(shape)
        return lut[_unpacked(indices, int(log2(lut.numel())), prod(size))].reshape(size)
    return _from_palettes(indices, lut, vector_axis)


def constexpr_sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: Tensor | None = None) -> Tensor:
    """Zeros where the mask has a 0, else the next value. iOS 16 packs the mask into bytes."""
    if shape is not None:
        size = ints(shape)
        mask = _unpacked(mask, 1, prod(size)).reshape(size)
    return _spread(nonzero_data, mask)


def constexpr_lut_to_sparse(
    indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(the mask, the values of the elements that it marks)."""
    dense = _from_palettes(_spread(indices_nonzero_data, indices_mask), lut, vector_axis)
    mask = indices_mask
    if vector_axis is not None:
        mask = mask.repeat_interleave(lut.shape[-1], ints(vector_axis)[0])
    return mask, dense[mask != 0]


def constexpr_sparse_blockwise_shift_scale(
    data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(the mask, the values of the elements that it marks)."""
    dense = constexpr_blockwise_shift_scale(_spread(nonzero_data, data_mask), scale, offset)
    return data_mask, dense[data_mask != 0]


def _along(parameter: Tensor, x: Tensor, axis: Tensor | None) -> Tensor:
    """A scalar as it is; a vector along `axis` of `x`."""
    if parameter.ndim == 0:
        return parameter
    assert axis is not None
    at = ints(axis)[0] % x.ndim
    return parameter.reshape([-1 if i == at else 1 for i in range(x.ndim)])


def _per_block(parameter: Tensor, data: Tensor) -> Tensor:
    for axis, size in enumerate(data.shape):
        block = size // parameter.shape[axis]
        # One block along the axis broadcasts by itself.
        if block > 1 and parameter.shape[axis] > 1:
            parameter = parameter.repeat_interleave(block, axis)
    return parameter


def _from_palettes(indices: Tensor, lut: Tensor, vector_axis: Tensor | None) -> Tensor:
    entries, vector = lut.shape[-2:]
    palettes = lut.reshape(-1, entries, vector)
    block = torch.arange(len(palettes)).reshape(lut.shape[:-2])  # the number of each element's palette
    for axis, size in enumerate(indices.shape):
        block = block.repeat_interleave(size // lut.shape[axis], axis)
    values = palettes[block, indices]
    if vector == 1:
        return values.squeeze(-1)
    assert vector_axis is not None
    at = ints(vector_axis)[0] % indices.ndim
    return values.movedim(-1, at + 1).flatten(at, at + 1)


def _spread(values: Tensor, mask: Tensor) -> Tensor:
    dense = torch.zeros(mask.shape, dtype=values.dtype)
    dense[mask != 0] = values
    return dense


def _unpacked(packed: Tensor, bits: int, count: int) -> Tensor:
    """`count` numbers of `bits` each, packed without gaps, least significant bit first."""
    stream = np.unpackbits(packed.numpy().astype(np.uint8), bitorder="little")[: count * bits]
    return torch.from_numpy(stream.reshape(count, bits).astype(np.int64) @ (1 << np.arange(bits)))


OPERATORS: dict[str, Callable[..., Tensor | tuple[Tensor, Tensor]]] = {
    function.__name__: function
    for function in (
        constexpr_affine_dequantize, constexpr_blockwise_shift_scale, constexpr_cast, constexpr_lut_to_dense,
        constexpr_lut_to_sparse, constexpr_sparse_blockwise_shift_scale, constexpr_sparse_to_dense, dequantize,
        quantize,
    )
}  # fmt: skip
