"""Pools over one to three spatial axes.

torch's own pools are used where they mean the same; where pads differ at the two ends, or averages are dilated, the
pads are filled in first and averages are taken as sum ÷ count.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgekit.convert.onnx_to_torch.node import Node, Operator, UnsupportedNodeError
from edgekit.convert.onnx_to_torch.windows import Window, window_of

_MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def _window(node: Node, x: Tensor) -> Window:
    if not 1 <= x.ndim - 2 <= 3:
        raise UnsupportedNodeError(f"{x.ndim - 2} spatial axes")
    return window_of(node, list(x.shape[2:]), list(node.get("kernel_shape")))


def _max_pool(node: Node, x: Tensor) -> Tensor:
    if node.wants(1):
        raise UnsupportedNodeError("the indices of the largest values (output 1)")
    window = _window(node, x)
    pool = _MAX[x.ndim - 2]
    if not x.is_floating_point():  # 8-bit integers are exact in float32
        return _max_pool(node, x.float()).to(x.dtype)
    if window.symmetric and all(2 * p <= k for p, k in zip(window.begin, window.kernel, strict=True)):
        return pool(x, window.kernel, window.strides, window.begin, window.dilations)
    padded = window.pad(x, float("-inf"))
    return pool(padded, window.kernel, window.strides, 0, window.dilations)


def _average_pool(node: Node, x: Tensor) -> Tensor:
    """The average counts the explicit pads if `count_include_pad`, never what `ceil_mode` reads beyond them."""
    window = _window(node, x)
    include = bool(node.get("count_include_pad", 0))
    halves = all(2 * p <= k for p, k in zip(window.begin, window.kernel, strict=True))
    if window.symmetric and halves and set(window.dilations) == {1}:
        pool = _AVERAGE[x.ndim - 2]
        return pool(x, window.kernel, window.strides, window.begin, ceil_mode=False, count_include_pad=include)
    ones = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype)
    counted = window.pad(window.pad(ones, 1.0 if include else 0.0, extra=False), 0.0, explicit=False)
    return _sums(window.pad(x, 0.0), window) / _sums(counted, window)


def _sums(x: Tensor, window: Window) -> Tensor:
    """The sum in each window: a convolution of every channel on its own with ones."""
    flat = x.reshape(-1, 1, *x.shape[2:])
    kernel = torch.ones(1, 1, *window.kernel, dtype=x.dtype)
    summed = _CONVOLUTIONS[x.ndim - 2](flat, kernel, None, window.strides, 0, window.dilations)
    return summed.reshape(*x.shape[:2], *summed.shape[2:])


def _lp_pool(node: Node, x: Tensor) -> Tensor:
    window, p = _window(node, x), node.get("p", 2)
    return _sums(window.pad(x.abs() ** p, 0.0), window) ** (1.0 / p)


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.ndim))


def _global_average(_node: Node, x: Tensor) -> Tensor:
    return x.mean(_spatial(x), keepdim=True)


def _global_max(_node: Node, x: Tensor) -> Tensor:
    return torch.amax(x, _spatial(x), keepdim=True)


def _global_lp(node: Node, x: Tensor) -> Tensor:
    p = node.get("p", 2)
    return (x.abs() ** p).sum(_spatial(x), keepdim=True) ** (1.0 / p)


OPERATORS = {
    "AveragePool": Operator(_average_pool),
    "GlobalAveragePool": Operator(_global_average),
    "GlobalLpPool": Operator(_global_lp),
    "GlobalMaxPool": Operator(_global_max),
    "LpPool": Operator(_lp_pool),
    "MaxPool": Operator(_max_pool),
}
