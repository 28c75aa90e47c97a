"""The sum of the parts is the whole."""

from __future__ import annotations

import math
from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.telemetry.reporter.window import FeatureCounts, Window, merge_moments
from tests.telemetry.strategies import counts, finite, windows

EDGES = (-1.0, 0.0, 5e-324, 10.0)
values = st.lists(st.one_of(st.floats(-100, 100), st.sampled_from([math.nan, math.inf, -math.inf, 0.0])), max_size=60)


def count(seen: list[float]) -> FeatureCounts:
    cells = [0] * (len(EDGES) + 1)
    numbers = [value for value in seen if not math.isnan(value)]
    for value in numbers:
        cells[bisect_right(EDGES, value)] += 1
    finite = [value for value in numbers if math.isfinite(value)]
    mean = math.fsum(finite) / len(finite) if finite else 0.0
    return FeatureCounts(
        tuple(cells),
        len(seen) - len(numbers),
        numbers.count(math.inf),
        numbers.count(-math.inf),
        sum(not -50 <= value <= 50 for value in numbers),
        min(finite, default=math.inf),
        max(finite, default=-math.inf),
        mean,
        math.fsum((value - mean) ** 2 for value in finite),
    )


@given(st.lists(values, min_size=1, max_size=6))
def test_the_sum_of_the_parts_is_the_whole(parts: list[list[float]]) -> None:
    merged = FeatureCounts.empty(len(EDGES) + 1)
    for part in parts:
        merged = merged.merge(count(part))
    whole = count([value for part in parts for value in part])
    assert merged[:7] == whole[:7]
    assert merged.mean == pytest.approx(whole.mean, abs=1e-9)
    assert merged.m2 == pytest.approx(whole.m2, rel=1e-9, abs=1e-6)
    assert merged.finite == whole.finite


@given(counts(5), counts(5), counts(5))
def test_counts_merge_in_any_order(a: FeatureCounts, b: FeatureCounts, c: FeatureCounts) -> None:
    assert a.merge(b).merge(c)[:7] == c.merge(a.merge(b))[:7] == b.merge(c).merge(a)[:7]
    assert a.merge(FeatureCounts.empty(5)) == a == FeatureCounts.empty(5).merge(a)


@given(st.integers(0, 9), finite, st.integers(0, 9), finite)
def test_moments_are_never_nan(n_a: int, a: float, n_b: int, b: float) -> None:
    mean, m2 = merge_moments((n_a, a if n_a else 0.0, 0.0), (n_b, b if n_b else 0.0, 0.0))
    assert math.isfinite(mean)
    assert m2 >= 0


def test_different_cells_do_not_merge() -> None:
    with pytest.raises(ValueError, match="5 cells cannot be merged with 4"):
        FeatureCounts.empty(5).merge(FeatureCounts.empty(4))


@given(windows(), st.integers(0, 9), st.integers(0, 9))
def test_windows_merge_under_the_later_name(window: Window, dropped: int, seq: int) -> None:
    later = window._replace(seq=seq, dropped=dropped, start_ns=window.end_ns, end_ns=window.end_ns + 5)
    both = window.merge(later)
    assert both.key == later.key
    assert both.inferences == window.inferences * 2
    assert both.dropped == window.dropped + dropped
    assert both.coalesced == 2 * window.coalesced + 1
    assert both.start_ns == min(window.start_ns, window.end_ns)
    assert [counts.n for counts in both.features] == [2 * counts.n for counts in window.features]
    for other in (later._replace(model="another"), later._replace(labels=(("k", "v"), *window.labels))):
        with pytest.raises(ValueError, match="cannot be merged"):
            window.merge(other)
