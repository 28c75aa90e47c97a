"""What a difference of two metrics is worth: intervals against what is known of them, and the outcomes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.artifact import OutputParity
from edgekit.bench.evaluation import judge
from edgekit.bench.evaluation.judge import Interval, interval_of_drop, tango, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

Z = 1.959963984540054


def accuracy(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float:
    return float(np.mean(outputs["y"].argmax(axis=-1) == targets))


def mean_error(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float:
    return float(np.mean(np.abs(outputs["y"] - targets)))


def correlation(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float:
    if len(targets) < 2:
        raise ValueError("two at least")
    return float(np.corrcoef(outputs["y"], targets)[0, 1])


@pytest.mark.parametrize(("lost", "won", "n"), [(12, 2, 44), (1, 0, 30), (5, 9, 360), (3, 3, 20)])
def test_the_score_interval_ends_where_the_score_is_at_its_bound(lost: int, won: int, n: int) -> None:
    """With the likelihood's maximum under the drop found by search, not by the formula."""
    from scipy.optimize import minimize_scalar

    found = tango(lost, won, n)
    for drop, bound in ((found.low, Z), (found.high, -Z)):

        def unlikelihood(share: float, drop: float = drop) -> float:
            equal = max(1 - 2 * share - drop, 1e-300)
            return -(lost * math.log(share + drop) + won * math.log(share) + (n - lost - won) * math.log(equal))

        limits = (max(0.0, -drop) + 1e-12, (1 - drop) / 2 - 1e-12)
        share = float(minimize_scalar(unlikelihood, bounds=limits, method="bounded", options={"xatol": 1e-12}).x)
        score = (lost - won - n * drop) / math.sqrt(n * (2 * share + drop * (1 - drop)))
        assert score == pytest.approx(bound, abs=2e-3)
    assert (found.lost, found.won, found.method) == (lost, won, "tango")


def test_the_score_interval_says_something_where_no_sample_differs() -> None:
    found = tango(0, 0, 360)
    assert (found.low, found.high) == (pytest.approx(-(Z**2) / (360 + Z**2)), pytest.approx(Z**2 / (360 + Z**2)))
    assert found.p_value == 1.0


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 300))
@settings(max_examples=150, deadline=None)
def test_the_score_interval_is_one(lost: int, won: int, equal: int) -> None:
    n = lost + won + equal
    if n == 0:
        return
    found, mirrored = tango(lost, won, n), tango(won, lost, n)
    assert -1 <= found.low <= (lost - won) / n <= found.high <= 1
    assert found.low < found.high
    assert (mirrored.low, mirrored.high) == (pytest.approx(-found.high, abs=1e-9), pytest.approx(-found.low, abs=1e-9))
    assert tango(lost, won, n, 0.99).high >= found.high
    assert found.p_value == tango(won, lost, n).p_value


def test_the_score_interval_covers_what_it_says() -> None:
    rng = np.random.default_rng(0)
    shares, n, covered, rounds = (0.06, 0.03), 200, 0, 1000
    for _ in range(rounds):
        lost, won, _ = rng.multinomial(n, [*shares, 1 - sum(shares)])
        found = tango(int(lost), int(won), n)
        covered += found.low <= shares[0] - shares[1] <= found.high
    assert 0.93 <= covered / rounds <= 0.97


def answers(right: np.ndarray) -> dict[str, np.ndarray]:
    """Logits that are right for label 1 where `right` is."""
    return {"y": np.stack([~right, right], axis=-1).astype("float32")}


def test_accuracy_is_judged_by_the_samples_that_differ() -> None:
    here, there = np.ones(200, bool), np.ones(200, bool)
    here[:3], there[:1], there[10:19] = False, False, False
    found = interval_of_drop(accuracy, answers(here), answers(there), np.ones(200, int), higher_is_better=True)
    assert found is not None
    assert (found.method, found.lost, found.won) == ("tango", 9, 2)
    assert found.p_value == pytest.approx(2 * sum(math.comb(11, k) for k in range(3)) / 2**11)
    assert found.low < 7 / 200 < found.high


def test_a_metric_that_falls_when_better_turns_the_sign() -> None:
    rng = np.random.default_rng(0)
    targets = rng.standard_normal(100)
    here = {"y": targets + 0.1 * rng.standard_normal(100)}
    there = {"y": targets + 0.5 * rng.standard_normal(100)}
    found = interval_of_drop(mean_error, here, there, targets, higher_is_better=False)
    assert found is not None
    assert found.method == "bca"
    assert 0 < found.low < mean_error(there, targets) - mean_error(here, targets) < found.high
    few = interval_of_drop(mean_error, {"y": here["y"][:8]}, {"y": there["y"][:8]}, targets[:8], higher_is_better=False)
    assert few is not None
    assert few.method == "student"
    same = interval_of_drop(mean_error, here, here, targets, higher_is_better=False)
    assert same is not None
    assert (same.low, same.high) == (0.0, 0.0)


def test_a_metric_that_is_no_mean_is_computed_anew_on_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "METRIC_RESAMPLES", 200)
    rng = np.random.default_rng(0)
    targets = rng.standard_normal(300)
    here, there = ({"y": targets + noise * rng.standard_normal(300)} for noise in (0.3, 1.0))
    found = interval_of_drop(correlation, here, there, targets, higher_is_better=True)
    assert found is not None
    assert found.method == "resampled"
    drop = correlation(here, targets) - correlation(there, targets)
    assert 0 < found.low < drop < found.high < 2 * drop
    assert found == interval_of_drop(correlation, here, there, targets, higher_is_better=True)


def test_a_metric_that_refuses_everything_has_no_interval() -> None:
    def broken(outputs: Mapping[str, np.ndarray], targets: np.ndarray) -> float:
        raise ValueError("no")

    data = {"y": np.zeros((5, 2))}
    assert interval_of_drop(broken, data, data, np.zeros(5), higher_is_better=True) is None
    one = {"y": np.zeros((1, 2))}
    assert interval_of_drop(accuracy, one, one, np.zeros(1), higher_is_better=True) is None


def row(*, finite: bool = True) -> OutputParity:
    return OutputParity(
        "y", 9, finite=finite, exact=False, snr_db=50.0, max_abs_error=0.1, cosine=1.0, top1_agreement=None
    )


def span(low: float, high: float) -> Interval:
    return Interval(low, high, 0.95, "tango")


@pytest.mark.parametrize(
    ("drop", "interval", "agreed", "outcome"),
    [
        (0.0, span(-0.001, 0.001), False, "same"),
        (0.01, span(-0.001, 0.01), False, "same"),
        (0.0, span(-0.2, 0.2), True, "same"),  # few samples, but the device computes the same
        (0.0, span(-0.2, 0.2), False, "inconclusive"),
        (0.009, span(0.005, 0.02), False, "inconclusive"),
        (0.02, span(-0.005, 0.04), True, "inconclusive"),
        (0.02, span(0.001, 0.04), True, "worse"),  # a real loss, and a measured one beyond the budget
        (0.5, span(0.4, 0.6), False, "worse"),
        (0.5, None, None, "worse"),
        (0.005, None, None, "same"),
        (-0.5, span(-0.6, -0.4), False, "same"),
        (None, None, True, "same"),
        (None, None, False, "worse"),
        (None, None, None, "inconclusive"),
    ],
)
def test_outcomes(drop: float | None, interval: Interval | None, agreed: Any, outcome: str) -> None:
    found, because = verdict(drop, 0.01, interval, [row()], agreed=agreed)
    assert found == outcome
    assert bool(because) == (outcome != "same")


def test_answers_that_are_no_numbers_are_worse_than_any_metric() -> None:
    assert verdict(0.0, 0.01, span(-0.001, 0.001), [row(), row(finite=False)], agreed=True)[0] == "worse"
