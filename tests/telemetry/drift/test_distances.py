"""Distances against SciPy's, and against the reporter's own rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from edgekit.telemetry.drift.distances import LEAST, Distances, distances
from edgekit.telemetry.drift.layout import Layout
from edgekit.telemetry.references.columns import Column, counts_of, features_of
from edgekit.telemetry.reporter.distance import distance_of, threshold_of
from tests.telemetry.drift.windows import number

DRAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1.5, size=n),
    "two modes": lambda rng, n: np.where(rng.random(n) < 0.5, rng.normal(-3, 1, n), rng.normal(3, 1, n)),
    "half zeros": lambda rng, n: np.maximum(0, rng.normal(size=n)),
    "far from zero": lambda rng, n: 1e6 + rng.normal(size=n),
}


def _of(layout: Layout, columns: list[np.ndarray]) -> Distances:
    windows = [counts_of(f, values) for f, values in zip(layout.features, columns, strict=True)]
    low, high = (np.array([getattr(w, name) for w in windows]) for name in ("min", "max"))
    return distances(layout, layout.flat([w.cells for w in windows]), low, high)


@pytest.mark.parametrize("shape", DRAWS)
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_ks_and_wasserstein_are_those_of_scipy_on_the_raw_values(shape: str, shift: float) -> None:
    rng = np.random.default_rng(5)
    reference = DRAWS[shape](rng, 20_000)
    window = DRAWS[shape](rng, 5_000) + shift * reference.std()
    found = _of(Layout([number(reference)]), [window])
    assert found.ks[0] == pytest.approx(stats.ks_2samp(reference, window).statistic, abs=0.009)
    expected = stats.wasserstein_distance(reference, window) / reference.std(ddof=1)
    assert found.wasserstein[0] == pytest.approx(expected, abs=0.01 + 0.03 * expected)


@pytest.mark.parametrize("n", [300, 1000, 10_000])
@pytest.mark.parametrize("shape", [*DRAWS, "gamma"])
def test_ks_of_raw_values_lies_between_both_bounds_and_their_middle_is_within_the_target(shape: str, n: int) -> None:
    rng = np.random.default_rng(n)
    draw = {**DRAWS, "gamma": lambda rng, n: rng.gamma(0.5, 2, n)}[shape]
    reference = draw(rng, 100_000)
    layout, scale = Layout([number(reference)]), reference.std()
    feature = layout.features[0]
    for window in (draw(rng, n), draw(rng, n) + 0.06 * scale, draw(rng, n) - 0.3 * scale, draw(rng, n) * 1.2):
        exact = stats.ks_2samp(reference, window, method="asymp").statistic
        found = _of(layout, [window])
        assert found.ks[0] - 1e-9 <= exact <= found.most[0] + 1e-9
        assert found.ks[0] == pytest.approx(distance_of(feature, counts_of(feature, window).cells))
        assert found.most[0] - found.ks[0] <= layout.open_shares.max() + 1e-9
        assert abs(exact - (found.ks[0] + found.most[0]) / 2) <= 0.004


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-8, 8), min_size=4, max_size=60),
    st.lists(st.integers(-9, 9) | st.floats(-9, 9), min_size=1, max_size=60),
)
def test_ks_of_any_raw_values_lies_between_both_bounds(reference: list[int], window: list[float]) -> None:
    found = _of(Layout([number(np.array(reference))]), [np.array(window, dtype=float)])
    exact = stats.ks_2samp(reference, window, method="asymp").statistic
    assert found.ks[0] - 1e-9 <= exact <= found.most[0] + 1e-9


counts = st.lists(st.integers(0, 200), min_size=2, max_size=40)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(counts, st.randoms(use_true_random=False)), min_size=1, max_size=5))
def test_all_features_at_once_are_what_each_is_alone(drawn: list[tuple[list[int], object]]) -> None:
    rng = np.random.default_rng(len(drawn))
    features, cells = [], []
    for i, (reference, _) in enumerate(drawn):
        window = rng.integers(0, 50, len(reference)).tolist()
        kind = "number" if i % 2 == 0 else "category"
        made = number(np.arange(3.0))._replace(
            name=f"f{i}", kind=kind, cells=tuple(reference),
            edges=tuple(np.arange(len(reference) - 1.0)) if kind == "number" else (),
            categories=tuple(range(len(reference) - 1)) if kind == "category" else (),
        )  # fmt: skip
        features.append(made)
        cells.append(window)
    layout = Layout(features)
    found = distances(layout, layout.flat(cells))
    thresholds = layout.thresholds(found.n, 0.05)
    for f, (feature, window) in enumerate(zip(features, cells, strict=True)):
        assert found.ks[f] == pytest.approx(distance_of(feature, window), abs=1e-12)
        assert thresholds[f] == pytest.approx(threshold_of(feature, sum(window)), abs=1e-12)
        if feature.kind == "category" and feature.n and sum(window):
            p, q = np.array(feature.cells) / feature.n, np.array(window) / sum(window)
            assert found.js[f] == pytest.approx(jensenshannon(p, q, base=2), abs=1e-7)
            assert found.d1[f] == pytest.approx(np.abs(p - q).sum(), abs=1e-12)
            p, q = np.maximum(p, LEAST), np.maximum(q, LEAST)
            assert found.psi[f] == pytest.approx(((q - p) * np.log(q / p)).sum(), abs=1e-9)
            assert found.kl[f] == pytest.approx((q * np.log(q / p)).sum(), abs=1e-9)


def test_thresholds_are_the_devices_at_every_size() -> None:
    features = features_of([Column("a", "number", np.random.default_rng(1).normal(size=5000))])
    layout = Layout(features)
    for n in (0, 1, 50, 199, 200, 201, 999, 1000, 12345, 10**8):
        expected = threshold_of(features[0], n)
        assert layout.thresholds(np.array([float(n)]), 0.05)[0] == pytest.approx(expected, rel=1e-12), n


def test_equal_shares_have_no_distance_and_no_values_have_none_either() -> None:
    feature = number(np.arange(1000.0))
    layout = Layout([feature, feature._replace(name="empty", cells=(0,) * feature.size)])
    found = distances(layout, layout.flat([feature.cells, feature.cells]))
    for values in (found.ks, found.d1, found.psi, found.js, found.kl):
        assert values == pytest.approx([0, 0], abs=1e-12)
    nothing = distances(layout, layout.flat([(0,) * feature.size] * 2))
    assert nothing.ks.tolist() == [0, 0]
    assert math.isfinite(nothing.psi.sum())


def test_counts_over_other_cells_are_refused() -> None:
    layout = Layout([number(np.arange(1000.0))])
    with pytest.raises(ValueError, match="do not fit"):
        layout.flat([(1, 2, 3)])
