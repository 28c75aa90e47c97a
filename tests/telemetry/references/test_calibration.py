"""Noise floors: theory where draws are independent, more where they are not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.telemetry.references.calibration import (
    OFFSET,
    block_lengths,
    design_effects,
    effect_at,
    floors,
    quantile,
)
from tests.telemetry.drift.windows import number, stream


def _effects(values: np.ndarray) -> dict[int, float]:
    feature = number(values)
    cells = np.searchsorted(np.array(feature.edges), values, side="right")
    return design_effects(cells, feature.size, ordered=True)


@pytest.mark.parametrize("seed", range(5))
def test_independent_draws_have_no_design_effect(seed: int) -> None:
    effects = _effects(np.random.default_rng(seed).normal(size=20_000))
    assert set(effects) == set(block_lengths(20_000))
    assert max(effects.values()) < 1.5


def test_a_short_memory_levels_off_at_what_theory_says() -> None:
    effects = _effects(stream(np.random.default_rng(1), 200_000, 0.9))
    k = np.arange(1, 200)
    theory = 1 + 4 / math.pi * np.arcsin(0.9**k).sum()  # of the median's share, by Sheppard's formula
    assert 0.6 * theory < effects[800] < 1.4 * theory


def test_a_level_that_wanders_makes_floors_that_do_not_fall_with_n() -> None:
    rng = np.random.default_rng(2)
    days = np.repeat(rng.normal(0, 0.5, 80), 500)
    effects = _effects(days + rng.normal(size=len(days)))
    assert effects[3200] > 5 * effects[50]
    table = dict(floors(effects, len(days), 1))
    assert min(table.values()) > 0.05
    walk = np.cumsum(rng.normal(size=40_000)) / 100
    effects = _effects(walk)
    assert effect_at(effects, 50_000) > 2 * effect_at(effects, 5000)


def test_floors_are_the_formula_and_fall_with_n() -> None:
    table = floors({50: 1.0}, 100_000, 10)
    n, floor = table[0]
    assert n == 200
    assert floor == pytest.approx(quantile(10) * math.sqrt(1 / 200 + 1e-5 + OFFSET), rel=1e-3)
    assert [f for _, f in table] == sorted((f for _, f in table), reverse=True)
    assert 1000 in dict(table)


def test_more_features_have_higher_floors_and_no_reference_has_none() -> None:
    assert quantile(100) > quantile(10) > quantile(1)
    assert floors({}, 0, 3) == ()


def test_categories_are_calibrated_too() -> None:
    rng = np.random.default_rng(3)
    runs = np.repeat(rng.integers(0, 4, 2000), 20)
    assert design_effects(runs, 5, ordered=False)[400] > 10
    assert design_effects(rng.integers(0, 4, 40_000), 5, ordered=False)[400] < 1.5
