"""Warm-up, samples and their stop rules, with an invoke whose latency is known."""

from __future__ import annotations

import gc
import math
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.runner import measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MS = 1_000_000


class Clock:
    """A clock that only invoke moves: by the next of `latencies`, the last of them for ever."""

    def __init__(self, latencies: Iterator[int]) -> None:
        self.now = 0
        self._latencies = latencies

    def invoke(self) -> None:
        self.now += next(self._latencies)

    def perf_counter_ns(self) -> int:
        return self.now


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[int]], Clock]:
    def make(latencies: Iterator[int]) -> Clock:
        clock = Clock(latencies)
        monkeypatch.setattr(measure, "time", clock)
        return clock

    return make


def forever(first: list[int], then: Callable[[int], int]) -> Iterator[int]:
    yield from first
    k = 0
    while True:
        yield then(k)
        k += 1


def nothing() -> None:
    pass


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_median(values: list[int]) -> None:
    assert measure.median(sorted(values)) == statistics.median(values)


@pytest.mark.parametrize("n", [6, 7, 10, 11, 30, 31, 100, 1000])
def test_the_interval_covers_the_median_as_often_as_it_says(n: int) -> None:
    """Over order statistics, the chance that ranks low..high enclose the median is a sum of binomials."""
    middle = (n + 1) / 2
    reach = measure.median_half_width(list(range(1, n + 1))) * middle
    low, high = math.ceil(middle - reach - 1e-6), math.floor(middle + reach + 1e-6)
    covered = sum(math.comb(n, k) for k in range(low, high)) / 2**n
    assert covered >= 0.945
    if n >= 30:
        assert covered <= 0.985, "nor is it wider than need be"


def test_the_interval_covers_the_median_of_skewed_latencies() -> None:
    random = np.random.default_rng(7)
    true_median = math.exp(0.0)
    hits = 0
    for _ in range(1000):
        samples = random.lognormal(0.0, 1.0, 60)
        width = measure.median_half_width(list(samples))
        middle = float(np.median(samples))
        hits += abs(true_median - middle) <= width * middle
    assert hits >= 940


def test_no_interval_below_six_samples() -> None:
    assert measure.median_half_width([1, 1, 1, 1, 1]) == math.inf
    assert measure.median_half_width([1] * 6) == 0.0
    assert measure.median_half_width([0] * 6) == math.inf


@pytest.mark.parametrize(
    ("before", "window", "steady"),
    [
        ([100] * 20, [100] * 20, True),
        ([100] * 20, [101] * 20, True),
        ([100] * 20, [104] * 20, False),
        ([104] * 20, [100] * 20, False),
        ([100] * 20, [98] * 10 + [102] * 10, False),
        ([100] * 20, [100, 500] + [100] * 18, True),
    ],
    ids=["equal", "close", "slower", "faster", "slope", "one outlier"],
)
def test_is_steady(before: list[int], window: list[int], *, steady: bool) -> None:
    assert measure.is_steady(before, window) is steady


def test_warm_up_ends_once_latencies_settle(clocked: Callable[[Iterator[int]], Clock]) -> None:
    falling = [10 * MS - k * MS // 10 for k in range(80)]
    clock = clocked(forever(falling, lambda _: 2 * MS))
    samples, steady = measure.warm_up(clock.invoke, 10_000 * MS, nothing)
    assert steady
    assert samples[:80] == falling, "every sample is kept"
    assert samples[-20:] == [2 * MS] * 20


def test_warm_up_gives_up_on_a_device_that_slows_down_for_ever(clocked: Callable[[Iterator[int]], Clock]) -> None:
    clock = clocked(forever([], lambda k: 10 * MS + k * MS // 10))
    _, steady = measure.warm_up(clock.invoke, 2000 * MS, nothing)
    assert not steady
    assert 2000 * MS <= clock.now <= 2100 * MS


def test_sampling_stops_when_precise(clocked: Callable[[Iterator[int]], Clock]) -> None:
    clock = clocked(forever([], lambda k: MS + k % 2))
    samples, stop, width = measure.sample(clock.invoke, 30, 100 * MS, 10_000 * MS, nothing)
    assert stop == "precise"
    assert width is not None
    assert width <= measure.AGREE
    assert sum(samples) >= 100 * MS, "min_ns"
    assert len(samples) <= 101


def test_min_samples_hold_even_for_a_constant_latency(clocked: Callable[[Iterator[int]], Clock]) -> None:
    clock = clocked(forever([], lambda _: 100 * MS))
    samples, stop, _ = measure.sample(clock.invoke, 50, 0, 10_000 * MS, nothing)
    assert (len(samples), stop) == (50, "precise")


def test_sampling_stops_at_the_limit(clocked: Callable[[Iterator[int]], Clock]) -> None:
    random = np.random.default_rng(1)
    clock = clocked(forever([], lambda _: int(random.choice([1, 3])) * MS))
    samples, stop, width = measure.sample(clock.invoke, 30, 0, 500 * MS, nothing)
    assert stop == "time-limit"
    assert width is not None
    assert width > measure.AGREE
    assert 500 * MS <= sum(samples) < 504 * MS


def test_a_model_slower_than_the_limit_still_gives_two_samples(clocked: Callable[[Iterator[int]], Clock]) -> None:
    clock = clocked(forever([], lambda _: 10_000 * MS))
    samples, stop, width = measure.sample(clock.invoke, 30, 0, MS, nothing)
    assert (len(samples), stop, width) == (2, "time-limit", None)


def test_the_collector_is_off_while_sampling_and_on_again_after_a_failure() -> None:
    seen = []

    def invoke() -> None:
        seen.append(gc.isenabled())
        if len(seen) == 5:
            raise RuntimeError("gone")

    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="gone"):
        measure.sample(invoke, 30, 0, MS, nothing)
    assert seen == [False] * 5
    assert gc.isenabled()


def test_timed_measures_invoke_alone() -> None:
    samples = measure.timed(lambda: time.sleep(0.005), 5)
    assert all(sample >= 5 * MS for sample in samples)
    assert min(samples) < 8 * MS
