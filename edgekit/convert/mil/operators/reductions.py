"""Reductions over axes: all of them where none are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edgekit.convert.mil.values import Tensor, ints

if TYPE_CHECKING:
    from collections.abc import Callable


def _over(function: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Tensor]:
    def reduce(x: Tensor, axes: Tensor | None = None, keep_dims: Tensor | None = None) -> Tensor:
        over = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in ints(axes)]
        return function(x, over, keep_dims is not None and bool(keep_dims))

    return reduce


def _extreme(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def index(x: Tensor, axis: Tensor, keep_dims: Tensor, output_dtype: str = "int32") -> Tensor:  # noqa: ARG001 - the caller casts
        return function(x, ints(axis)[0], keepdim=bool(keep_dims))  # of equal values, the first

    return index


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    """Of integers as well: the evaluator cuts their fraction off."""
    return x.to(torch.float32).mean(axes, keepdim=keep)


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "reduce_argmax": _extreme(torch.argmax),
    "reduce_argmin": _extreme(torch.argmin),
    "reduce_l1_norm": _over(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "reduce_l2_norm": _over(lambda x, axes, keep: torch.sqrt((x * x).sum(axes, keepdim=keep))),
    "reduce_log_sum": _over(lambda x, axes, keep: torch.log(x.sum(axes, keepdim=keep))),
    "reduce_log_sum_exp": _over(lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep)),
    "reduce_max": _over(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "reduce_mean": _over(_mean),
    "reduce_min": _over(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "reduce_prod": _over(_product),
    "reduce_sum": _over(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "reduce_sum_square": _over(lambda x, axes, keep: (x * x).sum(axes, keepdim=keep)),
}
