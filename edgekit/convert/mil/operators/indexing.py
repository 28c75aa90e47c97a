"""Gather and scatter.

A scatter writes where the gather of the same name would read: so its positions are found by gathering from a tensor
that holds the number of every element.

An index outside of the axis is an error here, whatever `validate_indices` says; Core ML leaves the result undefined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edgekit.convert.mil.values import Tensor, ints, number

if TYPE_CHECKING:
    from collections.abc import Callable


def gather(
    x: Tensor,
    indices: Tensor,
    axis: Tensor | None = None,
    batch_dims: Tensor | None = None,
    validate_indices: Tensor | None = None,  # noqa: ARG001 - MIL has it; answers do not depend on it
) -> Tensor:
    """Slices of `x` along `axis`; the axes of `indices` take the place of `axis`.

    The first `batch_dims` axes of both belong together, as in `tf.gather`.
    """
    return _gather(x, indices, 0 if axis is None else ints(axis)[0] % x.ndim, _count(batch_dims))


def _gather(x: Tensor, indices: Tensor, axis: int, batch_dims: int) -> Tensor:
    if batch_dims:
        return torch.stack(
            [_gather(part, where, axis - 1, batch_dims - 1) for part, where in zip(x, indices, strict=True)]
        )
    found = x.index_select(axis, _not_negative(indices, x.shape[axis]).reshape(-1))
    return found.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


def gather_along_axis(
    x: Tensor,
    indices: Tensor,
    axis: Tensor | None = None,
    validate_indices: Tensor | None = None,  # noqa: ARG001 - MIL has it; answers do not depend on it
) -> Tensor:
    """The value at `indices` along `axis`, element by element, as `np.take_along_axis`."""
    at = 0 if axis is None else ints(axis)[0] % x.ndim
    return torch.gather(x, at, _not_negative(indices, x.shape[at]))


def gather_nd(
    x: Tensor,
    indices: Tensor,
    batch_dims: Tensor | None = None,
    validate_indices: Tensor | None = None,  # noqa: ARG001 - MIL has it; answers do not depend on it
) -> Tensor:
    """The last axis of `indices` holds the position of a slice of `x`, as in `tf.gather_nd`."""
    return _gather_nd(x, indices, _count(batch_dims))


def _gather_nd(x: Tensor, indices: Tensor, batch_dims: int) -> Tensor:
    if batch_dims:
        return torch.stack([_gather_nd(part, where, batch_dims - 1) for part, where in zip(x, indices, strict=True)])
    return x[tuple(indices.unbind(-1))]


def scatter(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: Tensor | None = None,
    mode: str = "add",
    validate_indices: Tensor | None = None,  # noqa: ARG001 - MIL has it; answers do not depend on it
) -> Tensor:
    at = 0 if axis is None else ints(axis)[0] % data.ndim
    return _write(data, _gather(_numbered(data), indices, at, 0), updates, mode)


def scatter_along_axis(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: Tensor | None = None,
    mode: str = "add",
    validate_indices: Tensor | None = None,  # noqa: ARG001 - MIL has it; answers do not depend on it
) -> Tensor:
    return _write(data, gather_along_axis(_numbered(data), indices, axis), updates, mode)


def scatter_nd(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    mode: str = "add",
    validate_indices: Tensor | None = None,  # noqa: ARG001 - MIL has it; answers do not depend on it
) -> Tensor:
    return _write(data, _gather_nd(_numbered(data), indices, 0), updates, mode)


def _write(data: Tensor, positions: Tensor, updates: Tensor, mode: str) -> Tensor:
    """Combines elements of `data` with `updates`; a position that occurs twice takes both, except for "update"."""
    flat, where, values = data.reshape(-1), positions.reshape(-1), updates.reshape(-1)
    if mode == "update":
        result = flat.scatter(0, where, values)
    elif mode in ("add", "sub"):
        result = flat.index_add(0, where, values if mode == "add" else -values)
    elif mode == "div":
        divisors = torch.ones_like(flat).scatter_reduce(0, where, values, "prod")
        result = flat / divisors if data.is_floating_point() else torch.div(flat, divisors, rounding_mode="trunc")
    else:
        reduce = {"mul": "prod", "max": "amax", "min": "amin"}[mode]
        result = flat.scatter_reduce(0, where, values, reduce)
    return result.reshape(data.shape)


def one_hot(
    indices: Tensor,
    one_hot_vector_size: Tensor,
    axis: Tensor | None = None,
    on_value: Tensor | None = None,
    off_value: Tensor | None = None,
) -> Tensor:
    """A new axis (the last by default) that holds `on_value` at the index and `off_value` elsewhere."""
    at = -1 if axis is None else ints(axis)[0]
    hot = indices[..., None] == torch.arange(ints(one_hot_vector_size)[0])
    on, off = (default if value is None else number(value) for value, default in ((on_value, 1.0), (off_value, 0.0)))
    return torch.where(hot, on, off).movedim(-1, at)


def non_zero(x: Tensor) -> Tensor:
    """(number of non-zero elements, rank): their positions, in order."""
    return torch.nonzero(x)


def _numbered(data: Tensor) -> Tensor:
    return torch.arange(data.numel()).reshape(data.shape)


def _not_negative(indices: Tensor, size: int) -> Tensor:
    return torch.where(indices < 0, indices + size, indices)


def _count(parameter: Tensor | None) -> int:
    return 0 if parameter is None else ints(parameter)[0]


OPERATORS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function
    for function in (
        gather, gather_along_axis, gather_nd, non_zero, one_hot, scatter, scatter_along_axis, scatter_nd,
    )
}  # fmt: skip
