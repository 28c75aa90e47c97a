"""Summaries: both ways agree, each says what its name says, and what is not of the kind is refused."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.telemetry.reporter.reference import Tensor
from edgekit.telemetry.reporter.summaries import KINDS, SUMMARIES, defaults, rows_of, scalars, signs, summarise

TENSORS = {
    "NHWC": (Tensor("x", "input", "image", -1, 0.0, 255.0), (2, 7, 5, 3)),
    "NCHW": (Tensor("x", "input", "image", -3, 0.0, 255.0), (2, 3, 7, 5)),
    "HW": (Tensor("x", "input", "image", None, 0.0, 255.0), (1, 6, 9)),
    "audio": (Tensor("x", "input", "audio", high=200.0), (2, 300)),
    "tokens": (Tensor("x", "input", "tokens"), (3, 20)),
    "embedding": (Tensor("x", "output", "embedding"), (2, 300)),
    "probabilities": (Tensor("x", "output", "scores", low=0.0, high=1.0), (4, 10)),
    "logits": (Tensor("x", "output", "scores"), (10,)),
    "array": (Tensor("x", "output", "array"), (2, 3, 4, 5)),
    "row": (Tensor("x", "input", "row"), (5, 4)),
}


def both(tensor: Tensor, value: Any, shape: tuple[int, ...]) -> list[list[Any]]:
    """The summaries by the standard library, after a look whether NumPy gives the same."""
    names = [name for name, _ in defaults(tensor, shape)]
    plain = summarise(tensor, names, value)
    fast = summarise(tensor, names, np.asarray(value), numpy=np)
    for a, b in zip(plain, fast, strict=True):
        known = [i for i, x in enumerate(a) if x is not None]
        assert [a[i] for i in known] == pytest.approx([b[i] for i in known], rel=1e-6, abs=1e-6, nan_ok=True)
        assert [type(x) for x in a] == [type(x) for x in b]
    return plain


@pytest.mark.parametrize("name", TENSORS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), integers=st.booleans())
def test_both_ways_agree(name: str, seed: int, integers: bool) -> None:
    tensor, shape = TENSORS[name]
    value = np.random.default_rng(seed).uniform(0, 255, shape)
    value = value.astype(np.uint8) if integers else value.astype(np.float32)
    rows = both(tensor, value.tolist(), shape)
    assert 1 <= len(rows[0]) <= 16
    assert both(tensor, value, shape) == rows


@pytest.mark.parametrize("name", [name for name in TENSORS if name != "row"])
@pytest.mark.parametrize("constant", [0.0, 0.3, 1e-3, 255.0])
def test_a_constant_gives_the_very_same_numbers_both_ways(name: str, constant: float) -> None:
    tensor, shape = TENSORS[name]
    value = np.full(shape, constant)
    names = [name for name, _ in defaults(tensor, shape) if not name.startswith("projection")]
    assert str(summarise(tensor, names, value.tolist())) == str(summarise(tensor, names, value, numpy=np))


@pytest.mark.parametrize("name", [name for name in TENSORS if name != "row"])
def test_nan_is_missing_and_nothing_raises(name: str) -> None:
    tensor, shape = TENSORS[name]
    value = np.ones(shape)
    value[..., 0] = math.nan
    first = both(tensor, value.tolist(), shape)[0]
    assert any(result is None or (isinstance(result, float) and math.isnan(result)) for result in first)


def test_what_the_names_say() -> None:
    image = np.zeros((1, 2, 4, 3))
    image[..., 0] = 255
    names = [name for name, _ in defaults(TENSORS["NHWC"][0], image.shape)]
    values = dict(zip(names, both(TENSORS["NHWC"][0], image.tolist(), image.shape)[0], strict=True))
    assert values["mean"] == 85
    assert values["channel:0"] == 255
    assert values["channel:1"] == 0
    assert values["high"] == pytest.approx(1 / 3)
    assert values["low"] == pytest.approx(2 / 3)
    assert values["sharpness"] == 0
    assert values["entropy"] == pytest.approx(-(math.log2(1 / 3) + 2 * math.log2(2 / 3)) / 3)
    assert summarise(TENSORS["logits"][0], ["class", "margin"], [1.0, 3.0, 3.0]) == [[1, 0.0]]
    assert summarise(TENSORS["probabilities"][0], ["class", "confidence", "margin"], [[0.25, 0.75]]) == [[1, 0.75, 0.5]]
    assert summarise(TENSORS["tokens"][0], ["length", "distinct", "max"], [5, 0, 5, 9, 0, 0]) == [[4.0, 0.75, 9.0]]
    assert summarise(TENSORS["audio"][0], ["zero_crossings", "high"], [1, -250, 1, 1]) == [[struct_round(2 / 3), 0.25]]


def struct_round(value: float) -> float:
    """Single precision, by other means than the module's."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def test_blur_lowers_sharpness_and_noise_raises_it() -> None:
    tensor = TENSORS["HW"][0]
    rng = np.random.default_rng(3)
    image = rng.uniform(0, 255, (16, 16)).cumsum(0) % 256
    blurred = (image + np.roll(image, 1, 0) + np.roll(image, 1, 1)) / 3
    noisy = image + rng.normal(0, 80, image.shape)
    sharp = [summarise(tensor, ["sharpness"], each, numpy=np)[0][0] for each in (blurred, image, noisy)]
    assert sharp == sorted(sharp)


def test_projections_are_fixed_for_ever() -> None:
    assert signs(0, 12) == [-1, 1, -1, -1, -1, 1, -1, -1, -1, -1, -1, 1]
    assert signs(0, 600)[:12] == signs(0, 12)
    assert signs(1, 600) != signs(0, 600)
    assert abs(sum(signs(0, 10_000))) < 300


def test_scalars_and_rows_of_anything() -> None:
    assert scalars([[1, "a"], (None, 2.5)]) == [1, "a", None, 2.5]
    assert scalars(np.float32(2.5)) == [2.5]
    assert scalars(b"ab") == [b"ab"]
    assert rows_of([1, 2], 1) == [[1, 2]]
    assert rows_of([[[1, 2]], [[3, 4]]], 1) == [[1, 2], [3, 4]]
    assert rows_of([np.array([1, 2]), np.array([3, 4])], 1) == [[1, 2], [3, 4]]
    assert rows_of(memoryview(b"\1\2"), 1) == rows_of(b"\1\2", 1) == [[1, 2]]
    with pytest.raises(ValueError, match="1 axes, where a sample has 2"):
        rows_of([1, 2], 2)


def test_what_is_not_of_the_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="there are number"):
        defaults(Tensor("x", "input", "smell"), (1,))
    for name in ("__init__", "values", "class", "nothing"):
        with pytest.raises(ValueError, match="no summary"):
            summarise(TENSORS["NHWC"][0], [name], np.zeros((4, 4, 3)), numpy=np)
    with pytest.raises(ValueError, match="axes"):
        summarise(TENSORS["NHWC"][0], ["mean"], [1.0, 2.0])
    assert set(KINDS) == set(SUMMARIES)
