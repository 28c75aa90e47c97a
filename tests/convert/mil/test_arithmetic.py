"""Arithmetic, comparisons, logic and casts against NumPy."""

from __future__ import annotations

from math import erf
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from tests.convert.mil.programs import evaluate, floats, same, whole

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

UNIT = np.linspace(-0.99, 0.99, 24, dtype=np.float32).reshape(2, 3, 4)
POSITIVE = np.abs(floats(2, 3, 4)) + 0.1

UNARY: list[tuple[str, Callable[..., Any], np.ndarray, Callable[..., Any]]] = [
    ("abs", lambda x: mb.abs(x=x), floats(2, 3, 4), np.abs),
    ("abs of integers", lambda x: mb.abs(x=x), whole(5), np.abs),
    ("acos", lambda x: mb.acos(x=x), UNIT, np.arccos),
    ("asin", lambda x: mb.asin(x=x), UNIT, np.arcsin),
    ("atan", lambda x: mb.atan(x=x), floats(4), np.arctan),
    ("atanh", lambda x: mb.atanh(x=x), UNIT, np.arctanh),
    ("ceil", lambda x: mb.ceil(x=x), floats(2, 3, 4) * 3, np.ceil),
    ("clip", lambda x: mb.clip(x=x, alpha=-0.5, beta=1.0), floats(2, 3, 4), lambda x: np.clip(x, -0.5, 1.0)),
    ("cos", lambda x: mb.cos(x=x), floats(4) * 5, np.cos),
    ("cosh", lambda x: mb.cosh(x=x), floats(4), np.cosh),
    ("erf", lambda x: mb.erf(x=x), floats(6), np.vectorize(erf)),
    ("exp", lambda x: mb.exp(x=x), floats(4), np.exp),
    ("exp2", lambda x: mb.exp2(x=x), floats(4), np.exp2),
    ("floor", lambda x: mb.floor(x=x), floats(2, 3, 4) * 3, np.floor),
    ("identity", lambda x: mb.identity(x=x), floats(4), lambda x: x),
    ("inverse", lambda x: mb.inverse(x=x, epsilon=0.01), POSITIVE, lambda x: 1 / (x + 0.01)),
    ("inverse, default epsilon", lambda x: mb.inverse(x=x), POSITIVE, lambda x: 1 / (x + 1e-4)),
    ("log", lambda x: mb.log(x=x), POSITIVE, np.log),
    ("log of zero", lambda x: mb.log(x=x, epsilon=0.5), np.zeros(3, np.float32), lambda x: np.log(x + 0.5)),
    ("round", lambda x: mb.round(x=x), np.array([-1.5, -0.5, 0.5, 1.5, 2.5, 2.6], np.float32), np.round),
    ("rsqrt", lambda x: mb.rsqrt(x=x, epsilon=0.1), POSITIVE, lambda x: 1 / np.sqrt(x + 0.1)),
    ("sign", lambda x: mb.sign(x=x), np.array([-2.0, 0.0, 3.0], np.float32), np.sign),
    ("sin", lambda x: mb.sin(x=x), floats(4) * 5, np.sin),
    ("sinh", lambda x: mb.sinh(x=x), floats(4), np.sinh),
    ("sqrt", lambda x: mb.sqrt(x=x), POSITIVE, np.sqrt),
    ("square", lambda x: mb.square(x=x), floats(4), np.square),
    ("tan", lambda x: mb.tan(x=x), UNIT, np.tan),
    ("tanh", lambda x: mb.tanh(x=x), floats(4), np.tanh),
    ("threshold", lambda x: mb.threshold(x=x, alpha=0.25), floats(8), lambda x: np.maximum(x, np.float32(0.25))),
]


@pytest.mark.parametrize(("build", "x", "reference"), [case[1:] for case in UNARY], ids=[case[0] for case in UNARY])
def test_of_one(build: Callable[..., Any], x: np.ndarray, reference: Callable[..., Any]) -> None:
    (found,) = evaluate(build, x)
    same(reference(x), found)


BINARY: list[tuple[str, Callable[..., Any], Callable[..., Any]]] = [
    ("add", lambda x, y: mb.add(x=x, y=y), np.add),
    ("sub", lambda x, y: mb.sub(x=x, y=y), np.subtract),
    ("mul", lambda x, y: mb.mul(x=x, y=y), np.multiply),
    ("real_div", lambda x, y: mb.real_div(x=x, y=y), np.divide),
    ("floor_div", lambda x, y: mb.floor_div(x=x, y=y), np.floor_divide),
    ("mod", lambda x, y: mb.mod(x=x, y=y), np.mod),
    ("maximum", lambda x, y: mb.maximum(x=x, y=y), np.maximum),
    ("minimum", lambda x, y: mb.minimum(x=x, y=y), np.minimum),
    ("equal", lambda x, y: mb.equal(x=x, y=y), np.equal),
    ("not_equal", lambda x, y: mb.not_equal(x=x, y=y), np.not_equal),
    ("greater", lambda x, y: mb.greater(x=x, y=y), np.greater),
    ("greater_equal", lambda x, y: mb.greater_equal(x=x, y=y), np.greater_equal),
    ("less", lambda x, y: mb.less(x=x, y=y), np.less),
    ("less_equal", lambda x, y: mb.less_equal(x=x, y=y), np.less_equal),
]


@pytest.mark.parametrize("shapes", [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (3, 1)), ((1, 4), (2, 3, 1))], ids=str)
@pytest.mark.parametrize(("build", "reference"), [case[1:] for case in BINARY], ids=[case[0] for case in BINARY])
def test_of_two(build: Callable[..., Any], reference: Callable[..., Any], shapes: Any) -> None:
    x, y = floats(*shapes[0]), floats(*shapes[1], seed=1)
    y.flat[0] = x.flat[0]  # one pair that is equal
    (found,) = evaluate(build, x, y)
    same(reference(x, y), found)


@pytest.mark.parametrize(("build", "reference"), [case[1:] for case in BINARY], ids=[case[0] for case in BINARY])
def test_of_two_integers(build: Callable[..., Any], reference: Callable[..., Any]) -> None:
    x, y = whole(6, 5), whole(6, 5, seed=1)
    y[y == 0] = 7
    y[0] = x[0] = 3
    (found,) = evaluate(build, x, y)
    expected = reference(x, y)
    if found.dtype.kind == "i":
        expected = np.trunc(expected).astype(np.int32)
    same(expected, found)


def test_pow() -> None:
    x, y = np.abs(floats(3, 4)) + 0.5, floats(3, 4, seed=1)
    (found,) = evaluate(lambda x, y: mb.pow(x=x, y=y), x, y)
    same(np.power(x, y), found)


def test_integers_wrap_around() -> None:
    x = np.array([2_000_000_000, -2_000_000_000], np.int32)
    (found,) = evaluate(lambda x: mb.add(x=x, y=x), x)
    with np.errstate(over="ignore"):
        same(x + x, found)


LOGICAL: list[tuple[str, Callable[..., Any], Callable[..., Any]]] = [
    ("logical_and", lambda x, y: mb.logical_and(x=x, y=y), np.logical_and),
    ("logical_or", lambda x, y: mb.logical_or(x=x, y=y), np.logical_or),
    ("logical_xor", lambda x, y: mb.logical_xor(x=x, y=y), np.logical_xor),
]


@pytest.mark.parametrize(("build", "reference"), [case[1:] for case in LOGICAL], ids=[case[0] for case in LOGICAL])
def test_logic(build: Callable[..., Any], reference: Callable[..., Any]) -> None:
    x, y = np.array([True, True, False, False]), np.array([True, False, True, False])
    (found,) = evaluate(build, x, y)
    same(reference(x, y), found)


def test_logical_not() -> None:
    (found,) = evaluate(lambda x: mb.logical_not(x=x), np.array([True, False]))
    same([False, True], found)


def test_select() -> None:
    cond, a, b = floats(2, 3) > 0, floats(2, 3, seed=1), floats(1, 3, seed=2)
    (found,) = evaluate(lambda c, a, b: mb.select(cond=c, a=a, b=mb.tile(x=b, reps=[2, 1])), cond, a, b)
    same(np.where(cond, a, b), found)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("int32", [-2, 0, 1, 200]),
        ("bool", [True, False, True, True]),
        ("fp16", [-2.7, 0, 1.2, 200.1]),
        ("uint8", [254, 0, 1, 200]),
        ("int8", [-2, 0, 1, -56]),
    ],
)
def test_cast(dtype: str, expected: list[Any]) -> None:
    x = np.array([-2.7, 0.0, 1.2, 200.1], np.float32)
    (found,) = evaluate(lambda x: mb.cast(x=x, dtype=dtype), x, opset="iOS17")
    if dtype == "fp16":
        np.testing.assert_array_equal(found, np.array(expected, np.float16))
    else:
        same(expected, found)
