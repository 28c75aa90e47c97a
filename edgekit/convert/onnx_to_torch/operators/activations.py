"""Activation functions. Where torch has one by the same name its defaults may differ: ONNX's are written here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from edgekit.convert.onnx_to_torch.node import Node, Operator

if TYPE_CHECKING:
    from collections.abc import Callable


def _over_axis(function: Callable[[Tensor, int], Tensor]) -> Operator:
    """Softmax and its kin. Before opset 13 they work on a matrix: all axes from `axis` on (default 1) are its rows."""

    def run(node: Node, x: Tensor) -> Tensor:
        if node.opset >= 13:
            return function(x, node.get("axis", -1))
        axis = node.get("axis", 1)
        axis = axis + x.ndim if axis < 0 else axis
        if axis == x.ndim - 1:
            return function(x, -1)
        return function(x.flatten(axis), -1).reshape(x.shape)

    return Operator(run)


def _hardmax(x: Tensor, axis: int) -> Tensor:
    """One where the (first) largest value is, zero elsewhere."""
    largest = x.argmax(axis, keepdim=True)
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    return (torch.arange(x.shape[axis]).reshape(shape) == largest).to(x.dtype)


def _celu(node: Node, x: Tensor) -> Tensor:
    return functional.celu(x, alpha=node.get("alpha", 1.0))


def _elu(node: Node, x: Tensor) -> Tensor:
    return functional.elu(x, alpha=node.get("alpha", 1.0))


def _gelu(node: Node, x: Tensor) -> Tensor:
    return functional.gelu(x, approximate=node.get("approximate", "none"))


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return torch.clamp(node.get("alpha", 0.2) * x + node.get("beta", 0.5), 0.0, 1.0)


def _leaky_relu(node: Node, x: Tensor) -> Tensor:
    return functional.leaky_relu(x, node.get("alpha", 0.01))


def _prelu(_node: Node, x: Tensor, slope: Tensor) -> Tensor:
    """The slope broadcasts to x from the right, unlike torch's prelu, whose slopes belong to axis 1.

    Models from before opset 7 have one slope a channel in one axis, and stay so when their opset is raised.
    """
    if slope.ndim == 1 and slope.shape[0] not in (1, x.shape[-1]) and slope.shape[0] == x.shape[1]:
        slope = slope.reshape(-1, *[1] * (x.ndim - 2))
    return torch.where(x < 0, x * slope, x)


def _selu(node: Node, x: Tensor) -> Tensor:
    alpha, gamma = node.get("alpha", 1.67326319217681884765625), node.get("gamma", 1.05070102214813232421875)
    return gamma * functional.elu(x, alpha=alpha)


def _shrink(node: Node, x: Tensor) -> Tensor:
    bias, threshold = node.get("bias", 0.0), node.get("lambd", 0.5)
    zero = torch.zeros_like(x)
    return torch.where(x < -threshold, x + bias, torch.where(x > threshold, x - bias, zero)).to(x.dtype)


def _swish(node: Node, x: Tensor) -> Tensor:
    return x * torch.sigmoid(node.get("alpha", 1.0) * x)


def _thresholded_relu(node: Node, x: Tensor) -> Tensor:
    return torch.where(x > node.get("alpha", 1.0), x, torch.zeros_like(x))


def _softplus(_node: Node, x: Tensor) -> Tensor:
    return functional.softplus(x)


OPERATORS = {
    "Celu": Operator(_celu),
    "Elu": Operator(_elu),
    "Gelu": Operator(_gelu),
    "HardSigmoid": Operator(_hard_sigmoid),
    "HardSwish": Operator(lambda _node, x: functional.hardswish(x)),
    "Hardmax": _over_axis(_hardmax),
    "LeakyRelu": Operator(_leaky_relu),
    "LogSoftmax": _over_axis(lambda x, axis: functional.log_softmax(x, dim=axis)),
    "Mish": Operator(lambda _node, x: functional.mish(x)),
    "PRelu": Operator(_prelu),
    "Relu": Operator(lambda _node, x: functional.relu(x)),
    "Selu": Operator(_selu),
    "Shrink": Operator(_shrink),
    "Sigmoid": Operator(lambda _node, x: torch.sigmoid(x)),
    "Softmax": _over_axis(lambda x, axis: functional.softmax(x, dim=axis)),
    "Softplus": Operator(_softplus),
    "Softsign": Operator(lambda _node, x: functional.softsign(x)),
    "Swish": Operator(_swish),
    "ThresholdedRelu": Operator(_thresholded_relu),
}
