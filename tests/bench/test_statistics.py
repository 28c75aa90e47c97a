"""What may be said of n latencies, and what may not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgekit.bench.statistics import percentile, summarise

SAMPLES = st.lists(st.integers(1, 10**10), min_size=1, max_size=1500)


@pytest.mark.parametrize(("p", "value_from", "bound_from"), [(0.5, 20, 5), (0.9, 100, 29), (0.99, 1000, 299)])
def test_how_many_samples_each_percentile_needs(p: float, value_from: int, bound_from: int) -> None:
    assert percentile(range(value_from), p).value_ns is not None
    assert percentile(range(value_from), p).because is None
    short = percentile(range(value_from - 1), p)
    assert short.value_ns is None
    assert short.bound_ns == value_from - 2
    assert f"needs {value_from}" in short.because
    assert percentile(range(bound_from), p).bound_ns == bound_from - 1
    silent = percentile(range(bound_from - 1), p)
    assert (silent.value_ns, silent.bound_ns) == (None, None)
    assert silent.because


@given(st.integers(0, 2**32), st.integers(1, 3000), st.sampled_from([0.5, 0.9, 0.99]))
@example(seed=0, n=20, p=0.5)
@example(seed=0, n=101, p=0.9)
@example(seed=0, n=1000, p=0.99)
def test_values_are_numpys(seed: int, n: int, p: float) -> None:
    samples = np.random.default_rng(seed).integers(1, 10**10, n)
    found = percentile(sorted(samples.tolist()), p)
    if found.value_ns is not None:
        assert found.value_ns == pytest.approx(float(np.quantile(samples, p)), rel=1e-12)


@given(SAMPLES)
def test_a_summary_is_in_order_and_does_not_depend_on_the_samples_order(samples: list[int]) -> None:
    summary = summarise(samples)
    assert summary == summarise(samples[::-1])
    assert summary.n == len(samples)
    known = [summary.min_ns, *(q.value_ns for q in (summary.p50, summary.p90, summary.p99)), summary.max_ns]
    known = [value for value in known if value is not None]
    assert known == sorted(known)
    assert summary.mad_ns == pytest.approx(float(np.median(np.abs(np.array(samples) - np.median(samples)))))


def test_the_bound_holds_as_often_as_it_says() -> None:
    """The largest of 29 samples lies above the true p90 in at least 95 of 100 cases."""
    largest = np.random.default_rng(3).exponential(size=(20_000, 29)).max(axis=1)
    assert np.mean(largest >= -np.log(0.1)) >= 0.95


def test_nothing_is_said_of_nothing() -> None:
    summary = summarise([])
    assert (summary.n, summary.min_ns, summary.max_ns, summary.mad_ns) == (0, None, None, None)
    assert summary.p50.because == "0 samples, of which p50 needs 20"
