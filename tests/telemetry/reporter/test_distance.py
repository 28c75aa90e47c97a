"""The rule of drift, on its own: distances against SciPy, floors, and what has no verdict."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edgekit.telemetry.reporter.cells import count_sorted, edges_of
from edgekit.telemetry.reporter.distance import (
    calibrated_floor,
    distance_of,
    judge,
    ks_of_cells,
    largest_share_change,
    sampling_floor,
    threshold_of,
)
from edgekit.telemetry.reporter.reference import Feature

DRAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(size=n),
    "bimodal": lambda rng, n: rng.normal(size=n) + rng.choice([-3, 3], n),
    "offset": lambda rng, n: 1e6 + rng.normal(size=n),
    "half zero": lambda rng, n: np.maximum(rng.normal(size=n), 0),
}


def feature(values: np.ndarray, **fields: object) -> Feature:
    ordered = np.sort(values).tolist()
    edges = edges_of(ordered)
    return Feature("f", "number", "input", "x", "value", edges, (), tuple(count_sorted(ordered, edges)))._replace(
        **fields
    )


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.4])
def test_ks_of_cells_is_scipys_within_the_heaviest_cell(name: str, shift: float) -> None:
    rng = np.random.default_rng(11)
    reference, window = DRAWS[name](rng, 20_000), DRAWS[name](rng, 5_000)
    window = window + shift * (window != 0)
    made = feature(reference)
    ours = distance_of(made, count_sorted(np.sort(window).tolist(), made.edges))
    exact = stats.ks_2samp(reference, window).statistic
    assert ours <= exact + 1e-12
    assert exact - ours <= 0.004


def test_equal_and_disjoint_counts() -> None:
    assert ks_of_cells((5, 5), (500, 500)) == 0
    assert ks_of_cells((5, 0), (0, 7)) == 1
    assert ks_of_cells((0, 0), (1, 1)) == ks_of_cells((1, 1), (0, 0)) == 0
    assert largest_share_change((50, 50, 0), (40, 40, 20)) == pytest.approx(0.2)


def test_the_sampling_floor_is_exceeded_less_than_once_in_a_thousand() -> None:
    rng = np.random.default_rng(5)
    made = feature(rng.normal(size=20_000))
    for n in (200, 1000):
        counts = rng.multinomial(n, np.full(len(made.cells), 1 / len(made.cells)), size=4000)
        flat = made._replace(cells=(150,) * len(made.cells))
        distances = [distance_of(flat, row) for row in counts.tolist()]
        assert np.mean(np.array(distances) > sampling_floor(n, flat.n)) <= 0.001


def test_the_calibrated_floor_is_that_of_the_next_smaller_size() -> None:
    made = feature(np.arange(1000.0), floors=((400, 0.1), (1000, 0.06)))
    assert [calibrated_floor(made, n) for n in (400, 999, 1000, 10**6)] == [0.1, 0.1, 0.06, 0.06]
    assert calibrated_floor(made, 100) == pytest.approx(0.2)
    assert calibrated_floor(made._replace(floors=()), 100) == 0
    assert threshold_of(made, 10**6) == pytest.approx(sampling_floor(10**6, 1000))


def test_verdicts() -> None:
    rng = np.random.default_rng(1)
    made = feature(rng.normal(size=50_000))

    def window(values: np.ndarray) -> list[int]:
        return count_sorted(np.sort(values).tolist(), made.edges)

    assert judge(made, window(rng.normal(size=199))).verdict == "too few"
    assert judge(made, window(rng.normal(size=5000))).verdict == "quiet"
    assert judge(made, window(rng.normal(0.25, 1, 5000))).verdict == "drift"
    assert judge(made, window(rng.normal(0.05, 1, 100_000))).verdict == "quiet"  # significant, and nobody cares
    assert judge(made, window(rng.normal(0.05, 1, 100_000)), theta=0.01).verdict == "drift"
    assert judge(made._replace(cells=(0,) * len(made.cells)), window(rng.normal(size=5000))).verdict == "too few"
