"""Slices, crops, bands and padding, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from tests.convert.mil.programs import evaluate, floats, whole

pytestmark = pytest.mark.slow

X = floats(5, 6, 7)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"begin": [1, 0, 2], "end": [4, 6, 7]}, X[1:4, :, 2:]),
        ({"begin": [0, 1, 0], "end": [5, 6, 7], "stride": [2, 2, 3]}, X[::2, 1:6:2, ::3]),
        ({"begin": [-3, 0, 0], "end": [-1, 6, 7]}, X[-3:-1]),
        ({"begin": [4, 0, 6], "end": [0, 6, 2], "stride": [-1, 1, -2]}, X[4:0:-1, :, 6:2:-2]),
        ({"begin": [4, 5, 0], "end": [0, 0, 0], "stride": [-1, -1, 1], "begin_mask": [True, False, True],
          "end_mask": [True, True, True]}, X[::-1, 5::-1]),
        ({"begin": [2, 0, -1], "end": [0, 6, 0], "end_mask": [False, True, False],
          "squeeze_mask": [True, False, True]}, X[2, :, -1]),
        ({"begin": [0, 0, 0], "end": [99, 99, 99]}, X),
    ],
)  # fmt: skip
def test_slice_by_index(options: dict[str, Any], expected: np.ndarray) -> None:
    (found,) = evaluate(lambda x: mb.slice_by_index(x=x, **options), X)
    np.testing.assert_array_equal(found, expected)


def test_slice_down_to_one_number() -> None:
    x = whole(4)
    (found,) = evaluate(lambda x: mb.slice_by_index(x=x, begin=[2], end=[3], squeeze_mask=[True]), x)
    np.testing.assert_array_equal(found, x[2])


def test_slice_by_size() -> None:
    (found,) = evaluate(lambda x: mb.slice_by_size(x=x, begin=[1, 2, 0], size=[2, -1, 3]), X)
    np.testing.assert_array_equal(found, X[1:3, 2:, :3])


def test_slice_update() -> None:
    update = floats(3, 3, 7, seed=1)
    (found,) = evaluate(
        lambda x, u: mb.slice_update(x=x, update=u, begin=[1, 0, 0], end=[4, 6, 7], stride=[1, 2, 1]),
        X, update, opset="iOS18",
    )  # fmt: skip
    expected = X.copy()
    expected[1:4, ::2] = update
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("lower", "upper"), [(-1, 0), (0, -1), (1, 2), (-1, -1), (0, 0)])
def test_band_part(lower: int, upper: int) -> None:
    (found,) = evaluate(lambda x: mb.band_part(x=x, lower=lower, upper=upper), X)
    rows, columns = np.mgrid[:6, :7]
    keep = ((lower < 0) | (rows - columns <= lower)) & ((upper < 0) | (columns - rows <= upper))
    np.testing.assert_array_equal(found, X * keep)


def test_crop() -> None:
    (found,) = evaluate(lambda x: mb.crop(x=x, crop_height=[1, 2], crop_width=[0, 3]), X)
    np.testing.assert_array_equal(found, X[:, 1:-2, :-3])


@pytest.mark.parametrize("pad", [[1, 2], [1, 0, 2, 3], [2, 1, 0, 0, 1, 2]], ids=str)
@pytest.mark.parametrize(("mode", "numpys"), [("constant", "constant"), ("reflect", "reflect"), ("replicate", "edge")])
def test_pad(mode: str, numpys: str, pad: list[int]) -> None:
    more = {"constant_val": 1.5} if mode == "constant" else {}
    (found,) = evaluate(lambda x: mb.pad(x=x, pad=pad, mode=mode, **more), X)
    pairs = [(0, 0)] * (3 - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))
    options: dict[str, Any] = {"constant_values": 1.5} if mode == "constant" else {}
    np.testing.assert_array_equal(found, np.pad(X, pairs, numpys, **options))
