"""Operators that move elements without computing: reshapes, permutations, joins, rearrangements of blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from edgekit.convert.mil.values import Tensor, ints

if TYPE_CHECKING:
    from collections.abc import Callable


def concat(values: list[Tensor], axis: Tensor, interleave: Tensor | None = None) -> Tensor:
    """Interleaved: the first slices of all values, then the second ones, and so on. Scalars count as vectors of one."""
    values = [value.reshape(1) if value.ndim == 0 else value for value in values]
    at = ints(axis)[0]
    if interleave is None or not bool(interleave):
        return torch.cat(values, at)
    at %= values[0].ndim
    return torch.stack(values, at + 1).flatten(at, at + 1)


def expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    """The axes are those of the result."""
    rank = x.ndim + len(ints(axes))
    for axis in sorted(axis % rank for axis in ints(axes)):
        x = x.unsqueeze(axis)
    return x


def flatten2d(x: Tensor, axis: Tensor | None = None) -> Tensor:
    at = 1 if axis is None else ints(axis)[0]
    rows = 1
    for size in x.shape[:at]:
        rows *= size
    return x.reshape(rows, -1)


def reshape(x: Tensor, shape: Tensor) -> Tensor:
    """0 keeps the size of the same axis; -1 takes what is left."""
    return x.reshape([x.shape[i] if size == 0 and x.numel() else size for i, size in enumerate(ints(shape))])


def reshape_like(
    x: Tensor, ref_tensors: list[Tensor], begins: list[Tensor], ends: list[Tensor], end_masks: list[Tensor]
) -> Tensor:
    """To the joined slices `begin:end` of the shapes of other tensors; a true mask means to the end."""
    shape: list[int] = []
    for like, begin, end, to_the_end in zip(ref_tensors, begins, ends, end_masks, strict=True):
        shape += like.shape[int(begin) : None if bool(to_the_end) else int(end)]
    return x.reshape(shape)


def reverse(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return torch.flip(x, list(range(x.ndim)) if axes is None else ints(axes))


def reverse_sequence(
    x: Tensor, lengths: Tensor, seq_axis: Tensor | None = None, batch_axis: Tensor | None = None
) -> Tensor:
    """Of each sample along `batch_axis`, reverses the first `lengths[i]` elements along `seq_axis`."""
    along, batch = (0 if axis is None else ints(axis)[0] % x.ndim for axis in (seq_axis, batch_axis))
    moved = x.movedim((batch, along), (0, 1)).clone()
    for i, length in enumerate(ints(lengths)):
        moved[i, :length] = torch.flip(moved[i, :length], [0])
    return moved.movedim((0, 1), (batch, along))


def shape(x: Tensor) -> Tensor:
    return torch.tensor(list(x.shape))


def sliding_windows(x: Tensor, axis: Tensor, size: Tensor, stride: Tensor | None = None) -> Tensor:
    """The windows along `axis`, their elements along a new axis behind it."""
    at = ints(axis)[0] % x.ndim
    windows = x.unfold(at, ints(size)[0], 1 if stride is None else ints(stride)[0])
    return windows.movedim(-1, at + 1)


def split(
    x: Tensor, axis: Tensor, num_splits: Tensor | None = None, split_sizes: Tensor | None = None
) -> tuple[Tensor, ...]:
    at = ints(axis)[0]
    if split_sizes is not None:
        return tuple(torch.split(x, ints(split_sizes), at))
    assert num_splits is not None
    return tuple(torch.split(x, x.shape[at] // ints(num_splits)[0], at))


def squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Removes axes of size 1: all of them where none are given."""
    return x.squeeze() if axes is None else x.squeeze(tuple(ints(axes)))


def stack(values: list[Tensor], axis: Tensor) -> Tensor:
    return torch.stack(values, ints(axis)[0])


def tile(x: Tensor, reps: Tensor) -> Tensor:
    return x.repeat(ints(reps))


def transpose(x: Tensor, perm: Tensor) -> Tensor:
    return x.permute(ints(perm))


# ------------------------------------------------------------- blocks of pixels; tensors are (n, C, H, W)


def depth_to_space(x: Tensor, block_size: Tensor) -> Tensor:
    """The block's position is the slower part of the channel, as in TensorFlow; in `pixel_shuffle` it is the faster."""
    n, channels, height, width = x.shape
    b = ints(block_size)[0]
    blocks = x.reshape(n, b, b, channels // (b * b), height, width)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, channels // (b * b), height * b, width * b)


def space_to_depth(x: Tensor, block_size: Tensor) -> Tensor:
    """The inverse of `depth_to_space`."""
    n, channels, height, width = x.shape
    b = ints(block_size)[0]
    blocks = x.reshape(n, channels, height // b, b, width // b, b)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, channels * b * b, height // b, width // b)


def pixel_shuffle(x: Tensor, upscale_factor: Tensor) -> Tensor:
    return functional.pixel_shuffle(x, ints(upscale_factor)[0])


def pixel_unshuffle(x: Tensor, downscale_factor: Tensor) -> Tensor:
    return functional.pixel_unshuffle(x, ints(downscale_factor)[0])


def space_to_batch(x: Tensor, block_shape: Tensor, paddings: Tensor) -> Tensor:
    """The block's position becomes the slower part of the batch axis, as in TensorFlow."""
    (top, bottom), (left, right) = paddings.tolist()
    padded = functional.pad(x, (left, right, top, bottom))
    n, channels, height, width = padded.shape
    rows, columns = ints(block_shape)
    blocks = padded.reshape(n, channels, height // rows, rows, width // columns, columns)
    return blocks.permute(3, 5, 0, 1, 2, 4).reshape(n * rows * columns, channels, height // rows, width // columns)


def batch_to_space(x: Tensor, block_shape: Tensor, crops: Tensor) -> Tensor:
    """The inverse of `space_to_batch`; crops are cut off afterwards."""
    rows, columns = ints(block_shape)
    (top, bottom), (left, right) = crops.tolist()
    n, channels, height, width = x.shape
    blocks = x.reshape(rows, columns, n // (rows * columns), channels, height, width).permute(2, 3, 4, 0, 5, 1)
    whole = blocks.reshape(n // (rows * columns), channels, height * rows, width * columns)
    return whole[:, :, top : height * rows - bottom, left : width * columns - right]


OPERATORS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    function.__name__: function
    for function in (
        batch_to_space, concat, depth_to_space, expand_dims, flatten2d, pixel_shuffle, pixel_unshuffle, reshape,
        reshape_like, reverse, reverse_sequence, shape, sliding_windows, space_to_batch, space_to_depth, split, squeeze,
        stack, tile, transpose,
    )
}  # fmt: skip
