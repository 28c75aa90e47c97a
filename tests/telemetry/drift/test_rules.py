"""Each rule on a window that breaks it, and on one that nearly does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from edgekit.telemetry.drift.judge import judge
from edgekit.telemetry.drift.layout import Layout
from edgekit.telemetry.references.columns import Column, counts_of, features_of
from edgekit.telemetry.reporter.reference import Feature
from edgekit.telemetry.reporter.window import FeatureCounts

if TYPE_CHECKING:
    from edgekit.telemetry.drift.verdict import FeatureVerdict

N = 2000


def _verdict(values: np.ndarray | list[str | None], *, reference: object = None, **known: object) -> FeatureVerdict:
    rng = np.random.default_rng(1)
    if isinstance(values, list):
        column = Column("x", "category", reference or ["a", "b"] * 5000)  # type: ignore[arg-type]
    else:
        column = Column("x", "number", rng.normal(size=20_000) if reference is None else reference, **known)  # type: ignore[arg-type]
    layout = Layout(features_of([column]))
    return judge(layout, [counts_of(layout.features[0], values)])[0]


def _with(share: float, value: float) -> np.ndarray:
    values = np.random.default_rng(2).normal(size=N)
    values[: int(share * N)] = value
    return np.random.default_rng(3).permutation(values)


def _rules(verdict: FeatureVerdict) -> list[str]:
    assert (verdict.outcome == "drift") == bool(verdict.broken or verdict.distance > verdict.threshold)
    msgspec.json.encode(verdict)  # nothing of NumPy's is left in it
    return [broken.rule for broken in verdict.broken]


def test_a_quiet_window_breaks_none() -> None:
    assert _rules(_verdict(_with(0, 0))) == []


@pytest.mark.parametrize(
    ("value", "share", "below", "rule"),
    [
        (np.nan, 0.05, 0.01, "missing"),
        (np.inf, 0.01, 0.0005, "infinite"),
        (-999.0, 0.05, 0.005, "beyond_reference"),
        (1e6, 0.05, 0.005, "beyond_reference"),
        (0.123, 0.05, 0.01, "stuck"),
    ],
)
def test_a_share_breaks_its_rule_above_the_margin_and_not_below(
    value: float, share: float, below: float, rule: str
) -> None:
    assert rule in _rules(_verdict(_with(share, value)))
    assert rule not in _rules(_verdict(_with(below, value)))


def test_the_text_says_what_was_found() -> None:
    verdict = _verdict(_with(0.05, -999.0))
    assert "5.0% of the values are below everything that the reference saw (to -999; it has -" in verdict.told


def test_values_outside_the_valid_range() -> None:
    inside = np.random.default_rng(1).uniform(0, 1, 20_000)
    assert _rules(_verdict(inside[:N] * 1.0, reference=inside, valid_min=0, valid_max=1)) == []
    moved = inside[:N].copy()
    moved[:40] = 1.01
    assert "out_of_range" in _rules(_verdict(moved, reference=inside, valid_min=0, valid_max=1))


def test_one_value_all_the_time() -> None:
    assert _rules(_verdict(np.full(N, 0.5))) == ["constant"]
    resting = np.full(5000, 3.0)
    assert _rules(_verdict(np.full(N, 3.0), reference=resting)) == []


def test_a_declared_sentinel_is_called_by_its_name() -> None:
    reference = np.random.default_rng(1).normal(500, 500, size=20_000)
    values = reference[:N].copy()
    values[:120] = 999.0
    assert "sentinel" in _rules(_verdict(values, reference=reference, sentinels=(999.0,)))
    assert "stuck" in _rules(_verdict(values, reference=reference))


def test_categories_that_the_reference_does_not_have() -> None:
    known: list[str | None] = ["a", "b"] * (N // 2)
    assert _rules(_verdict(known)) == []
    assert _rules(_verdict([*known[:-60], *["c"] * 60])) == ["unseen"]
    assert _rules(_verdict([*known[:-4], *["c"] * 4])) == []


def test_missing_values_that_the_reference_has_too_are_normal_and_their_absence_is_not() -> None:
    rng = np.random.default_rng(4)
    reference = np.where(rng.random(20_000) < 0.3, np.nan, rng.normal(size=20_000))
    assert _rules(_verdict(reference[:N], reference=reference)) == []
    assert "missing" in _rules(_verdict(rng.normal(size=N), reference=reference))
    everything = np.full(N, np.nan)
    assert "missing" in _rules(_verdict(everything, reference=reference))


def test_a_shift_is_no_stuck_value() -> None:
    for shift in (0.5, 1.0, 2.0):
        assert "stuck" not in _rules(_verdict(np.random.default_rng(2).normal(shift, 1, N)))


def test_too_few_values_say_nothing() -> None:
    verdict = _verdict(np.full(150, -999.0))
    assert verdict.outcome == "too few"
    assert verdict.broken == ()


@pytest.mark.parametrize("turned", [False, True])
def test_a_value_is_stuck_beside_what_is_beyond_the_reference_too(turned: bool) -> None:
    way = -1 if turned else 1
    layout = Layout([Feature("x", "number", "input", "x", "value", tuple(map(float, range(9))), (), (1000,) * 10)])
    cells = (140, 220, *(80,) * 8)[::way]
    [verdict] = judge(layout, [FeatureCounts(cells, 0, 0, 0, 0, -1.0, 9.0, 4.0, 9000.0)])
    assert _rules(verdict) == ["beyond_reference", "stuck"]
