"""Normalisations: batch, instance, layer, L2 and local response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from edgekit.convert.mil.values import Tensor, ints, number

if TYPE_CHECKING:
    from collections.abc import Callable


def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
) -> Tensor:
    """`x` is (n, C, *spatial), the others one value per channel."""
    shape = _per_channel(x)
    normal = (x - mean.reshape(shape)) / torch.sqrt(variance.reshape(shape) + epsilon)
    return _scaled(normal, gamma, beta, shape)


def instance_norm(x: Tensor, epsilon: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
    """Each channel of each sample by its own mean and (biased) variance."""
    return _scaled(_normalised(x, list(range(2, x.ndim)), epsilon), gamma, beta, _per_channel(x))


def layer_norm(
    x: Tensor,
    epsilon: Tensor,
    axes: Tensor | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
) -> Tensor:
    """Over `axes`, all by default; `gamma` and `beta` have the shape of these axes."""
    over = range(x.ndim) if axes is None else [axis % x.ndim for axis in ints(axes)]
    shape = [x.shape[i] if i in over else 1 for i in range(x.ndim)]
    return _scaled(_normalised(x, list(over), epsilon), gamma, beta, shape)


def l2_norm(x: Tensor, epsilon: Tensor) -> Tensor:
    """x / sqrt(Σ x² + epsilon), summed over the last three axes."""
    return x / torch.sqrt((x * x).sum((-3, -2, -1), keepdim=True) + epsilon)


def local_response_norm(x: Tensor, size: Tensor, alpha: Tensor, beta: Tensor, k: Tensor) -> Tensor:
    """x / (k + alpha / size · Σ x²)^beta, summed over `size` neighbouring channels."""
    return functional.local_response_norm(x, ints(size)[0], number(alpha), number(beta), number(k))


def _normalised(x: Tensor, axes: list[int], epsilon: Tensor) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(axes, keepdim=True) + epsilon)


def _scaled(x: Tensor, gamma: Tensor | None, beta: Tensor | None, shape: list[int]) -> Tensor:
    if gamma is not None:
        x = x * gamma.reshape(shape)
    return x if beta is None else x + beta.reshape(shape)


def _per_channel(x: Tensor) -> list[int]:
    return [1, -1] + [1] * (x.ndim - 2)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function for function in (batch_norm, instance_norm, l2_norm, layer_norm, local_response_norm)
}
