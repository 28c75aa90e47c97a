"""Verdicts: where an interval lies, families of comparisons, and what an inconclusive one says."""

from __future__ import annotations

import math
import random

import pytest

from edgekit.bench.effect import Interval, Paired, paired
from edgekit.bench.verdict import (
    Verdict,
    blocks_needed,
    classify,
    detectable,
    incomparable,
    inconclusive,
    is_open,
    judge,
    least_alpha,
)


def measured(seed: int, n: int = 10, *, ratio: float = 1.0, spread: float = 0.01) -> Paired:
    draw = random.Random(seed)
    a = [1e6 * math.exp(draw.gauss(0, spread)) for _ in range(n)]
    b = [1e6 * ratio * math.exp(draw.gauss(0, spread)) for _ in range(n)]
    return paired(a, b)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (1.031, 1.2, "regressed"),
        (1.03, 1.2, "inconclusive"),  # an edge belongs to neither side
        (0.98, 1.02, "equivalent"),
        (0.98, 1.03, "inconclusive"),
        (1.01, 1.05, "inconclusive"),
        (0.8, 0.97, "improved"),
        (0.8, 0.9709, "inconclusive"),
        (0.5, 2.0, "inconclusive"),
    ],
)
def test_where_an_interval_lies(low: float, high: float, outcome: str) -> None:
    assert classify(Interval((low + high) / 2, low, high, 0.95, "student"), 0.03) == outcome


@pytest.mark.parametrize(
    ("low", "high", "possible"), [(0.95, 1.02, False), (0.95, 1.03, True), (1.01, 1.05, True), (0.5, 2.0, True)]
)
def test_an_open_verdict_may_exclude_a_regression(low: float, high: float, possible: bool) -> None:
    interval = Interval((low + high) / 2, low, high, 0.95, "student")
    assert is_open(Verdict("inconclusive", 0.03, interval, 10, 0.05)) is possible
    assert is_open(incomparable("threads"))
    assert is_open(inconclusive("never settled"))


def test_a_slow_down_is_called_one_and_its_inverse_an_improvement() -> None:
    assert judge([measured(1, ratio=1.1)])[0].outcome == "regressed"
    assert judge([measured(1, ratio=1 / 1.1)])[0].outcome == "improved"
    assert judge([measured(1, n=12, spread=0.005)])[0].outcome == "equivalent"


def test_noise_is_inconclusive_and_says_what_it_could_have_seen() -> None:
    verdict = judge([measured(2, n=4, ratio=1.02, spread=0.05)])[0]
    assert verdict.outcome == "inconclusive"
    assert "with 4 blocks a side" in verdict.because
    assert verdict.detectable is not None
    assert verdict.detectable > 0.05


def test_a_true_null_is_hardly_ever_called_a_change() -> None:
    wrong = sum(judge([measured(seed, spread=0.03)])[0].outcome in ("regressed", "improved") for seed in range(400))
    assert wrong <= 4


def test_a_family_keeps_the_error_rate_of_one() -> None:
    """Effects that lie on the edge itself, where one comparison alone errs at its worst: in 2.5 of 100 times."""
    alone = family = 0
    for seed in range(200):
        effects = [measured(seed * 20 + k, ratio=1.03, spread=0.01) for k in range(10)]
        alone += any(judge([effect])[0].outcome == "regressed" for effect in effects)
        family += any(verdict.outcome == "regressed" for verdict in judge(effects))
    assert alone / 200 > 0.12
    assert family / 200 < 0.07


def test_the_clearest_of_a_family_is_judged_first_and_the_rest_stop_at_the_first_that_is_open() -> None:
    clear, quiet = measured(1, ratio=1.3), measured(3, spread=0.001)
    open_ = Paired((0.0, 0.06, 0.03, 0.02))
    verdicts = judge([open_, clear, quiet])
    assert [v.outcome for v in verdicts] == ["inconclusive", "regressed", "equivalent"]
    assert verdicts[1].interval is not None
    assert verdicts[2].interval is not None
    levels = sorted([verdicts[1].interval.confidence, verdicts[2].interval.confidence])
    assert levels == pytest.approx([1 - 0.05 / 2, 1 - 0.05 / 3])


def test_least_alpha_is_where_the_interval_meets_the_edge() -> None:
    effect = measured(4, n=8, ratio=1.06, spread=0.02)
    alpha = least_alpha(effect, 0.03)
    assert effect.interval(1 - alpha).low == pytest.approx(1.03, rel=1e-6)


def test_the_blocks_it_asks_for_do_settle_it() -> None:
    draw = random.Random(11)
    short = measured(5, n=6, ratio=1.06, spread=0.03)
    wanted = blocks_needed(short)
    spread = short.error * math.sqrt(short.blocks)
    settled = 0
    for _ in range(200):
        sample = tuple(draw.gauss(short.mean, spread) for _ in range(wanted))
        settled += judge([Paired(sample)])[0].outcome == "regressed"
    assert 180 < settled <= 200


def test_what_is_detectable_is_detected() -> None:
    """A slow-down of the size that `detectable` names is seen in about 95 of 100 times."""
    draw = random.Random(12)
    seen = 0
    for _ in range(300):
        base = Paired(tuple(draw.gauss(0, 0.01) for _ in range(10)))
        smallest = math.log1p(detectable(base))
        seen += judge([Paired(tuple(draw.gauss(smallest, 0.01) for _ in range(10)))])[0].outcome == "regressed"
    assert 0.85 < seen / 300 <= 1


def test_no_spread_and_no_distance() -> None:
    assert blocks_needed(Paired((0.1,) * 5)) == 5
    assert blocks_needed(Paired((math.log1p(0.03) - 0.01, math.log1p(0.03), math.log1p(0.03) + 0.01))) == 1 << 30


def test_verdicts_without_numbers() -> None:
    assert incomparable("they differ in threads (1 against 2)").interval is None
    assert inconclusive("never settled", blocks=3).blocks == 3
