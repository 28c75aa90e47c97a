"""Arithmetic, comparisons and logic, element by element, with numpy's broadcasting."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from edgekit.convert.onnx_to_torch.node import Node, Operator, UnsupportedNodeError
from edgekit.convert.onnx_to_torch.tensors import number, torch_dtype

if TYPE_CHECKING:
    from collections.abc import Callable


def _one(function: Callable[[Tensor], Tensor]) -> Operator:
    return Operator(lambda _node, x: function(x))


def _two(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return Operator(lambda _node, a, b: function(a, b))


def _all(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return Operator(lambda _node, *tensors: reduce(function, tensors))


def _divide(_node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Integers are divided as in C: towards zero."""
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _modulo(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """`fmod=1` takes the dividend's sign, as in C; otherwise the divisor's, as in Python."""
    return torch.fmod(a, b) if node.get("fmod", 0) else torch.remainder(a, b)


def _power(_node: Node, base: Tensor, exponent: Any) -> Tensor:
    """The result has the base's dtype, whatever the exponent's is."""
    exponent = number(exponent)
    if not base.is_floating_point() and not isinstance(exponent, int):
        return torch.pow(base.double(), exponent).to(base.dtype)
    if isinstance(exponent, float) and exponent.is_integer():
        exponent = int(exponent)
    result = torch.pow(base, exponent)
    return result if result.dtype == base.dtype else result.to(base.dtype)


def _mean(_node: Node, *tensors: Tensor) -> Tensor:
    return reduce(torch.add, tensors) / len(tensors)


def _clip(node: Node, x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    """Limits are attributes before opset 11, inputs since. Two numbers make one clamp: converters know ReLU6."""
    if node.opset < 11:
        low, high = node.get("min"), node.get("max")
    low, high = number(low), number(high)
    if not isinstance(low, Tensor) and not isinstance(high, Tensor):
        return x if low is None and high is None else torch.clamp(x, low, high)
    x = x if low is None else torch.maximum(x, torch.as_tensor(low, dtype=x.dtype))
    return x if high is None else torch.minimum(x, torch.as_tensor(high, dtype=x.dtype))


def _shift(node: Node, x: Tensor, by: Tensor) -> Tensor:
    shift = torch.bitwise_left_shift if node.get("direction") == "LEFT" else torch.bitwise_right_shift
    return shift(x, by)


def _is_infinite(node: Node, x: Tensor) -> Tensor:
    positive, negative = node.get("detect_positive", 1), node.get("detect_negative", 1)
    if positive and negative:
        return torch.isinf(x)
    if positive:
        return torch.isposinf(x)
    return torch.isneginf(x) if negative else torch.zeros_like(x, dtype=torch.bool)


def _cast(node: Node, x: Tensor) -> Tensor:
    dtype = torch_dtype(node.get("to"))
    return x if x.dtype == dtype else x.to(dtype)


def _cast_like(_node: Node, x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


def _dropout(_node: Node, x: Tensor, _ratio: Any = None, training: Any = None) -> tuple[Tensor, ...]:
    """Nothing is dropped at inference: the mask (output 1) is all true."""
    if training is not None and bool(training.reshape(-1)[0]):
        raise UnsupportedNodeError("training mode")
    return x, torch.ones_like(x, dtype=torch.bool)


def _where(_node: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)


OPERATORS = {
    "Abs": _one(torch.abs),
    "Acos": _one(torch.acos),
    "Acosh": _one(torch.acosh),
    "Add": _two(torch.add),
    "And": _two(torch.logical_and),
    "Asin": _one(torch.asin),
    "Asinh": _one(torch.asinh),
    "Atan": _one(torch.atan),
    "Atanh": _one(torch.atanh),
    "BitShift": Operator(_shift),
    "BitwiseAnd": _two(torch.bitwise_and),
    "BitwiseNot": _one(torch.bitwise_not),
    "BitwiseOr": _two(torch.bitwise_or),
    "BitwiseXor": _two(torch.bitwise_xor),
    "Cast": Operator(_cast),
    "CastLike": Operator(_cast_like, described=(1,)),
    "Ceil": _one(torch.ceil),
    "Clip": Operator(_clip, foldable=(1, 2)),
    "Cos": _one(torch.cos),
    "Cosh": _one(torch.cosh),
    "Div": Operator(_divide),
    "Dropout": Operator(_dropout, static=(2,), foldable=(1,)),
    "Equal": _two(torch.eq),
    "Erf": _one(torch.erf),
    "Exp": _one(torch.exp),
    "Floor": _one(torch.floor),
    "Greater": _two(torch.gt),
    "GreaterOrEqual": _two(torch.ge),
    "Identity": _one(lambda x: x),
    "IsInf": Operator(_is_infinite),
    "IsNaN": _one(torch.isnan),
    "Less": _two(torch.lt),
    "LessOrEqual": _two(torch.le),
    "Log": _one(torch.log),
    "Max": _all(torch.maximum),
    "Mean": Operator(_mean),
    "Min": _all(torch.minimum),
    "Mod": Operator(_modulo),
    "Mul": _two(torch.mul),
    "Neg": _one(torch.neg),
    "Not": _one(torch.logical_not),
    "Or": _two(torch.logical_or),
    "Pow": Operator(_power, foldable=(1,)),
    "Reciprocal": _one(torch.reciprocal),
    "Round": _one(torch.round),
    "Sign": _one(torch.sign),
    "Sin": _one(torch.sin),
    "Sinh": _one(torch.sinh),
    "Sqrt": _one(torch.sqrt),
    "Sub": _two(torch.sub),
    "Sum": _all(torch.add),
    "Tan": _one(torch.tan),
    "Tanh": _one(torch.tanh),
    "Where": Operator(_where),
    "Xor": _two(torch.logical_xor),
}
