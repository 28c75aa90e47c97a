"""Quiet windows stay quiet and moved ones do not: a seeded part of benchmarks/drift_suite.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.telemetry.drift.judge import judge
from tests.telemetry.drift.windows import reference_of, stream, window_of

if TYPE_CHECKING:
    from edgekit.telemetry.drift.layout import Layout

FEATURES = 10


@pytest.fixture(scope="module")
def independent() -> Layout:
    return reference_of(np.random.default_rng(11).normal(size=(50_000, FEATURES)))


@pytest.fixture(scope="module")
def dependent() -> Layout:
    rng = np.random.default_rng(12)
    return reference_of(np.stack([stream(rng, 50_000, 0.9) for _ in range(FEATURES)], axis=1))


def _alarms(layout: Layout, windows: list[np.ndarray]) -> int:
    return sum(any(v.outcome == "drift" for v in judge(layout, window_of(layout, w))) for w in windows)


@pytest.mark.parametrize(("n", "windows"), [(100, 40), (200, 150), (1000, 150), (2000, 80), (20_000, 10)])
def test_quiet_windows(independent: Layout, n: int, windows: int) -> None:
    rng = np.random.default_rng(n)
    assert _alarms(independent, [rng.normal(size=(n, FEATURES)) for _ in range(windows)]) <= 1 + windows // 100


@pytest.mark.parametrize(("n", "windows"), [(200, 150), (1000, 150), (2000, 80), (20_000, 10)])
def test_windows_whose_mean_wanders_a_little(independent: Layout, n: int, windows: int) -> None:
    rng = np.random.default_rng(n + 1)
    drawn = [rng.normal(rng.normal(0, 0.02, FEATURES), 1, (n, FEATURES)) for _ in range(windows)]
    assert _alarms(independent, drawn) <= 1 + windows // 100


@pytest.mark.parametrize(("n", "windows"), [(200, 100), (1000, 100), (5000, 30)])
def test_windows_of_a_sensor_whose_neighbours_resemble_each_other(dependent: Layout, n: int, windows: int) -> None:
    rng = np.random.default_rng(n + 2)
    drawn = [np.stack([stream(rng, n, 0.9) for _ in range(FEATURES)], axis=1) for _ in range(windows)]
    assert _alarms(dependent, drawn) <= 1 + windows // 100


@pytest.mark.parametrize("n", [1000, 5000])
@pytest.mark.parametrize(("mean", "sd"), [(0.25, 1.0), (0.0, 1.5)])
def test_a_quarter_of_a_standard_deviation_and_half_as_wide_again_are_found(
    independent: Layout, n: int, mean: float, sd: float
) -> None:
    rng = np.random.default_rng(n + 3)
    found = total = 0
    for _ in range(30):
        verdicts = judge(independent, window_of(independent, rng.normal(mean, sd, (n, FEATURES))))
        found += sum(v.outcome == "drift" for v in verdicts)
        total += FEATURES
    assert found / total >= 0.98  # 300 draws of a probability of .99 or more


def test_what_drifted_is_named_and_what_did_not_is_not(independent: Layout) -> None:
    values = np.random.default_rng(5).normal(size=(3000, FEATURES))
    values[:, 3] += 0.5
    values[:, 7] *= 2
    named = {v.feature for v in judge(independent, window_of(independent, values)) if v.outcome == "drift"}
    assert named == {"f3", "f7"}
