"""Reductions against NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from tests.convert.mil.programs import evaluate, floats, same, whole

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

CASES: list[tuple[str, Callable[..., Any], Callable[..., Any]]] = [
    ("l1", mb.reduce_l1_norm, lambda x, **k: np.abs(x).sum(**k)),
    ("l2", mb.reduce_l2_norm, lambda x, **k: np.sqrt((x * x).sum(**k))),
    ("log_sum", mb.reduce_log_sum, lambda x, **k: np.log(x.sum(**k))),
    ("log_sum_exp", mb.reduce_log_sum_exp, lambda x, **k: np.log(np.exp(x).sum(**k))),
    ("max", mb.reduce_max, np.max),
    ("mean", mb.reduce_mean, np.mean),
    ("min", mb.reduce_min, np.min),
    ("prod", mb.reduce_prod, np.prod),
    ("sum", mb.reduce_sum, np.sum),
    ("sum_square", mb.reduce_sum_square, lambda x, **k: (x * x).sum(**k)),
]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("axes", [[1], [-1], [0, 2], [0, 1, 2]], ids=str)
@pytest.mark.parametrize(("build", "reference"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_over_axes(build: Callable[..., Any], reference: Callable[..., Any], axes: list[int], keep: bool) -> None:
    x = np.abs(floats(3, 4, 5)) + 0.1
    (found,) = evaluate(lambda x: build(x=x, axes=axes, keep_dims=keep), x)
    same(reference(x, axis=tuple(axes), keepdims=keep), found)


def test_over_all_axes_by_default() -> None:
    x = floats(3, 4)
    (found,) = evaluate(lambda x: mb.reduce_sum(x=x), x)
    same(x.sum(), found)


def test_of_integers() -> None:
    x = whole(4, 6)
    (found,) = evaluate(lambda x: mb.reduce_sum(x=x, axes=[1], keep_dims=False), x)
    same(x.sum(1), found)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_position_of_the_extremes(axis: int, keep: bool) -> None:
    x = floats(3, 4, 5)
    x[:, 2] = x[:, 0]  # of equal values, the first
    largest, smallest = evaluate(
        lambda x: (
            mb.reduce_argmax(x=x, axis=axis, keep_dims=keep),
            mb.reduce_argmin(x=x, axis=axis, keep_dims=keep, output_dtype="uint16"),
        ),
        x,
        opset="iOS17",
    )
    same(np.argmax(x, axis, keepdims=keep).astype(np.int32), largest)
    same(np.argmin(x, axis, keepdims=keep).astype(np.uint16), smallest)
    assert (largest.dtype, smallest.dtype) == (np.int32, np.uint16)
