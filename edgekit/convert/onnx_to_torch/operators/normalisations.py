"""Normalisations, at inference."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgekit.convert.onnx_to_torch.node import Node, Operator, UnsupportedNodeError
from edgekit.convert.onnx_to_torch.tensors import axis_of


def _batch(node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if node.get("training_mode", 0) or (node.opset >= 14 and any(node.wants(i) for i in range(1, len(node.outputs)))):
        raise UnsupportedNodeError("training mode")
    if not node.get("spatial", 1):
        raise UnsupportedNodeError("spatial=0")
    return functional.batch_norm(x, mean, variance, scale, bias, training=False, eps=node.get("epsilon", 1e-5))


def _instance(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return functional.instance_norm(x, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


def _layer(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    """Output 1 is the mean, output 2 the inverse of the standard deviation."""
    axis, epsilon = axis_of(node.get("axis", -1), x.ndim), node.get("epsilon", 1e-5)
    shape = list(x.shape[axis:])
    if list(scale.shape) == shape and (bias is None or list(bias.shape) == shape):
        normal = functional.layer_norm(x, shape, scale, bias, eps=epsilon)
    else:  # a scale that broadcasts, which torch does not take
        normal = functional.layer_norm(x, shape, eps=epsilon) * scale
        normal = normal if bias is None else normal + bias
    if len(node.outputs) == 1:
        return (normal,)
    axes = list(range(axis, x.ndim))
    mean = x.mean(axes, keepdim=True)
    return normal, mean, torch.rsqrt((x - mean).square().mean(axes, keepdim=True) + epsilon)


def _rms(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    axes = list(range(axis_of(node.get("axis", -1), x.ndim), x.ndim))
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # stash_type is float32 by default
    normal = wide * torch.rsqrt(wide.square().mean(axes, keepdim=True) + node.get("epsilon", 1e-5))
    return normal.to(x.dtype) * scale


def _group(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Scale and bias belong to channels since opset 21; in 18 they belonged to groups."""
    groups, epsilon = node.get("num_groups"), node.get("epsilon", 1e-5)
    if node.opset >= 21:
        return functional.group_norm(x, groups, scale, bias, eps=epsilon)
    each = x.shape[1] // groups
    return functional.group_norm(x, groups, scale.repeat_interleave(each), bias.repeat_interleave(each), eps=epsilon)


def _local_response(node: Node, x: Tensor) -> Tensor:
    """x ÷ (bias + alpha ÷ size × the sum of squares over neighbouring channels)^beta (Krizhevsky et al. 2012)."""
    size, beta = node.get("size"), node.get("beta", 0.75)
    squares = x.square().reshape(x.shape[0], 1, x.shape[1], -1)
    before, after = (size - 1) // 2, size // 2
    padded = functional.pad(squares, (0, 0, before, after))
    sums = functional.avg_pool2d(padded, (size, 1), (1, 1)).reshape(x.shape)
    return x / (node.get("bias", 1.0) + node.get("alpha", 1e-4) * sums) ** beta


def _lp(node: Node, x: Tensor) -> Tensor:
    """All zeros stay zeros."""
    norm = torch.linalg.vector_norm(x, ord=node.get("p", 2), dim=node.get("axis", -1), keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / norm)


OPERATORS = {
    "BatchNormalization": Operator(_batch),
    "GroupNormalization": Operator(_group),
    "InstanceNormalization": Operator(_instance),
    "LRN": Operator(_local_response),
    "LayerNormalization": Operator(_layer),
    "LpNormalization": Operator(_lp),
    "RMSNormalization": Operator(_rms),
}
