"""Slices, crops, bands and padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edgekit.convert.mil.values import Tensor, ints, number

if TYPE_CHECKING:
    from collections.abc import Callable


def band_part(x: Tensor, lower: Tensor | None = None, upper: Tensor | None = None) -> Tensor:
    """Zeros all but `lower` diagonals below and `upper` above the main one; a negative number keeps the whole side."""
    below, above = (-1 if n is None else ints(n)[0] for n in (lower, upper))
    rows, columns = torch.arange(x.shape[-2])[:, None], torch.arange(x.shape[-1])[None, :]
    keep = torch.ones(x.shape[-2:], dtype=torch.bool)
    if below >= 0:
        keep &= rows - columns <= below
    if above >= 0:
        keep &= columns - rows <= above
    return torch.where(keep, x, torch.zeros_like(x))


def crop(x: Tensor, crop_height: Tensor, crop_width: Tensor) -> Tensor:
    """Cuts elements off both ends of the last two axes."""
    (top, bottom), (left, right) = ints(crop_height), ints(crop_width)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def pad(x: Tensor, pad: Tensor, mode: str = "constant", constant_val: Tensor | None = None) -> Tensor:
    """Pads the last axes: `pad` holds before and after for each of them, the outermost first.

    "reflect" repeats the values next to the edge without the edge itself, "replicate" the edge.
    """
    pairs = torch.as_tensor(ints(pad)).reshape(-1, 2).tolist()
    first = x.ndim - len(pairs)
    for axis, (before, after) in enumerate(pairs, start=first):
        if not before and not after:
            continue
        if mode == "constant":
            value = 0.0 if constant_val is None else number(constant_val)
            ends = [
                torch.full([n if i == axis else size for i, size in enumerate(x.shape)], value, dtype=x.dtype)
                for n in (before, after)
            ]
            x = torch.cat([ends[0], x, ends[1]], axis)
        else:
            x = x.index_select(axis, _mirrored(x.shape[axis], before, after, reflect=mode == "reflect"))
    return x


def _mirrored(size: int, before: int, after: int, *, reflect: bool) -> Tensor:
    positions = torch.arange(-before, size + after)
    if not reflect:
        return positions.clamp(0, size - 1)
    positions = positions.abs()
    return torch.where(positions >= size, 2 * (size - 1) - positions, positions)


def slice_by_index(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """x[begin:end:stride] on every axis, as NumPy slices; a mask ignores a begin or an end, or takes one element."""
    positions, squeezed = _positions(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    for axis, taken in enumerate(positions):
        if len(taken) != x.shape[axis] or taken.step != 1:
            x = x.index_select(axis, torch.tensor(list(taken), dtype=torch.int64))
    return x.squeeze(tuple(squeezed)) if squeezed else x


def slice_by_size(x: Tensor, begin: Tensor, size: Tensor) -> Tensor:
    """`size` elements from `begin` on every axis; -1 takes what is left."""
    for axis, (start, length) in enumerate(zip(ints(begin), ints(size), strict=True)):
        first = start % x.shape[axis] if start < 0 else start
        x = x.narrow(axis, first, x.shape[axis] - first if length == -1 else length)
    return x


def slice_update(
    x: Tensor,
    update: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """A copy of `x` with the slice that `slice_by_index` would take replaced by `update`."""
    positions, _ = _positions(x, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    grid = torch.meshgrid([torch.tensor(list(taken), dtype=torch.int64) for taken in positions], indexing="ij")
    return x.index_put(grid, update.reshape(grid[0].shape))


def _positions(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None,
    begin_mask: Tensor | None,
    end_mask: Tensor | None,
    squeeze_mask: Tensor | None,
) -> tuple[list[range], list[int]]:
    """The positions taken on each axis, and the axes to remove."""

    def per_axis(parameter: Tensor | None, default: int) -> list[int]:
        return [default] * x.ndim if parameter is None else ints(parameter)

    first, last, steps = ints(begin), ints(end), per_axis(stride, 1)
    no_first, no_last, one = (per_axis(mask, 0) for mask in (begin_mask, end_mask, squeeze_mask))
    positions = []
    for axis, size in enumerate(x.shape):
        if one[axis]:
            at = 0 if no_first[axis] else first[axis] % size
            positions.append(range(at, at + 1))
        else:
            cut = slice(None if no_first[axis] else first[axis], None if no_last[axis] else last[axis], steps[axis])
            positions.append(range(*cut.indices(size)))
    return positions, [axis for axis in range(x.ndim) if one[axis]]


OPERATORS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function for function in (band_part, crop, pad, slice_by_index, slice_by_size, slice_update)
}
