"""Gathering and scattering. Indices may be negative in ONNX: they count from the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgekit.convert.onnx_to_torch.node import Node, Operator, UnsupportedNodeError
from edgekit.convert.onnx_to_torch.tensors import axis_of, ints

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _from_front(indices: Any, size: int) -> Tensor:
    """Indices as int64 in 0..size-1. Constant ones are wrapped now, the others while running."""
    if isinstance(indices, np.ndarray):
        whole = indices.astype(np.int64)
        return torch.from_numpy(np.where(whole < 0, whole + size, whole))
    whole = indices if indices.dtype == torch.int64 else indices.to(torch.int64)
    return torch.where(whole < 0, whole + size, whole)


def _gather(node: Node, x: Tensor, indices: Any) -> Tensor:
    """Rows of a matrix are an embedding, which is what converters look for; one constant index is a select."""
    axis = axis_of(node.get("axis", 0), x.ndim)
    if isinstance(indices, np.ndarray) and indices.ndim == 0:
        return x.select(axis, int(indices))
    places = _from_front(indices, x.shape[axis])
    if axis == 0 and x.ndim == 2 and x.is_floating_point():
        return functional.embedding(places, x)
    picked = x.index_select(axis, places.reshape(-1))
    return picked.reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])


def _gather_elements(node: Node, x: Tensor, indices: Any) -> Tensor:
    axis = axis_of(node.get("axis", 0), x.ndim)
    return torch.gather(x, axis, _from_front(indices, x.shape[axis]))


def _scatter_elements(node: Node, x: Tensor, indices: Any, updates: Tensor) -> Tensor:
    axis = axis_of(node.get("axis", 0), x.ndim)
    places = _from_front(indices, x.shape[axis])
    reduction = node.get("reduction", "none")
    if reduction == "none":
        return torch.scatter(x, axis, places, updates)
    return torch.scatter_reduce(x, axis, places, updates, reduce=_REDUCTIONS[reduction], include_self=True)


def _gather_nd(node: Node, x: Tensor, indices: Any) -> Tensor:
    """The last axis of `indices` holds coordinates in the axes after the `batch_dims` that both share."""
    batch = node.get("batch_dims", 0)
    given = torch.from_numpy(indices) if isinstance(indices, np.ndarray) else indices
    depth = given.shape[-1]
    columns = [_from_front(given[..., k], x.shape[batch + k]) for k in range(depth)]
    leading = []
    for axis in range(batch):
        shape = [1] * (given.ndim - 1)
        shape[axis] = x.shape[axis]
        leading.append(torch.arange(x.shape[axis]).reshape(shape))
    return x[(*leading, *columns)]


def _scatter_nd(node: Node, x: Tensor, indices: Any, updates: Tensor) -> Tensor:
    """On a flat view: each index is one place (or one row) in it."""
    given = torch.from_numpy(indices) if isinstance(indices, np.ndarray) else indices
    depth = given.shape[-1]
    strides = [int(np.prod(x.shape[k + 1 : depth])) for k in range(depth)]
    rows = sum(_from_front(given[..., k], x.shape[k]) * strides[k] for k in range(depth))
    rows = torch.as_tensor(rows).reshape(-1)
    width = int(np.prod(x.shape[depth:]))
    flat = x.reshape(-1, width)
    new = updates.reshape(-1, width)
    places = rows.unsqueeze(1).expand(-1, width)
    reduction = node.get("reduction", "none")
    if reduction == "none":
        return torch.scatter(flat, 0, places, new).reshape(x.shape)
    result = torch.scatter_reduce(flat, 0, places, new, reduce=_REDUCTIONS[reduction], include_self=True)
    return result.reshape(x.shape)


def _grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    """torch's own; its modes had other names until opset 20."""
    modes = {
        "linear": "bilinear",
        "cubic": "bicubic",
        "bilinear": "bilinear",
        "bicubic": "bicubic",
        "nearest": "nearest",
    }
    mode = modes[node.get("mode", "linear")]
    if x.ndim > 4 and mode == "bicubic":
        raise UnsupportedNodeError("cubic sampling of volumes")
    return functional.grid_sample(
        x, grid, mode, node.get("padding_mode", "zeros"), align_corners=bool(node.get("align_corners", 0))
    )


def _compress(node: Node, x: Tensor, condition: np.ndarray) -> Tensor:
    chosen = np.flatnonzero(condition)
    axis = node.get("axis")
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    return x.index_select(axis, torch.from_numpy(chosen))


def _tensor_scatter(node: Node, past: Tensor, update: Tensor, start: np.ndarray | None = None) -> Tensor:
    """Writes the update into each sequence from its own start on; `circular` goes round the end."""
    axis = axis_of(node.get("axis", -2), past.ndim)
    size, count = past.shape[axis], update.shape[axis]
    starts = ints(start) if start is not None else [0] * past.shape[0]
    if node.get("mode", "linear") != "circular" and any(first + count > size for first in starts):
        raise UnsupportedNodeError("an update beyond the end of the cache")
    shape = [1] * past.ndim
    shape[0], shape[axis] = len(starts), count
    places = np.stack([(first + np.arange(count)) % size for first in starts]).reshape(shape)
    return torch.scatter(past, axis, torch.from_numpy(places).expand(update.shape), update)


OPERATORS = {
    "Compress": Operator(_compress, static=(1,)),
    "Gather": Operator(_gather, foldable=(1,)),
    "GatherElements": Operator(_gather_elements, foldable=(1,)),
    "GatherND": Operator(_gather_nd, foldable=(1,)),
    "GridSample": Operator(_grid_sample),
    "Scatter": Operator(_scatter_elements, foldable=(1,)),
    "ScatterElements": Operator(_scatter_elements, foldable=(1,)),
    "ScatterND": Operator(_scatter_nd, foldable=(1,)),
    "TensorScatter": Operator(_tensor_scatter, static=(2,)),
}
