"""Activation functions, element by element, and softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from edgekit.convert.mil.values import Tensor, ints, number

if TYPE_CHECKING:
    from collections.abc import Callable

SIGMOID_APPROXIMATION = 1.702


def clamped_relu(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.minimum(torch.where(x >= 0, x, alpha * x), beta)


def elu(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.where(x > 0, x, alpha * torch.expm1(x))


def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(SIGMOID_APPROXIMATION * x)
    return functional.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def leaky_relu(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.where(x >= 0, x, alpha * x)


def linear_activation(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return alpha * x + beta


def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """`alpha` has one value per channel, which is axis 1."""
    return torch.where(x > 0, x, _per_channel(alpha, x) * x)


def relu(x: Tensor) -> Tensor:
    return torch.relu(x)


def relu6(x: Tensor) -> Tensor:
    return x.clamp(0.0, 6.0)


def scaled_tanh(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return alpha * torch.tanh(beta * x)


def sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


def sigmoid_hard(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return (alpha * x + beta).clamp(0.0, 1.0)


def silu(x: Tensor) -> Tensor:
    return functional.silu(x)


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x) without overflow; torch's own becomes the identity above a threshold of 20, which is exact in
    float32."""
    return functional.softplus(x)


def softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """alpha · log(1 + e^(beta · x)), with one alpha and beta per channel, which is axis 1."""
    return _per_channel(alpha, x) * functional.softplus(_per_channel(beta, x) * x)


def softmax(x: Tensor, axis: Tensor | None = None) -> Tensor:
    return torch.softmax(x, -1 if axis is None else ints(axis)[0])


def softsign(x: Tensor) -> Tensor:
    return x / (1 + x.abs())


def thresholded_relu(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.where(x >= number(alpha), x, torch.zeros_like(x))


def _per_channel(parameter: Tensor, x: Tensor) -> Tensor:
    return parameter.reshape([1, -1] + [1] * (x.ndim - 2))


OPERATORS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function
    for function in (
        clamped_relu, elu, gelu, leaky_relu, linear_activation, prelu, relu, relu6, scaled_tanh, sigmoid, sigmoid_hard,
        silu, softmax, softplus, softplus_parametric, softsign, thresholded_relu,
    )
}  # fmt: skip
