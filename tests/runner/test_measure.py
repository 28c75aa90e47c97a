"""Warm-up, stop rules and the median's interval."""

from __future__ import annotations

import math
import random
import statistics
import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgekit.runner.measure import is_steady, median, median_half_width, sample, warm_up


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_median(values: list[int]) -> None:
    assert median(sorted(values)) == statistics.median(values)


def test_the_interval_covers_the_true_median_as_often_as_it_says() -> None:
    """95 % by construction; a skewed distribution with a known median, seeded."""
    rng = np.random.default_rng(7)
    true, covered, runs = math.exp(0.0), 0, 2000
    for _ in range(runs):
        samples = rng.lognormal(0.0, 0.1, 101)
        width = median_half_width(samples.tolist()) * np.median(samples)
        covered += abs(np.median(samples) - true) <= width
    assert 0.94 <= covered / runs <= 0.995


def test_no_interval_below_six_samples() -> None:
    assert math.isinf(median_half_width([1, 2, 3, 4, 5]))


def test_steady_means_the_same_median_and_no_slope() -> None:
    rng = random.Random(1)
    flat = [1000 + rng.randint(-5, 5) for _ in range(40)]
    assert is_steady(flat, flat[::-1])
    assert not is_steady(flat, [round(value * 1.05) for value in flat])
    assert not is_steady(flat, [980 + i for i in range(40)]), "same median, but a slope of 2 % between the halves"


def test_warm_up_waits_for_a_model_that_speeds_up() -> None:
    calls = [0]

    def invoke() -> None:
        calls[0] += 1
        time.sleep(0.004 if calls[0] < 30 else 0.001)

    samples, steady = warm_up(invoke, 5 * 10**9, lambda: None)
    assert len(samples) == calls[0] > 30
    if steady:  # a shared machine may never settle; then it must not claim to
        assert statistics.median(samples[-20:]) < 3e6


def test_warm_up_is_bounded() -> None:
    calls = [0]

    def slower_and_slower() -> None:
        calls[0] += 1
        time.sleep(0.0005 * 1.05 ** min(calls[0], 100))

    began = time.monotonic()
    _, steady = warm_up(slower_and_slower, 300_000_000, lambda: None)
    assert not steady
    assert time.monotonic() - began < 2


def test_stop_rules() -> None:
    samples, stop, width = sample(lambda: time.sleep(0.001), 50, 0, 10**10, lambda: None)
    assert len(samples) >= 50
    assert (stop == "precise") == (width is not None and width <= 0.02)
    jumps = iter(range(10**6))
    samples, stop, _ = sample(lambda: time.sleep(next(jumps) % 7 / 1000), 50, 0, 500_000_000, lambda: None)
    assert stop == "time-limit"
