"""Sorting, and sums along an axis. Of equal values the first comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edgekit.convert.mil.values import Tensor, ints

if TYPE_CHECKING:
    from collections.abc import Callable


def argsort(x: Tensor, axis: Tensor | None = None, ascending: Tensor | None = None) -> Tensor:
    return _sorted(x, axis, ascending)[1]


def topk(
    x: Tensor,
    k: Tensor | None = None,
    axis: Tensor | None = None,
    ascending: Tensor | None = None,
    sort: Tensor | None = None,  # noqa: ARG001 - sorted is one of the orders that are allowed
    return_indices: Tensor | None = None,
    output_indices_dtype: str = "int32",  # noqa: ARG001 - the evaluator knows the declared dtype
) -> Tensor | tuple[Tensor, Tensor]:
    """The `k` largest (or smallest, if ascending) values along `axis`, and where they were; -1 takes all."""
    values, indices = _sorted(x, axis, ascending)
    at = -1 if axis is None else ints(axis)[0]
    count = 1 if k is None else ints(k)[0]
    count = x.shape[at] if count == -1 else count
    if return_indices is not None and not bool(return_indices):
        return values.narrow(at, 0, count)
    return values.narrow(at, 0, count), indices.narrow(at, 0, count)


def cumsum(
    x: Tensor, axis: Tensor | None = None, exclusive: Tensor | None = None, reverse: Tensor | None = None
) -> Tensor:
    """Exclusive: each element is the sum of those before it, without itself."""
    at = 0 if axis is None else ints(axis)[0]
    backwards = reverse is not None and bool(reverse)
    values = torch.flip(x, [at]) if backwards else x
    sums = torch.cumsum(values, at)
    if exclusive is not None and bool(exclusive):
        before = sums.narrow(at, 0, x.shape[at] - 1)
        sums = torch.cat([torch.zeros_like(sums.narrow(at, 0, 1)), before], at)
    return torch.flip(sums, [at]) if backwards else sums


def _sorted(x: Tensor, axis: Tensor | None, ascending: Tensor | None) -> tuple[Tensor, Tensor]:
    at = -1 if axis is None else ints(axis)[0]
    values, indices = torch.sort(x, dim=at, descending=not (ascending is not None and bool(ascending)), stable=True)
    return values, indices


OPERATORS: dict[str, Callable[..., Tensor | tuple[Tensor, Tensor]]] = {
    function.__name__: function for function in (argsort, cumsum, topk)
}
