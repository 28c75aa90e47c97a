"""Operators that move data without computing: reshaping, joining, cutting, repeating, padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgekit.convert.onnx_to_torch.node import Node, Operator, UnsupportedNodeError
from edgekit.convert.onnx_to_torch.tensors import axis_of, ints, number


def _reshape(node: Node, x: Tensor, shape: np.ndarray) -> Tensor:
    """A zero copies the input's size, unless `allowzero` (opset 14)."""
    sizes = ints(shape)
    if not node.get("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def _transpose(node: Node, x: Tensor) -> Tensor:
    return x.permute(node.get("perm", list(range(x.ndim))[::-1]))


def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = axis_of(node.get("axis", 1), x.ndim)
    return x.reshape(int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis:])))


def _axes(node: Node, given: np.ndarray | None) -> list[int] | None:
    """Axes are an attribute before opset 13, an input since."""
    if given is not None:
        return ints(given)
    axes = node.get("axes")
    return None if axes is None else list(axes)


def _squeeze(node: Node, x: Tensor, given: np.ndarray | None = None) -> Tensor:
    axes = _axes(node, given)
    dropped = {axis_of(a, x.ndim) for a in axes} if axes is not None else {i for i, n in enumerate(x.shape) if n == 1}
    if any(x.shape[axis] != 1 for axis in dropped):
        raise ValueError(f"axes {sorted(dropped)} of shape {tuple(x.shape)} are not all of size 1")
    return x.reshape([n for i, n in enumerate(x.shape) if i not in dropped])


def _unsqueeze(node: Node, x: Tensor, given: np.ndarray | None = None) -> Tensor:
    axes = _axes(node, given) or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis_of(a, rank) for a in axes):
        x = x.unsqueeze(axis)
    return x


def _concat(node: Node, *tensors: Tensor) -> Tensor:
    return torch.cat(tensors, dim=node.get("axis"))


def _split(node: Node, x: Tensor, given: np.ndarray | None = None) -> tuple[Tensor, ...]:
    """Sizes are an attribute before opset 13, an input since; without any, equal parts, the last one smaller."""
    axis = node.get("axis", 0)
    sizes = ints(given) if given is not None else node.get("split")
    if sizes is None:
        each = -(-x.shape[axis] // node.get("num_outputs", len(node.outputs)))
        return tuple(torch.split(x, each, dim=axis))
    return tuple(torch.split(x, sizes, dim=axis))


def _slice(
    node: Node,
    x: Tensor,
    starts: np.ndarray | None = None,
    ends: np.ndarray | None = None,
    axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> Tensor:
    """As Python slices do. Attributes before opset 10, inputs since. torch has no negative steps: cut, then flip."""
    if starts is None or ends is None:
        firsts, lasts, along = node.get("starts"), node.get("ends"), node.get("axes")
    else:
        firsts, lasts, along = ints(starts), ints(ends), None if axes is None else ints(axes)
    along = along if along is not None else range(len(firsts))
    strides = ints(steps) if steps is not None else [1] * len(firsts)
    for first, last, axis, step in zip(firsts, lasts, along, strides, strict=True):
        taken = range(x.shape[axis])[slice(first, last, step)]
        if len(taken) == x.shape[axis] and step > 0:
            continue
        cut: list[slice] = [slice(None)] * x.ndim
        if not taken:
            cut[axis] = slice(0, 0)
        else:
            low, high = min(taken[0], taken[-1]), max(taken[0], taken[-1])
            cut[axis] = slice(low, high + 1, abs(step))
        x = x[tuple(cut)]
        x = x.flip(axis) if step < 0 else x
    return x


def _expand(_node: Node, x: Tensor, shape: np.ndarray) -> Tensor:
    """Both ways: the shape may have ones where x has more."""
    return x.expand(torch.broadcast_shapes(x.shape, ints(shape)))


def _tile(_node: Node, x: Tensor, repeats: np.ndarray) -> Tensor:
    return x.repeat(ints(repeats))


def _pad(
    node: Node, x: Tensor, pads: np.ndarray | None = None, value: Any = None, axes: np.ndarray | None = None
) -> Tensor:
    """Constant, reflect, edge or wrap; negative pads cut off. Attributes before opset 11, inputs since."""
    given = ints(pads) if pads is not None else node.get("pads")
    along = [axis_of(a, x.ndim) for a in ints(axes)] if axes is not None else range(len(given) // 2)
    before_after = [(0, 0)] * x.ndim
    for i, axis in enumerate(along):
        before_after[axis] = (given[i], given[i + len(given) // 2])
    mode = node.get("mode", "constant")
    if mode == "constant":
        fill = number(value) if value is not None else node.get("value", 0.0)
        if isinstance(fill, Tensor):
            raise UnsupportedNodeError("a padding value that depends on the data")
        flat = [size for pair in reversed(before_after) for size in pair]
        return functional.pad(x, flat, value=fill if x.is_floating_point() else int(fill))
    for axis, (before, after) in enumerate(before_after):
        if before or after:
            x = _pad_axis(x, axis, before, after, mode)
    return x


def _pad_axis(x: Tensor, axis: int, before: int, after: int, mode: Any) -> Tensor:
    """By an index of positions, padded by numpy: exact for every rank, dtype and width."""
    positions = np.arange(x.shape[axis])[max(0, -before) : x.shape[axis] - max(0, -after)]
    padded = np.pad(positions, (max(0, before), max(0, after)), mode=mode)
    return x.index_select(axis, torch.from_numpy(padded))


def _depth_to_space(node: Node, x: Tensor) -> Tensor:
    """The block's place is in the outer part of the channels (DCR), or in the inner (CRD), as for pixel_shuffle."""
    block = node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    x = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(node: Node, x: Tensor) -> Tensor:
    block = node.get("blocksize")
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // block, block, w // block, block)
    order = (0, 1, 3, 5, 2, 4) if node.get("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    return x.permute(order).reshape(n, c * block**2, h // block, w // block)


def _trilu(node: Node, x: Tensor, k: np.ndarray | None = None) -> Tensor:
    """By a constant mask: converters know `where`, but seldom `triu` of booleans or integers."""
    diagonal = int(k.reshape(-1)[0]) if k is not None else 0
    rows, columns = x.shape[-2:]
    ones = np.ones((rows, columns), dtype=bool)
    mask = np.triu(ones, diagonal) if node.get("upper", 1) else np.tril(ones, diagonal)
    return torch.where(torch.from_numpy(mask), x, torch.zeros((), dtype=x.dtype))


def _reverse_sequence(node: Node, x: Tensor, lengths: np.ndarray) -> Tensor:
    """Turns round the first `lengths[b]` steps of each sequence b."""
    time, batch = node.get("time_axis", 0), node.get("batch_axis", 1)
    steps = np.arange(x.shape[time])
    turned = [np.where(steps < n, n - 1 - steps, steps) for n in ints(lengths)]
    parts = [
        part.index_select(time, torch.from_numpy(order)) for part, order in zip(x.split(1, batch), turned, strict=True)
    ]
    return torch.cat(parts, dim=batch)


OPERATORS = {
    "Concat": Operator(_concat),
    "DepthToSpace": Operator(_depth_to_space),
    "Expand": Operator(_expand, static=(1,)),
    "Flatten": Operator(_flatten),
    "Pad": Operator(_pad, static=(1, 3), foldable=(2,)),
    "Reshape": Operator(_reshape, static=(1,)),
    "ReverseSequence": Operator(_reverse_sequence, static=(1,)),
    "Slice": Operator(_slice, static=(1, 2, 3, 4)),
    "SpaceToDepth": Operator(_space_to_depth),
    "Split": Operator(_split, static=(1,)),
    "Squeeze": Operator(_squeeze, static=(1,)),
    "Tile": Operator(_tile, static=(1,)),
    "Transpose": Operator(_transpose),
    "Trilu": Operator(_trilu, static=(1,)),
    "Unsqueeze": Operator(_unsqueeze, static=(1,)),
}
