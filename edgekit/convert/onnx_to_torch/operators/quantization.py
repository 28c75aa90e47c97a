"""Quantize and dequantize, simulated: the integers are exact, what lies between them is computed in floating point."""

from __future__ import annotations

import torch
from torch import Tensor

from edgekit.convert.onnx_to_torch.node import Node, Operator, UnsupportedNodeError
from edgekit.convert.onnx_to_torch.tensors import axis_of, dtype_name

_LIMITS = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int32": (-(2**31), 2**31 - 1),
    "int4": (-8, 7),
    "uint4": (0, 15),
}


def _along(parameter: Tensor, x: Tensor, node: Node) -> Tensor:
    """A scale or zero point, shaped to broadcast to x: per tensor, per channel, or per block (opset 21)."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    axis = axis_of(node.get("axis", 1), x.ndim)
    if parameter.ndim == 1:
        shape = [1] * x.ndim
        shape[axis] = -1
        return parameter.reshape(shape)
    block = node.get("block_size", 0)
    return parameter.repeat_interleave(block, dim=axis).narrow(axis, 0, x.shape[axis]) if block else parameter


def _quantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """round(x ÷ scale) + zero point, ties to even, saturated."""
    stored = _stored(node, zero)
    low, high = _LIMITS[stored]
    steps = torch.round(x.to(scale.dtype) / _along(scale, x, node))
    if zero is not None:
        steps = steps + _along(zero, x, node).to(steps.dtype)
    return torch.clamp(steps, low, high).to(_HELD[stored])


def _stored(node: Node, zero: Tensor | None) -> str:
    """The zero point's dtype; without one, the attribute `output_dtype` (opset 21), or uint8."""
    if node.get("output_dtype"):
        return dtype_name(node.get("output_dtype"))
    stored = str(node.get("stored", "uint8" if zero is None else str(zero.dtype).removeprefix("torch.")))
    if stored not in _LIMITS:
        raise UnsupportedNodeError(f"quantization to {stored}")
    return stored


_HELD = {"int8": torch.int8, "uint8": torch.uint8, "int16": torch.int16, "uint16": torch.int32, "int32": torch.int32,
         "int4": torch.int8, "uint4": torch.uint8}  # fmt: skip


def _dequantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    steps = x.to(torch.float32)
    if zero is not None:
        steps = steps - _along(zero, x, node).to(torch.float32)
    return (steps * _along(scale, x, node).to(torch.float32)).to(scale.dtype)


def _dynamic(_node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """To uint8, over the range of x and zero."""
    low, high = torch.clamp_max(x.min(), 0.0), torch.clamp_min(x.max(), 0.0)
    scale = (high - low) / 255.0
    zero = torch.clamp(torch.round(-low / scale), 0, 255)
    return torch.clamp(torch.round(x / scale) + zero, 0, 255).to(torch.uint8), scale, zero.to(torch.uint8)


def _qlinear_matmul(
    _node: Node, a: Tensor, a_scale: Tensor, a_zero: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor,
    y_scale: Tensor, y_zero: Tensor,
) -> Tensor:  # fmt: skip
    """Sums of integers, exact in float64, then one rescaling. Parameters of more than one element are per row of a,
    per column of b."""
    total = torch.matmul(a.double() - _rows(a_zero).double(), b.double() - b_zero.double())
    factor = _rows(a_scale).double() * b_scale.double() / _rows(y_scale).double()
    limits = torch.iinfo(a.dtype)
    return torch.clamp(torch.round(total * factor) + _rows(y_zero).double(), limits.min, limits.max).to(a.dtype)


def _rows(parameter: Tensor) -> Tensor:
    return parameter.unsqueeze(-1) if parameter.ndim == 1 and parameter.numel() > 1 else parameter


OPERATORS = {
    "DequantizeLinear": Operator(_dequantize),
    "DynamicQuantizeLinear": Operator(_dynamic),
    "QLinearMatMul": Operator(_qlinear_matmul),
    "QuantizeLinear": Operator(_quantize),
}
