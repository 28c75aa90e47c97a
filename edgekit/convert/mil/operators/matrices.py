"""Products of matrices, and attention."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.convert.mil.values import Tensor


def einsum(values: list[Tensor], equation: str) -> Tensor:
    return torch.einsum(equation, *values)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`weight` is (out, in)."""
    product = torch.matmul(x, weight.transpose(-1, -2))
    return product if bias is None else product + bias


def matmul(x: Tensor, y: Tensor, transpose_x: Tensor | None = None, transpose_y: Tensor | None = None) -> Tensor:
    """Broadcasts over all axes but the last two. Transposing has no effect on a vector."""
    if transpose_x is not None and bool(transpose_x) and x.ndim > 1:
        x = x.transpose(-1, -2)
    if transpose_y is not None and bool(transpose_y) and y.ndim > 1:
        y = y.transpose(-1, -2)
    return torch.matmul(x, y)


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """softmax(Q·Kᵀ / √E + mask) · V; a mask of booleans says which elements take part."""
    scores = torch.matmul(query, key.transpose(-1, -2)) / sqrt(query.shape[-1])
    if attn_mask is not None:
        takes_part = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, float("-inf")) if takes_part else scores + attn_mask
    return torch.matmul(torch.softmax(scores, -1), value)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function for function in (einsum, linear, matmul, scaled_dot_product_attention)
}
