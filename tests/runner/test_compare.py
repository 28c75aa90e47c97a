"""What "the same answer" means."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.runner.compare import at_least, compare


@pytest.mark.parametrize("snr_db", [0.0, 20.0, 60.0, 120.0])
def test_a_known_snr(snr_db: float) -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((50, 1, 100))
    noise = rng.standard_normal(reference.shape)
    noise *= np.sqrt(np.sum(reference**2) / np.sum(noise**2)) * 10 ** (-snr_db / 20)
    result = compare(reference, reference + noise)
    assert result["snr_db"] == pytest.approx(snr_db, abs=1e-6)
    assert result["max_abs_error"] == pytest.approx(np.abs(noise).max())
    assert at_least(result, snr_db - 0.1)
    assert not at_least(result, snr_db + 0.1)


def test_equal_to_the_bit() -> None:
    result = compare(np.ones((3, 4)), np.ones((3, 4)))
    assert result["exact"]
    assert result["snr_db"] is None
    assert at_least(result, 1000)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_never_good_enough(bad: float) -> None:
    candidate = np.ones((3, 4))
    candidate[1, 1] = bad
    result = compare(np.ones((3, 4)), candidate)
    assert not result["finite"]
    assert not at_least(result, -1000)


def test_zeros_against_something_is_no_match() -> None:
    assert not at_least(compare(np.zeros((2, 3)), np.ones((2, 3))), 0)


def test_top1_agreement() -> None:
    reference = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert compare(reference, reference[:, ::-1])["top1_agreement"] == 0
    assert compare(reference, np.array([[0.0, 1.0], [0.0, 1.0]]))["top1_agreement"] == 0.5
    assert compare(np.ones((4, 1)), np.ones((4, 1)))["top1_agreement"] is None


def test_other_shapes_are_an_error() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        compare(np.ones((2, 3)), np.ones((3, 2)))
