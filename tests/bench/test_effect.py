"""The effect's estimates against SciPy's own procedures, and its intervals against the truth."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from scipy import stats

from edgekit.bench.effect import BOOTSTRAP_FROM, MIN_BLOCKS, exceeds, paired, student, unpaired


def noisy(seed: int, n: int, *, ratio: float = 1.0, spread: float = 0.02) -> list[float]:
    draw = random.Random(seed)
    return [1e6 * ratio * math.exp(draw.gauss(0, spread)) for _ in range(n)]


def test_a_paired_effect_is_student_s_one_sample_test_on_log_ratios() -> None:
    a, b = noisy(1, 10), noisy(2, 10, ratio=1.07)
    effect = paired(a, b)
    expected = stats.ttest_1samp(np.log(b) - np.log(a), 0).confidence_interval(0.95)
    found = effect.interval(0.95)
    assert found.method == "student"
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))
    assert found.low < found.ratio < found.high


def test_an_unpaired_effect_is_welch_s() -> None:
    a, b = noisy(3, 7, spread=0.01), noisy(4, 12, ratio=0.9, spread=0.05)
    effect = unpaired(a, b)
    reference = stats.ttest_ind(np.log(b), np.log(a), equal_var=False)
    expected = reference.confidence_interval(0.95)
    found = effect.interval(0.95)
    assert found.method == "welch"
    assert effect.freedom == pytest.approx(reference.df)
    assert (found.low, found.high) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))


def test_many_pairs_are_bootstrapped_and_give_the_same_interval_every_time() -> None:
    a, b = noisy(5, BOOTSTRAP_FROM), noisy(6, BOOTSTRAP_FROM, ratio=1.05)
    first, second = paired(a, b).interval(0.95), paired(a, b).interval(0.95)
    assert first.method == "bca"
    assert first == second
    by_student = paired(a[:19], b[:19]).interval(0.95)
    assert (first.high - first.low) / (by_student.high - by_student.low) == pytest.approx(1, abs=0.35)


def test_pairing_removes_what_both_sides_saw() -> None:
    weather = noisy(7, 10, spread=0.2)
    a = [w * x / 1e6 for w, x in zip(weather, noisy(8, 10, spread=0.005), strict=True)]
    b = [w * x / 1e6 for w, x in zip(weather, noisy(9, 10, ratio=1.05, spread=0.005), strict=True)]
    assert paired(a, b).error < unpaired(a, b).error / 10
    assert paired(a, b).interval(0.95).low > 1.03


def test_blocks_that_agree_to_the_nanosecond_have_an_interval_without_width() -> None:
    found = paired([100.0] * 25, [105.0] * 25).interval(0.95)
    assert found.low == found.ratio == found.high == pytest.approx(1.05)
    same = unpaired([7.0] * 4, [7.0] * 4)
    assert same.interval(0.95).ratio == 1
    assert same.freedom == 6


@pytest.mark.parametrize("n", [8, 24])
def test_95_of_100_intervals_hold_the_truth(n: int) -> None:
    held = sum(
        found.low <= 1.1 <= found.high
        for seed in range(300)
        for found in [paired(noisy(seed, n), noisy(seed + 5000, n, ratio=1.1)).interval(0.95)]
    )
    assert held / 300 == pytest.approx(0.95, abs=0.04)  # three standard errors of 300 draws


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ([1.0] * 2, [1.0] * 2, "too few"),
        ([1.0] * 3, [1.0] * 4, "as many"),
        ([1.0, 2.0, 0.0], [1.0] * 3, "zero or less"),
        ([1.0, 2.0, math.nan], [1.0] * 3, "zero or less"),
    ],
)
def test_what_has_no_effect_is_an_error(a: list[float], b: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        paired(a, b)
    assert MIN_BLOCKS == 3


def test_quantiles_and_tails_are_scipy_s() -> None:
    assert student(0.95, 9) == pytest.approx(stats.t.ppf(0.975, 9))
    assert exceeds(0.03, 0.01, 9) == pytest.approx(stats.t.sf(3, 9))
    assert exceeds(0.03, 0, 9) == 0
    assert exceeds(-0.03, 0, 9) == 1
