"""Sorting, sums along an axis, and tensors made of nothing but a shape."""

from __future__ import annotations

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from tests.convert.mil.programs import evaluate, floats, same, whole

pytestmark = pytest.mark.slow

X = floats(3, 4, 5)


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("axis", [0, -1])
def test_argsort(axis: int, ascending: bool) -> None:
    (found,) = evaluate(lambda x: mb.argsort(x=x, axis=axis, ascending=ascending), X)
    same(np.argsort(X if ascending else -X, axis, kind="stable").astype(np.int32), found)


@pytest.mark.parametrize("k", [1, 3, -1])
@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("axis", [1, -1])
def test_topk(axis: int, ascending: bool, k: int) -> None:
    values, indices = evaluate(lambda x: mb.topk(x=x, k=k, axis=axis, ascending=ascending), X)
    order = np.argsort(X if ascending else -X, axis, kind="stable").astype(np.int32)
    order = np.take(order, range(order.shape[axis] if k == -1 else k), axis)
    same(order, indices)
    same(np.take_along_axis(X, order, axis), values)


def test_topk_without_indices() -> None:
    (values,) = evaluate(lambda x: mb.topk(x=x, k=2, return_indices=False), X, opset="iOS17")
    same(-np.sort(-X, -1)[..., :2], values)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cumsum(axis: int, reverse: bool, exclusive: bool) -> None:
    (found,) = evaluate(lambda x: mb.cumsum(x=x, axis=axis, reverse=reverse, exclusive=exclusive), X)
    ordered = np.flip(X, axis) if reverse else X
    sums = np.cumsum(ordered, axis)
    sums = sums - ordered if exclusive else sums
    same(np.flip(sums, axis) if reverse else sums, found)


def test_cumsum_of_integers() -> None:
    x = whole(6)
    (found,) = evaluate(lambda x: mb.cumsum(x=x), x)
    same(np.cumsum(x), found)


def test_fill() -> None:
    shape = np.array([2, 3], np.int32)
    fixed, of_a_shape_that_is_computed = evaluate(
        lambda s: (mb.fill(shape=[2, 2], value=7), mb.fill(shape=s, value=1.5)), shape
    )
    same(np.full((2, 2), 7), fixed)
    same(np.full((2, 3), 1.5), of_a_shape_that_is_computed)


def test_fill_like() -> None:
    (found,) = evaluate(lambda x: mb.fill_like(ref_tensor=x, value=2.5), X)
    same(np.full((3, 4, 5), 2.5), found)


@pytest.mark.parametrize(("start", "end", "step"), [(0, 5, 1), (7, 1, -2), (0, 0, 1)])
def test_range(start: int, end: int, step: int) -> None:
    given = np.array([end], np.int32)
    (found,) = evaluate(lambda e: mb.range_1d(start=np.int32(start), end=mb.squeeze(x=e), step=np.int32(step)), given)
    same(np.arange(start, end, step), found)


def test_range_of_floats() -> None:
    given = np.array([1.0], np.float32)
    (found,) = evaluate(lambda e: mb.range_1d(start=0.0, end=mb.squeeze(x=e), step=0.25), given)
    same([0.0, 0.25, 0.5, 0.75], found)
