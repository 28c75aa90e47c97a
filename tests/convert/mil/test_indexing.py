"""Gather and scatter against NumPy; `gather_nd` with batches against TensorFlow is in test_against_tensorflow.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from edgekit.errors import ConversionError
from tests.convert.mil.programs import evaluate, floats, same, whole

pytestmark = pytest.mark.slow

X = floats(5, 6, 7)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(3,), (2, 4), ()], ids=str)
def test_gather(axis: int, shape: tuple[int, ...]) -> None:
    indices = np.random.default_rng(1).integers(-5, 5, shape).astype(np.int32)
    if shape:
        (found,) = evaluate(lambda x, i: mb.gather(x=x, indices=i, axis=axis), X, indices)
    else:
        (found,) = evaluate(lambda x: mb.gather(x=x, indices=indices[()], axis=axis), X)
    np.testing.assert_array_equal(found, np.take(X, indices, axis))


def test_gather_from_an_embedding() -> None:
    table, tokens = floats(10, 4), whole(1, 6, low=0, high=10)
    (found,) = evaluate(lambda i: mb.gather(x=table, indices=i, axis=0), tokens)
    np.testing.assert_array_equal(found, table[tokens])


def test_gather_by_batch() -> None:
    x, indices = floats(2, 3, 5, 4), whole(2, 3, 2, low=0, high=5)
    (found,) = evaluate(lambda x, i: mb.gather(x=x, indices=i, axis=2, batch_dims=2), x, indices)
    expected = np.stack([[x[i, j][indices[i, j]] for j in range(3)] for i in range(2)])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_along_axis(axis: int) -> None:
    shape = [5, 6, 7]
    shape[axis] = 3
    indices = whole(*shape, low=-5, high=5)
    (found,) = evaluate(lambda x, i: mb.gather_along_axis(x=x, indices=i, axis=axis), X, indices)
    np.testing.assert_array_equal(found, np.take_along_axis(X, indices, axis))


def test_gather_nd() -> None:
    indices = np.array([[[0, 1], [4, 5]], [[2, 0], [3, 3]]], np.int32)
    (found,) = evaluate(lambda x, i: mb.gather_nd(x=x, indices=i), X, indices)
    np.testing.assert_array_equal(found, X[indices[..., 0], indices[..., 1]])


@pytest.mark.parametrize("operator", ["gather", "gather_along_axis"])
def test_an_index_outside_is_an_error(operator: str) -> None:
    with pytest.raises(ConversionError, match=f"at {operator} .*range|bounds"):
        evaluate(lambda x, i: getattr(mb, operator)(x=x, indices=i, axis=0), floats(3), np.array([1, 3], np.int32))


def combine(mode: str, old: Any, new: Any) -> Any:
    return {"update": new, "add": old + new, "sub": old - new, "mul": old * new, "div": old / new,
            "max": np.maximum(old, new), "min": np.minimum(old, new)}[mode]  # fmt: skip


MODES = ["update", "add", "sub", "mul", "div", "max", "min"]


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("mode", MODES)
def test_scatter(mode: str, axis: int) -> None:
    indices = np.array([3, 0, -2], np.int32)
    shape = [5, 6, 7]
    shape[axis] = 3
    updates = floats(*shape, seed=1) + 3
    (found,) = evaluate(
        lambda x, i, u: mb.scatter(data=x, indices=i, updates=u, axis=axis, mode=mode), X, indices, updates
    )
    expected = np.moveaxis(X.copy(), axis, 0)
    for i, update in zip(indices, np.moveaxis(updates, axis, 0), strict=True):
        expected[i] = combine(mode, expected[i], update)
    same(np.moveaxis(expected, 0, axis), found)


@pytest.mark.parametrize("mode", MODES)
def test_scatter_along_axis(mode: str) -> None:
    indices = np.stack([np.random.default_rng(i).permutation(6)[:3] for i in range(5)]).astype(np.int32)
    data, updates = floats(5, 6), floats(5, 3, seed=1) + 3
    (found,) = evaluate(
        lambda x, i, u: mb.scatter_along_axis(data=x, indices=i, updates=u, axis=1, mode=mode), data, indices, updates
    )
    expected = data.copy()
    for row in range(5):
        for i, update in zip(indices[row], updates[row], strict=True):
            expected[row, i] = combine(mode, expected[row, i], update)
    same(expected, found)


@pytest.mark.parametrize("mode", MODES)
def test_scatter_nd(mode: str) -> None:
    indices, updates = np.array([[0, 1], [4, 5], [2, 0]], np.int32), floats(3, 7, seed=1) + 3
    (found,) = evaluate(lambda x, i, u: mb.scatter_nd(data=x, indices=i, updates=u, mode=mode), X, indices, updates)
    expected = X.copy()
    for (i, j), update in zip(indices, updates, strict=True):
        expected[i, j] = combine(mode, expected[i, j], update)
    same(expected, found)


def test_a_position_that_occurs_twice_takes_both() -> None:
    data, indices, updates = np.zeros(3, np.float32), np.array([1, 1, 0], np.int32), np.array([2, 3, 4], np.float32)
    (found,) = evaluate(lambda x, i, u: mb.scatter(data=x, indices=i, updates=u, mode="add"), data, indices, updates)
    same([4, 5, 0], found)


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int) -> None:
    indices = whole(2, 3, low=0, high=4)
    (found,) = evaluate(
        lambda i: mb.one_hot(indices=i, one_hot_vector_size=4, axis=axis, on_value=2.0, off_value=-1.0), indices
    )
    hot = np.where(np.arange(4) == indices[..., None], 2.0, -1.0)
    np.testing.assert_array_equal(found, np.moveaxis(hot, -1, axis))


def test_non_zero() -> None:
    x = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 3.0]], np.float32)
    (found,) = evaluate(lambda x: mb.non_zero(x=x), x)
    np.testing.assert_array_equal(found, np.argwhere(x))
