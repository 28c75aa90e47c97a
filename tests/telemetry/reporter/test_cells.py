"""How cells are cut, and that counting by edges is counting by values."""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.telemetry.reporter.cells import LATENCY_EDGES_NS, count_sorted, edges_of, next_after
from edgekit.telemetry.reporter.reference import MAX_CELLS
from tests.telemetry.strategies import finite


@given(finite)
def test_next_after_is_the_next_double(value: float) -> None:
    assert next_after(value) == math.nextafter(value, math.inf)


@given(st.lists(finite, min_size=1, max_size=400))
def test_edges_increase_and_hold_everything_between_the_outer_cells(values: list[float]) -> None:
    ordered = sorted(values)
    edges = edges_of(ordered)
    assert all(a < b for a, b in itertools.pairwise(edges))
    assert len(edges) < MAX_CELLS
    counts = count_sorted(ordered, edges)
    assert counts[0] == 0
    assert counts[-1] == 0 or ordered[-1] == max(edges)  # the largest double has none above it


@given(st.lists(st.floats(allow_nan=False), max_size=200), st.lists(finite, max_size=30, unique=True))
def test_counting_sorted_values_equals_counting_them_one_by_one(values: list[float], edges: list[float]) -> None:
    edges = sorted(edges)
    expected = [0] * (len(edges) + 1)
    for value in values:
        expected[bisect_right(edges, value)] += 1
    assert count_sorted(sorted(values), edges) == expected
    with_numpy = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    assert count_sorted(sorted(values), edges) == with_numpy.tolist()


def test_continuous_data_has_136_cells_of_no_more_than_a_128th() -> None:
    draw = random.Random(3)
    ordered = sorted(draw.gauss(0, 1) for _ in range(20_000))
    counts = count_sorted(ordered, edges_of(ordered))
    assert len(counts) == 136
    assert max(counts) <= 20_000 / 128 + 1


@pytest.mark.parametrize("share", [0.02, 0.3, 0.97])
def test_an_atom_has_a_cell_of_its_own(share: float) -> None:
    draw = random.Random(5)
    ordered = sorted(0.0 if draw.random() < share else draw.gauss(0, 1) for _ in range(10_000))
    edges = edges_of(ordered)
    assert {0.0, 5e-324} <= set(edges)
    assert count_sorted(ordered, edges)[bisect_right(edges, 0.0)] == ordered.count(0.0)


def test_latency_cells_are_twelve_percent_wide() -> None:
    ratios = [b / a for a, b in itertools.pairwise(LATENCY_EDGES_NS)]
    assert LATENCY_EDGES_NS[0] == 10_000
    assert LATENCY_EDGES_NS[-1] == 1e11
    assert 1.11 < min(ratios) <= max(ratios) < 1.13
