"""Samples for tensors: what is understood, what is refused, and that nothing is bent to fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataError
from edgekit.specs import DTYPES, TensorSpec, is_model_name, stack_all, stack_samples

SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)


@given(SHAPES, st.integers(1, 5), st.booleans())
def test_samples_keep_their_values_and_gain_at_most_a_batch_axis(shape: tuple[int, ...], n: int, short: bool) -> None:
    spec = TensorSpec("x", (1, *shape))
    array = np.random.default_rng(0).standard_normal((n, *shape) if short else (n, 1, *shape)).astype("float32")
    stacked = stack_samples(spec, array, what="data")
    assert stacked.shape == (n, 1, *shape)
    assert stacked.flags.c_contiguous
    np.testing.assert_array_equal(stacked.ravel(), array.ravel())


@given(SHAPES, SHAPES)
def test_any_other_shape_is_refused(shape: tuple[int, ...], given_: tuple[int, ...]) -> None:
    spec = TensorSpec("x", shape)
    fits = given_[1:] == shape if given_ else False
    fits_short = bool(given_) and shape[:1] == (1,) and given_[1:] == shape[1:]
    if fits or fits_short:
        assert stack_samples(spec, np.ones(given_), what="data").shape == (given_[0], *shape)
    else:
        with pytest.raises(DataError, match="The data has shape"):
            stack_samples(spec, np.ones(given_), what="data")


@pytest.mark.parametrize(
    ("dtype", "array", "says"),
    [
        ("float32", np.full((3, 2), np.nan), "NaN"),
        ("float32", np.array([[1.0, 1.0], [1e300, 0.0]]), "infinite as float32.*sample 1"),
        ("float16", np.array([[1e5, 0.0]], "float32"), "infinite as float16"),
        ("int8", np.array([[1, 300]]), "beyond the range of int8.*sample 0"),
        ("int32", np.array([[1, 2], [1, 2**40]]), "beyond the range of int32.*sample 1"),
        ("int8", np.array([[200, 1]], "uint8"), "beyond the range"),
        ("int32", np.ones((1, 2)), "float64.*takes int32"),
        ("uint8", np.ones((1, 2), "int8"), "int8.*takes uint8"),
        ("float32", np.ones((1, 2), complex), "complex128"),
        ("float32", np.array([["a", "b"]]), "takes float32"),
        ("float32", np.array([[None, 1]], dtype=object), "object"),
        ("float32", np.ones((0, 2)), "no samples"),
    ],
)
def test_what_would_not_survive_the_cast_is_refused(dtype: str, array: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        stack_samples(TensorSpec("x", (2,), dtype), array, what="data")


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1))
def test_integers_arrive_unchanged(values: list[int]) -> None:
    stacked = stack_samples(TensorSpec("x", (), "int32"), np.array(values, "int64"), what="data")
    assert stacked.dtype == np.int32
    assert stacked.tolist() == values


def test_names_and_counts_must_agree() -> None:
    specs = [TensorSpec("a", (1,)), TensorSpec("b", (1,))]
    with pytest.raises(DataError, match="holds a, c, but the model's inputs are a, b"):
        stack_all(specs, {"a": np.ones((2, 1)), "c": np.ones((2, 1))}, what="data")
    with pytest.raises(DataError, match="holds nothing"):
        stack_all(specs, {}, what="data")
    with pytest.raises(DataError, match="a: 2, b: 3"):
        stack_all(specs, {"a": np.ones((2, 1)), "b": np.ones((3, 1))}, what="data")


def test_one_array_is_meant_for_the_one_input() -> None:
    assert list(stack_all([TensorSpec("image", (1, 2))], {"arr_0": np.ones((3, 2))}, what="data")) == ["image"]


@pytest.mark.parametrize("dtype", ["complex64", "float", "", "f4"])
def test_unknown_dtypes_name_the_known_ones(dtype: str) -> None:
    with pytest.raises(DataError, match=DTYPES[0]):
        TensorSpec("x", (1,), dtype)


@pytest.mark.parametrize("size", [0, -1])
def test_every_axis_has_a_size(size: int) -> None:
    with pytest.raises(DataError, match="Every axis"):
        TensorSpec("x", (1, size))


def test_descriptions() -> None:
    assert TensorSpec("x", (1, 28, 28), "int8").describe() == "int8[1, 28, 28]"


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "../a", "a b", "a\0", "a\nb", "$(x)", "_x", "-rf", "é", "a" * 129]
)
def test_names_that_are_no_folder(name: str) -> None:
    assert not is_model_name(name)


@pytest.mark.parametrize("name", ["digits_cnn", "v2.1-small", "A"])
def test_names_that_are(name: str) -> None:
    assert is_model_name(name)
