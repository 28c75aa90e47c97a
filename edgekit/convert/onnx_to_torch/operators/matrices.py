"""Matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

from edgekit.convert.onnx_to_torch.node import Node, Operator


def _matmul(_node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b)


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """alpha × A × B + beta × C; C broadcasts."""
    a = a.t() if node.get("transA", 0) else a
    b = b.t() if node.get("transB", 0) else b
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    product = torch.matmul(a, b)
    product = product if alpha == 1.0 else _scaled(product, alpha)
    return product if c is None else product + (c if beta == 1.0 else _scaled(c, beta))


def _scaled(x: Tensor, factor: float) -> Tensor:
    return (x * factor).to(x.dtype)


def _einsum(node: Node, *tensors: Tensor) -> Tensor:
    return torch.einsum(node.get("equation").replace(" ", ""), *tensors)


def _matmul_integer(
    _node: Node, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    """In float32 the sums would round beyond 2^24; in float64 they are exact."""
    left = a.double() - (0 if a_zero is None else _per_row(a_zero.double(), a.ndim))
    right = b.double() - (0 if b_zero is None else b_zero.double())
    return torch.matmul(left, right).to(torch.int32)


def _per_row(zero: Tensor, rank: int) -> Tensor:
    return zero.unsqueeze(-1) if zero.ndim == 1 and zero.shape[0] > 1 and rank > 1 else zero


def _determinant(_node: Node, x: Tensor) -> Tensor:
    return torch.linalg.det(x)


OPERATORS = {
    "Det": Operator(_determinant),
    "Einsum": Operator(_einsum),
    "Gemm": Operator(_gemm),
    "MatMul": Operator(_matmul),
    "MatMulInteger": Operator(_matmul_integer),
}
