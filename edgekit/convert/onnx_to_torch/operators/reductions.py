"""Reductions over axes, running sums, and the places of the largest values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from edgekit.convert.onnx_to_torch.node import Node, Operator
from edgekit.convert.onnx_to_torch.tensors import axis_of, ints

if TYPE_CHECKING:
    from collections.abc import Callable

    Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _reduce(function: Reduction, prepare: Callable[[Tensor], Tensor] = lambda x: x) -> Operator:
    """Axes are an attribute at first, an input since opset 13 (ReduceSum) or 18 (the others); none means all.

    `noop_with_empty_axes` leaves the reduction out, but not what is done to each element before it.
    """

    def run(node: Node, x: Tensor, given: np.ndarray | None = None) -> Tensor:
        axes = ints(given) if given is not None else node.get("axes", [])
        if not axes and node.get("noop_with_empty_axes", 0):
            return prepare(x)
        chosen = sorted(axis_of(axis, x.ndim) for axis in axes) if axes else list(range(x.ndim))
        return function(prepare(x), chosen, bool(node.get("keepdims", 1))) if x.ndim else prepare(x)

    return Operator(run, static=(1,))


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return x.mean(axes, keepdim=keep)
    count = int(np.prod([x.shape[axis] for axis in axes]))
    return torch.div(_sum(x, axes, keep), count, rounding_mode="trunc")


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in reversed(axes):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def _limit(function: Callable[..., Tensor], empty: Callable[[torch.dtype], float]) -> Reduction:
    """Of nothing at all the largest is the smallest value of the dtype, and the other way round."""

    def reduce(x: Tensor, axes: list[int], keep: bool) -> Tensor:
        if any(x.shape[axis] == 0 for axis in axes):
            shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes]
            return torch.full(shape, empty(x.dtype), dtype=x.dtype)
        return function(x, axes, keepdim=keep)

    return reduce


def _lowest(dtype: torch.dtype) -> float:
    return float("-inf") if dtype.is_floating_point else (0 if dtype == torch.bool else torch.iinfo(dtype).min)


def _highest(dtype: torch.dtype) -> float:
    return float("inf") if dtype.is_floating_point else (1 if dtype == torch.bool else torch.iinfo(dtype).max)


def _log_sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.log(_sum(x, axes, keep))


def _log_sum_exp(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.logsumexp(x, axes, keepdim=keep)


def _root(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    total = _sum(x, axes, keep)
    return torch.sqrt(total) if total.is_floating_point() else torch.sqrt(total.double()).to(x.dtype)


def _arg(function: Callable[..., Tensor]) -> Operator:
    """The first of several equal ones, or with `select_last_index` the last."""

    def run(node: Node, x: Tensor) -> Tensor:
        axis, keep = node.get("axis", 0), bool(node.get("keepdims", 1))
        if node.get("select_last_index", 0):
            return x.shape[axis] - 1 - function(x.flip(axis), axis, keepdim=keep)
        return function(x, axis, keepdim=keep)

    return Operator(run)


def _cumulative(function: Callable[..., Tensor], neutral: int) -> Operator:
    """`exclusive` leaves each element out of its own sum, `reverse` goes from the end."""

    def run(node: Node, x: Tensor, along: np.ndarray) -> Tensor:
        axis = axis_of(int(along.reshape(-1)[0]), x.ndim)
        if node.get("reverse", 0):
            x = x.flip(axis)
        if node.get("exclusive", 0):
            first = torch.full_like(x.narrow(axis, 0, 1), neutral)
            x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], dim=axis)
        total = function(x, axis, dtype=x.dtype)
        return total.flip(axis) if node.get("reverse", 0) else total

    return Operator(run, static=(1,))


def _top_k(node: Node, x: Tensor, k: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
    """`k` is an attribute before opset 10.

    Of equal values ONNX takes the first, torch.topk any. So integers, which often are equal, are sorted stably; floats
    are not, because converters know topk better than a stable sort.
    """
    count = int(k.reshape(-1)[0]) if k is not None else node.get("k")
    axis, largest = node.get("axis", -1), bool(node.get("largest", 1))
    if not x.is_floating_point():
        values, places = torch.sort(x, dim=axis, descending=largest, stable=True)
        return values.narrow(axis, 0, count), places.narrow(axis, 0, count)
    found = torch.topk(x, count, dim=axis, largest=largest, sorted=True)
    return found.values, found.indices


OPERATORS = {
    "ArgMax": _arg(torch.argmax),
    "ArgMin": _arg(torch.argmin),
    "CumProd": _cumulative(torch.cumprod, 1),
    "CumSum": _cumulative(torch.cumsum, 0),
    "ReduceL1": _reduce(_sum, torch.abs),
    "ReduceL2": _reduce(_root, torch.square),
    "ReduceLogSum": _reduce(_log_sum),
    "ReduceLogSumExp": _reduce(_log_sum_exp),
    "ReduceMax": _reduce(_limit(torch.amax, _lowest)),
    "ReduceMean": _reduce(_mean),
    "ReduceMin": _reduce(_limit(torch.amin, _highest)),
    "ReduceProd": _reduce(_product),
    "ReduceSum": _reduce(_sum),
    "ReduceSumSquare": _reduce(_sum, torch.square),
    "TopK": Operator(_top_k, static=(1,)),
}
