"""Operators that move elements, against NumPy and PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from tests.convert.mil.programs import evaluate, floats, whole

if TYPE_CHECKING:
    from collections.abc import Callable

functional = torch.nn.functional
pytestmark = pytest.mark.slow

X = floats(2, 3, 4)
IMAGE = floats(2, 8, 4, 6)

CASES: list[tuple[str, Callable[..., Any], np.ndarray, Callable[..., Any]]] = [
    ("expand_dims", lambda x: mb.expand_dims(x=x, axes=[0, 2, -1]), X, lambda x: x[None, :, None, :, :, None]),
    ("flatten2d", lambda x: mb.flatten2d(x=x, axis=2), X, lambda x: x.reshape(6, 4)),
    ("flatten2d, from the end", lambda x: mb.flatten2d(x=x, axis=-2), X, lambda x: x.reshape(2, 12)),
    ("flatten2d, by default", lambda x: mb.flatten2d(x=x), X, lambda x: x.reshape(2, 12)),
    ("reshape", lambda x: mb.reshape(x=x, shape=[4, -1]), X, lambda x: x.reshape(4, 6)),
    ("reshape that keeps a size", lambda x: mb.reshape(x=x, shape=[0, -1, 2]), X, lambda x: x.reshape(2, 6, 2)),
    ("reshape of integers", lambda x: mb.reshape(x=x, shape=[6]), whole(2, 3), lambda x: x.reshape(6)),
    ("reverse", lambda x: mb.reverse(x=x, axes=[0, -1]), X, lambda x: x[::-1, :, ::-1]),
    ("reverse all", lambda x: mb.reverse(x=x), X, lambda x: x[::-1, ::-1, ::-1]),
    ("shape", lambda x: mb.shape(x=x), X, lambda x: np.array([2, 3, 4], np.int32)),
    ("squeeze", lambda x: mb.squeeze(x=x, axes=[0, -1]), floats(1, 3, 1), lambda x: x[0, :, 0]),
    ("squeeze all", lambda x: mb.squeeze(x=x), floats(1, 3, 1, 2), lambda x: x.reshape(3, 2)),
    ("tile", lambda x: mb.tile(x=x, reps=[2, 1, 3]), X, lambda x: np.tile(x, (2, 1, 3))),
    ("transpose", lambda x: mb.transpose(x=x, perm=[2, 0, -2]), X, lambda x: x.transpose(2, 0, 1)),
    ("sliding_windows", lambda x: mb.sliding_windows(x=x, axis=1, size=3, stride=2), floats(2, 9, 2),
     lambda x: np.stack([x[:, i : i + 3] for i in (0, 2, 4, 6)], 1)),
    ("pixel_shuffle", lambda x: mb.pixel_shuffle(x=x, upscale_factor=2), IMAGE,
     lambda x: functional.pixel_shuffle(torch.from_numpy(x), 2).numpy()),
    ("pixel_unshuffle", lambda x: mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(2)), IMAGE,
     lambda x: functional.pixel_unshuffle(torch.from_numpy(x), 2).numpy()),
]  # fmt: skip


@pytest.mark.parametrize(("build", "x", "reference"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_of_one(build: Callable[..., Any], x: np.ndarray, reference: Callable[..., Any]) -> None:
    (found,) = evaluate(build, x)
    np.testing.assert_array_equal(found, reference(x))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat_and_stack(axis: int) -> None:
    x, y = X, floats(2, 3, 4, seed=1)
    joined, stacked = evaluate(
        lambda x, y: (mb.concat(values=(x, y), axis=axis), mb.stack(values=(x, y), axis=axis)), x, y
    )
    np.testing.assert_array_equal(joined, np.concatenate([x, y], axis))
    np.testing.assert_array_equal(stacked, np.stack([x, y], axis))


def test_concat_of_scalars_is_a_vector() -> None:
    """As programs whose sizes vary put shapes together."""
    (found,) = evaluate(
        lambda x: mb.concat(values=[mb.reduce_sum(x=x, axes=[0, 1, 2], keep_dims=False)] * 2, axis=0), X
    )
    np.testing.assert_allclose(found, [X.sum()] * 2, rtol=1e-5)


def test_concat_interleaved() -> None:
    x, y = X, floats(2, 3, 4, seed=1)
    (found,) = evaluate(lambda x, y: mb.concat(values=(x, y), axis=1, interleave=True), x, y)
    np.testing.assert_array_equal(found, np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1], x[:, 2], y[:, 2]], 1))


def test_split() -> None:
    x = floats(2, 6)
    even = evaluate(lambda x: mb.split(x=x, axis=1, num_splits=3), x)
    uneven = evaluate(lambda x: mb.split(x=x, axis=-1, split_sizes=[1, 3, 2]), x)
    for found, expected in zip([*even, *uneven], [*np.split(x, 3, 1), *np.split(x, [1, 4], 1)], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_reshape_like() -> None:
    x, a, b = floats(60), floats(2, 3, 4), floats(1, 5, 2)
    (found,) = evaluate(
        lambda x, a, b: mb.reshape_like(
            x=x, ref_tensors=(a, b), begins=(0, 1), ends=(2, 0), end_masks=(False, True)
        ),
        x, a, b,
    )  # fmt: skip
    np.testing.assert_array_equal(found, x.reshape(2, 3, 5, 2))
