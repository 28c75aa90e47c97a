"""Convolutions over one to three spatial axes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgekit.convert.onnx_to_torch.node import Node, Operator, UnsupportedNodeError
from edgekit.convert.onnx_to_torch.windows import window_of

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def _rank(x: Tensor) -> int:
    if not 1 <= x.ndim - 2 <= 3:
        raise UnsupportedNodeError(f"{x.ndim - 2} spatial axes")
    return int(x.ndim) - 2


def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    window = window_of(node, list(x.shape[2:]), list(weight.shape[2:]))
    padding = window.begin if window.symmetric else 0
    x = x if window.symmetric else window.pad(x, 0.0)
    convolve = _CONVOLUTIONS[_rank(x)]
    return convolve(x, weight, bias, window.strides, padding, window.dilations, node.get("group", 1))


def _conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Without pads first, then cut: torch knows pads that are equal at both ends only."""
    rank, kernel = _rank(x), list(weight.shape[2:])
    strides, dilations = node.get("strides", [1] * rank), node.get("dilations", [1] * rank)
    more = node.get("output_padding", [0] * rank)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    full = [(n - 1) * s + r + m for n, s, r, m in zip(x.shape[2:], strides, reach, more, strict=True)]
    begin, end = _transposed_pads(node, list(x.shape[2:]), list(strides), full)
    group = node.get("group", 1)
    if (
        begin == end
        and all(m < max(s, d) for m, s, d in zip(more, strides, dilations, strict=True))
        and min(begin) >= 0
    ):
        return _TRANSPOSED[rank](x, weight, bias, strides, begin, more, group, dilations)
    y = _TRANSPOSED[rank](x, weight, None, strides, 0, 0, group, dilations)
    pads: list[int] = []
    for i in reversed(range(rank)):
        pads += [-begin[i], more[i] - end[i]]
    y = functional.pad(y, pads)
    return y if bias is None else y + bias.reshape(1, -1, *[1] * rank)


def _transposed_pads(
    node: Node, spatial: list[int], strides: list[int], full: list[int]
) -> tuple[list[int], list[int]]:
    """What is cut off at either end of the full result; `output_shape` and SAME fix the result's size instead."""
    rank, how = len(spatial), node.get("auto_pad", "NOTSET")
    if how == "VALID":
        return [0] * rank, [0] * rank
    sizes = node.get("output_shape")
    if sizes is None and how == "NOTSET":
        pads = node.get("pads", [0] * (2 * rank))
        return list(pads[:rank]), list(pads[rank:])
    sizes = sizes[-rank:] if sizes is not None else [n * s for n, s in zip(spatial, strides, strict=True)]
    totals = [f - n for f, n in zip(full, sizes, strict=True)]
    halves = [total // 2 for total in totals]
    others = [total - half for total, half in zip(totals, halves, strict=True)]
    return (halves, others) if how == "SAME_UPPER" else (others, halves)


def _conv_integer(
    node: Node, x: Tensor, weight: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    """The pads are the zero point, so it is subtracted first. In float64, where the sums are exact."""
    real = x.double() - (0 if x_zero is None else x_zero.double())
    zero = None if w_zero is None else w_zero.double().reshape(-1, *[1] * (weight.ndim - 1))
    kernel = weight.double() if zero is None else weight.double() - zero
    return _conv(node, real, kernel).to(torch.int32)


def _qlinear_conv(
    node: Node, x: Tensor, x_scale: Tensor, x_zero: Tensor, w: Tensor, w_scale: Tensor, w_zero: Tensor,
    y_scale: Tensor, y_zero: Tensor, bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Sums of integers (exact in float64), then one rescaling per output channel."""
    channels = (-1, *[1] * (w.ndim - 1))
    total = _conv(node, x.double() - x_zero.double(), w.double() - w_zero.double().reshape(channels))
    if bias is not None:
        total = total + bias.double().reshape(1, -1, *[1] * (x.ndim - 2))
    factor = (x_scale.double() * w_scale.double() / y_scale.double()).reshape(1, -1, *[1] * (x.ndim - 2))
    limits = torch.iinfo(x.dtype)
    return torch.clamp(torch.round(total * factor) + y_zero.double(), limits.min, limits.max).to(x.dtype)


OPERATORS = {
    "Conv": Operator(_conv),
    "ConvInteger": Operator(_conv_integer),
    "ConvTranspose": Operator(_conv_transpose),
    "QLinearConv": Operator(_qlinear_conv),
}
