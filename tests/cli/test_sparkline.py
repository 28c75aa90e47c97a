"""Pictures of one line."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.bench.compare import compare
from edgekit.bench.effect import Interval
from edgekit.bench.verdict import Verdict
from edgekit.cli.sparkline import distribution, reach, reach_axis, trend
from edgekit.cli.verdicts import print_comparisons
from tests.bench.runs import make_block, make_run, noisy_run


def verdict(ratio: float, low: float, high: float, tolerance: float = 0.03) -> Verdict:
    return Verdict("inconclusive", tolerance, Interval(ratio, low, high, 0.95, "student"), 10, None, "")


def test_a_trend_goes_from_the_lowest_to_the_highest() -> None:
    assert trend([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"


def test_small_noise_is_no_cliff() -> None:
    assert set(trend([1.0, 1.001, 0.999, 1.0])) <= set("▄▅")


def test_a_long_trend_is_of_medians() -> None:
    assert trend([1.0] * 200 + [2.0] * 200, 4) == "▁▁██"
    assert trend([]) == ""


@settings(deadline=None)  # a busy machine, and the first call imports
@given(st.lists(st.floats(1, 1e12), max_size=300), st.integers(1, 40))
def test_a_trend_is_as_wide_as_it_may_be(values: list[float], width: int) -> None:
    assert len(trend(values, width)) == min(width, len(values))


def test_two_modes_are_two_hills() -> None:
    draw = random.Random(0)
    samples = [round(draw.gauss(1000, 10)) for _ in range(500)] + [round(draw.gauss(1500, 10)) for _ in range(500)]
    run = make_run(1000)
    drawn = distribution(type(run)(**{f: getattr(run, f) for f in run.__struct_fields__}
                                   | {"blocks": (make_block(*samples),)}))  # fmt: skip
    assert len(drawn) == 14
    assert drawn[4:10].strip() == ""
    assert drawn[0] != " "
    assert drawn[-2:].strip() != ""


def test_a_run_of_equal_latencies_has_a_distribution() -> None:
    run = make_run(5, 5)
    assert len(distribution(run)) == 14


@pytest.mark.parametrize(
    ("found", "drawn"),
    [
        (verdict(1.0, 0.988, 1.012), "     ┊ ─●─ ┊     "),
        (verdict(1.06, 1.05, 1.07), "     ┊  │  ┊─●─  "),
        (verdict(1.3, 1.02, 1.6), "     ┊  │ ─┊────▸"),
        (verdict(0.5, 0.4, 0.6), "◂    ┊  │  ┊     "),
        (Verdict("incomparable", 0.03, None, 0, None, "x"), ""),
    ],
)
def test_where_an_interval_lies(found: Verdict, drawn: str) -> None:
    assert reach(found) == drawn


def test_an_axis_is_as_wide_as_its_picture() -> None:
    assert reach_axis(verdict(1, 1, 1)) == "-9 %         +9 %"
    assert len(reach_axis(verdict(1, 1, 1))) == len(reach(verdict(1, 0.99, 1.01)))


def test_piped_pictures_have_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    found = compare([noisy_run(1)], [noisy_run(2, ns=1.1e6)])
    print_comparisons("x", found.comparisons)
    out = capsys.readouterr().out
    assert "│" in out
    assert "\x1b" not in out
