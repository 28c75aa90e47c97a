"""What "the same answer" means."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.runner.compare import at_least, compare

REFERENCE = np.random.default_rng(0).standard_normal((50, 1, 10)).astype("float32")


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 6.0, 40.0, 100.0])
def test_a_known_noise_gives_its_snr(snr_db: float) -> None:
    reference = REFERENCE.astype("float64")
    noise = np.random.default_rng(1).standard_normal(reference.shape)
    noise *= np.sqrt(np.sum(reference**2) / np.sum(noise**2)) * 10 ** (-snr_db / 20)
    result = compare(reference, reference + noise)
    assert result["snr_db"] == pytest.approx(snr_db, abs=1e-6)
    assert at_least(result, snr_db - 0.01)
    assert not at_least(result, snr_db + 0.01)
    assert result["max_abs_error"] == pytest.approx(np.abs(noise).max())


def test_equal_to_the_bit() -> None:
    result = compare(REFERENCE, REFERENCE.copy())
    assert result == {
        "samples": 50, "finite": True, "exact": True, "snr_db": None, "max_abs_error": 0.0,
        "cosine": pytest.approx(1.0), "top1_agreement": 1.0,
    }  # fmt: skip
    assert at_least(result, 1000.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_element_that_is_no_number_fails_everything(value: float) -> None:
    candidate = REFERENCE.copy()
    candidate[3, 0, 4] = value
    result = compare(REFERENCE, candidate)
    assert result["finite"] is False
    assert result["snr_db"] is None
    assert not at_least(result, -1000.0)
    assert not at_least(compare(candidate, candidate), -1000.0), "not even against itself"


def test_a_silent_reference() -> None:
    silent = np.zeros((2, 3))
    assert at_least(compare(silent, silent), 60.0)
    assert not at_least(compare(silent, silent + 1e-9), -100.0), "there is no signal to compare with"


def test_silence_in_place_of_an_answer_is_0_db() -> None:
    result = compare(REFERENCE, np.zeros_like(REFERENCE))
    assert result["snr_db"] == pytest.approx(0.0)
    assert result["cosine"] is None


def test_top1_counts_samples_over_the_last_axis() -> None:
    reference = np.eye(4)[:, None]
    candidate = reference.copy()
    candidate[0] = np.roll(candidate[0], 1, axis=-1)
    assert compare(reference, candidate)["top1_agreement"] == 0.75
    assert compare(reference[..., :1], candidate[..., :1])["top1_agreement"] is None


def test_another_shape_is_no_answer() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        compare(REFERENCE, REFERENCE[:, 0])


FLOATS = arrays.arrays(np.float32, (3, 4), elements=st.floats(width=32, allow_nan=True, allow_infinity=True))


@given(FLOATS, FLOATS)
def test_the_result_is_always_json(reference: np.ndarray, candidate: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        result = compare(reference, candidate)
    json.dumps(result, allow_nan=False)
    assert not (result["snr_db"] is not None and result["exact"])
