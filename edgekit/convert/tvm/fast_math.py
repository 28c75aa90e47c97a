"""exp, erf, tanh and sigmoid as arithmetic that vectorises.

LLVM calls the C library for these, one element at a time. Here they are polynomials over float32:

- exp(x) = 2ⁿ · exp(r) with n = round(x / ln 2) and |r| ≤ ln 2 / 2 (Cody and Waite 1980: ln 2 in two parts), exp(r)
  by its Taylor series to r⁷, whose remainder is 5·10⁻⁹;
- erf by Abramowitz and Stegun 1964, 7.1.26: |error| ≤ 1.5·10⁻⁷, 5·10⁻⁷ with rounding;
- tanh(x) = (1 - e) / (1 + e) with e = exp(-2|x|), for |x| < .2 by its series to x⁷ instead, where that would cancel;
- sigmoid(x) = 1 / (1 + exp(-x)).

No step needs more than arithmetic, conversion and selection, so that NEON of ARMv7, which cannot round, vectorises it
too.
"""

from __future__ import annotations

import math
from typing import Any

_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_LOWEST, _HIGHEST = -87.0, 88.0
"""Beyond these, 2ⁿ leaves float32's normal numbers: results stay at 1.6·10⁻³⁸ and 1.7·10³⁸."""
_ERF_P = 0.3275911
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_SMALL = 0.2


def vectorizable(function: Any) -> Any:
    """A TIR function with its float32 calls of exp, erf, tanh and sigmoid written out."""
    from tvm.tirx import stmt_functor

    written = {"tirx.exp": exp, "tirx.erf": erf, "tirx.tanh": tanh, "tirx.sigmoid": sigmoid}

    def rewrite(call: Any) -> Any:
        name = getattr(call.op, "name", "")
        if name in written and str(call.ty.dtype) == "float32":
            return written[name](call.args[0])
        return None

    body = stmt_functor.ir_transform(function.body, None, rewrite, ["ir.Call"])
    return function.with_body(body)


def _f(value: float) -> Any:
    from tvm import tirx

    return tirx.const(value, "float32")


def _horner(x: Any, coefficients: tuple[float, ...]) -> Any:
    """Σ cᵢ xⁱ, the constant first."""
    total = _f(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + _f(coefficient)
    return total


def exp(x: Any) -> Any:
    from tvm import tirx

    x = tirx.max(tirx.min(x, _f(_HIGHEST)), _f(_LOWEST))
    # Conversion truncates: of a positive number plus a half that rounds.
    n = (x * _f(1 / math.log(2)) + _f(128.5)).astype("int32") - 128
    whole = n.astype("float32")
    r = x - whole * _f(_LN2_HIGH) - whole * _f(_LN2_LOW)
    series = _horner(r, tuple(1 / math.factorial(k) for k in range(8)))
    return series * tirx.reinterpret("float32", (n + 127) << 23)


def erf(x: Any) -> Any:
    from tvm import tirx

    size = tirx.abs(x)
    t = _f(1.0) / (_f(1.0) + _f(_ERF_P) * size)
    value = _f(1.0) - t * _horner(t, _ERF) * exp(-size * size)
    return tirx.Select(x < _f(0.0), -value, value)


def tanh(x: Any) -> Any:
    from tvm import tirx

    size = tirx.abs(x)
    e = exp(_f(-2.0) * size)
    value = (_f(1.0) - e) / (_f(1.0) + e)
    square = x * x
    small = x * _horner(square, (1.0, -1 / 3, 2 / 15, -17 / 315))
    return tirx.Select(size < _f(_SMALL), small, tirx.Select(x < _f(0.0), -value, value))


def sigmoid(x: Any) -> Any:
    return _f(1.0) / (_f(1.0) + exp(-x))
