"""Element by element: arithmetic, comparisons, logic, roots and transcendental functions, casts.

The functions of two inputs broadcast as NumPy does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edgekit.convert.mil.values import Tensor, is_float

if TYPE_CHECKING:
    from collections.abc import Callable


def cast(x: Tensor, dtype: str) -> Tensor:
    """Floats lose their fraction towards zero when they become integers; anything but zero becomes true.

    The evaluator rounds to the declared dtype, which is `dtype`.
    """
    return x != 0 if dtype == "bool" else x


def clip(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.clamp(x, alpha, beta)


def exp2(x: Tensor) -> Tensor:
    return torch.exp2(x)


def floor_div(x: Tensor, y: Tensor) -> Tensor:
    """Rounds towards minus infinity, also for floats."""
    return torch.div(x, y, rounding_mode="floor")


def identity(x: Tensor) -> Tensor:
    return x


def inverse(x: Tensor, epsilon: Tensor) -> Tensor:
    return 1 / (x + epsilon)


def log(x: Tensor, epsilon: Tensor) -> Tensor:
    return torch.log(x + epsilon)


def mod(x: Tensor, y: Tensor) -> Tensor:
    """The remainder has the sign of the divisor."""
    return torch.remainder(x, y)


def real_div(x: Tensor, y: Tensor) -> Tensor:
    """Integers keep their dtype, so their quotient loses its fraction."""
    return torch.div(x, y) if is_float(x) or is_float(y) else torch.div(x, y, rounding_mode="trunc")


def round_(x: Tensor) -> Tensor:
    """To the nearest, halves to the even."""
    return torch.round(x)


def rsqrt(x: Tensor, epsilon: Tensor) -> Tensor:
    return torch.rsqrt(x + epsilon)


def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(cond.to(torch.bool), a, b)


def threshold(x: Tensor, alpha: Tensor) -> Tensor:
    return torch.maximum(x, alpha)


def _of_one(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Gives MIL's names to the inputs of one of torch's functions, which have other names."""

    def named(x: Tensor) -> Tensor:
        return function(x)

    return named


def _of_two(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def named(x: Tensor, y: Tensor) -> Tensor:
        return function(x, y)

    return named


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "abs": _of_one(torch.abs),
    "acos": _of_one(torch.acos),
    "add": _of_two(torch.add),
    "asin": _of_one(torch.asin),
    "atan": _of_one(torch.atan),
    "atanh": _of_one(torch.atanh),
    "cast": cast,
    "ceil": _of_one(torch.ceil),
    "clip": clip,
    "cos": _of_one(torch.cos),
    "cosh": _of_one(torch.cosh),
    "equal": _of_two(torch.eq),
    "erf": _of_one(torch.erf),
    "exp": _of_one(torch.exp),
    "exp2": exp2,
    "floor": _of_one(torch.floor),
    "floor_div": floor_div,
    "greater": _of_two(torch.gt),
    "greater_equal": _of_two(torch.ge),
    "identity": identity,
    "inverse": inverse,
    "less": _of_two(torch.lt),
    "less_equal": _of_two(torch.le),
    "log": log,
    "logical_and": _of_two(torch.logical_and),
    "logical_not": _of_one(torch.logical_not),
    "logical_or": _of_two(torch.logical_or),
    "logical_xor": _of_two(torch.logical_xor),
    "maximum": _of_two(torch.maximum),
    "minimum": _of_two(torch.minimum),
    "mod": mod,
    "mul": _of_two(torch.mul),
    "not_equal": _of_two(torch.ne),
    "pow": _of_two(torch.pow),
    "real_div": real_div,
    "round": round_,
    "rsqrt": rsqrt,
    "select": select,
    "sign": _of_one(torch.sign),
    "sin": _of_one(torch.sin),
    "sinh": _of_one(torch.sinh),
    "sqrt": _of_one(torch.sqrt),
    "square": _of_one(torch.square),
    "sub": _of_two(torch.sub),
    "tan": _of_one(torch.tan),
    "tanh": _of_one(torch.tanh),
    "threshold": threshold,
}
