"""Steps: found where they are, and not where none is, at the rate that was said."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.bench.aa_test import rate
from edgekit.bench.steps import find_steps

NOISES = {
    "normal": lambda draw, n: draw.normal(0, 0.01, n),
    "heavy tails": lambda draw, n: 0.01 * draw.standard_t(3, n),
    "two modes": lambda draw, n: 0.03 * draw.integers(0, 2, n) + draw.normal(0, 0.003, n),
}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("n", [8, 20, 60])
def test_a_quiet_series_has_steps_as_rarely_as_was_said(noise: str, n: int) -> None:
    draw = np.random.default_rng(n)
    found = [bool(find_steps(NOISES[noise](draw, n).tolist(), alpha=0.05)) for _ in range(300)]
    assert rate(found).low <= 0.05  # 95 % confidence that it is no more


@pytest.mark.parametrize("noise", NOISES)
def test_a_step_of_five_deviations_is_found_where_it_is(noise: str) -> None:
    draw = np.random.default_rng(7)
    found = []
    for _ in range(40):
        values = NOISES[noise](draw, 30)
        values[20:] += 5 * NOISES[noise](np.random.default_rng(1), 1000).std()
        found.append(20 in find_steps(values.tolist()))
    assert sum(found) >= 38


def test_up_and_down_again_are_two_steps() -> None:
    draw = np.random.default_rng(3)
    values = draw.normal(0, 0.01, 40)
    values[15:25] += 0.1
    assert find_steps(values.tolist()) == [15, 25]


def test_an_outlier_is_no_step() -> None:
    draw = np.random.default_rng(4)
    values = draw.normal(0, 0.01, 40)
    values[20] += 1.0
    assert find_steps(values.tolist()) == []


def test_a_slow_drift_is_seen_though_no_neighbours_differ() -> None:
    draw = np.random.default_rng(5)
    values = np.linspace(0, 0.06, 40) + draw.normal(0, 0.01, 40)
    assert find_steps(values.tolist())


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0], [5.0] * 20, [0.1 + 0.2, 0.3] * 10])
def test_there_is_no_step_in_nothing(values: list[float]) -> None:
    assert find_steps(values) == []


def test_the_same_series_always_has_the_same_steps() -> None:
    draw = np.random.default_rng(6)
    values = (np.linspace(0, 0.03, 30) + draw.normal(0, 0.01, 30)).tolist()
    assert find_steps(values) == find_steps(values)
    shifted = find_steps([value + 13.8 for value in values])
    assert shifted == find_steps(values)
