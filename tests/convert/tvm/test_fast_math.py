"""exp, erf, tanh and sigmoid as arithmetic, against float64, over all of float32's range that matters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

POINTS = np.concatenate(
    [np.linspace(-100, 100, 40001), np.geomspace(1e-30, 90, 2000), -np.geomspace(1e-30, 90, 2000)]
).astype(np.float32)


def evaluate(name: str, x: np.ndarray) -> np.ndarray:
    import tvm
    from tvm import te, tirx

    from edgekit.convert.tvm.fast_math import vectorizable

    data = te.placeholder(x.shape, name="x")
    result = te.compute(x.shape, lambda i: getattr(tirx, name)(data[i]), name="y")
    function = vectorizable(te.create_prim_func([data, result]))
    assert f"T.{name}(" not in function.script()
    built = tvm.compile(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}), target="llvm")
    out = tvm.runtime.tensor(np.zeros(x.shape, np.float32))
    built["main"](tvm.runtime.tensor(x), out)
    return out.numpy()


@pytest.mark.parametrize(
    ("name", "exact", "absolute", "relative"),
    [
        ("exp", lambda x: np.exp(np.clip(x, -87, 88)), 0.0, 3e-7),
        ("erf", np.vectorize(math.erf), 5e-7, 0.0),
        ("tanh", np.tanh, 0.0, 6e-7),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), 1e-37, 6e-7),
    ],
)
def test_close_to_exact(name: str, exact: Callable[[np.ndarray], np.ndarray], absolute: float, relative: float) -> None:
    truth = exact(POINTS.astype(np.float64))
    error = np.abs(evaluate(name, POINTS) - truth)
    assert (error <= absolute + relative * np.abs(truth)).all(), error.max()


def test_the_ends() -> None:
    ends = np.array([-np.inf, np.inf, 0.0], np.float32)
    assert evaluate("exp", ends)[0] < 2e-38
    assert evaluate("exp", ends)[2] == 1.0
    np.testing.assert_allclose(evaluate("tanh", ends), [-1, 1, 0])
    np.testing.assert_allclose(evaluate("sigmoid", ends), [0, 1, 0.5], atol=1e-37)
