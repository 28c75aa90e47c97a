"""Percentiles where n supports them, bounds where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.bench import summarise
from edgekit.bench.statistics import percentile


@given(st.lists(st.integers(1, 10**10), min_size=20, max_size=200))
def test_the_median_is_numpys(samples: list[int]) -> None:
    assert summarise(samples).p50.value_ns == pytest.approx(np.quantile(samples, 0.5))


@pytest.mark.parametrize(("p", "needed", "bounded"), [(0.5, 20, 5), (0.9, 100, 29), (0.99, 1000, 299)])
def test_what_n_supports(p: float, needed: int, bounded: int) -> None:
    ramp = [float(i) for i in range(1, needed + 1)]
    assert percentile(ramp, p).value_ns == pytest.approx(np.quantile(ramp, p))
    fewer = percentile(ramp[:-1], p)
    assert (fewer.value_ns, fewer.bound_ns) == (None, float(needed - 1))
    assert str(needed) in (fewer.because or "")
    assert percentile(ramp[:bounded], p).bound_ns == bounded
    assert percentile(ramp[: bounded - 1], p).bound_ns is None


def test_the_bound_holds_as_often_as_it_says() -> None:
    """The largest of 299 samples lies above the true p99 in 95 % of cases."""
    rng = np.random.default_rng(3)
    above = np.mean(rng.uniform(size=(4000, 299)).max(axis=1) >= 0.99)
    assert 0.94 <= above <= 0.96


def test_the_median_absolute_deviation() -> None:
    assert summarise([1, 1, 2, 2, 4, 6, 9]).mad_ns == 1


def test_nothing_measured_is_null_and_says_so() -> None:
    summary = summarise([])
    assert (summary.n, summary.min_ns, summary.mad_ns, summary.p50.value_ns) == (0, None, None, None)
    assert summary.p50.because
