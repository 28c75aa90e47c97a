"""Histories: levels and steps of stored runs, breaks where they were not measured alike, and the verdict."""

from __future__ import annotations

import random
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.bench.history import Collected, Series, histories
from edgekit.bench.report import history_plots, page, plots, told_of
from edgekit.bench.report.page import headline
from tests.bench.runs import make_block, make_run, noisy_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.bench.run import Run


def day(k: int) -> str:
    return f"2026-{1 + k // 28:02d}-{1 + k % 28:02d}T10:00:00Z"


def runs(n: int, level: Callable[[int], float], *, noise: float = 0.01, seed: int = 0, **more: Any) -> list[Run]:
    """n runs, a day apart, each around 1 ms times its level and a noise of its own."""
    draw = random.Random(seed)
    return [
        noisy_run(100 * seed + k, ns=1e6 * level(k) * draw.gauss(1, noise), started_at=day(k), **more) for k in range(n)
    ]


def one(found: list[Series]) -> Series:
    (series,) = found
    return series


def test_a_series_without_a_step_is_steady() -> None:
    series = one(histories(runs(30, lambda _: 1)))
    assert (series.outcome, series.change, series.steps) == ("steady", None, ())
    assert (series.segments[0].first, series.segments[0].last) == (0, 29)


def test_a_step_beyond_the_tolerance_is_a_regression() -> None:
    series = one(histories(runs(30, lambda k: 1.08 if k >= 20 else 1)))
    assert series.outcome == "regressed"
    (step,) = series.steps
    assert (step.at, step.date, series.since) == (20, day(20), day(20))
    assert step.interval.low < 1.08 < step.interval.high
    assert step.interval.method == "pooled"


def test_a_step_to_something_faster_is_an_improvement() -> None:
    assert one(histories(runs(30, lambda k: 0.9 if k >= 20 else 1))).outcome == "improved"


def test_a_step_inside_the_tolerance_is_told_and_is_no_regression() -> None:
    series = one(histories(runs(60, lambda k: 1.02 if k >= 30 else 1, noise=0.005)))
    assert (series.outcome, len(series.steps)) == ("shifted", 1)


def test_drift_that_no_pair_shows_is_a_regression_as_a_whole() -> None:
    drifting = runs(60, lambda k: 1 + 0.0015 * k)
    series = one(histories(drifting))
    assert series.outcome == "regressed"
    assert series.change is not None
    assert len(series.steps) > 1
    assert max(step.interval.ratio for step in series.steps) < series.change.ratio
    assert 1.04 < series.change.ratio < 1.09


def test_the_newest_step_decides() -> None:
    recovered = one(histories(runs(45, lambda k: 1.1 if 15 <= k < 30 else 1)))
    assert recovered.outcome == "improved"
    assert len(recovered.steps) == 2


def test_noise_hides_a_step_and_does_not_make_one() -> None:
    assert one(histories(runs(30, lambda k: 1.03 if k >= 20 else 1, noise=0.2))).steps == ()


def test_few_runs_say_so() -> None:
    series = one(histories(runs(5, lambda _: 1)))
    assert (series.outcome, series.steps) == ("too few", ())
    assert one(histories(runs(1, lambda _: 1))).segments[0].low_ns is None


def test_another_system_breaks_the_series_and_is_named() -> None:
    before = runs(20, lambda _: 1, facts={"os": "Debian 13"})
    after = runs(40, lambda _: 1.2, facts={"os": "Debian 14"})[20:]
    series = one(histories(before + after))
    (found,) = series.breaks
    assert (found.at, found.date) == (20, day(20))
    assert "os (Debian 13 against Debian 14)" in found.because
    assert (series.outcome, series.steps) == ("steady", ())  # 20 % more under another system is no regression
    assert [segment.first for segment in series.segments] == [0, 20]


def test_a_new_runner_does_not_break_a_series_but_is_told_beside_a_step() -> None:
    before = runs(20, lambda _: 1)
    after = runs(40, lambda _: 1.1, runner_sha256="ef" * 32)[20:]
    series = one(histories(before + after))
    assert series.breaks == ()
    assert [step.changed for step in series.steps] == [("runner",)]


def test_runs_that_never_settled_are_left_out_and_counted() -> None:
    series = one(histories([*runs(20, lambda _: 1), make_run(9_000_000, started_at=day(30), steady=False)]))
    assert (len(series.points), series.left_out, series.outcome) == (20, 1, "steady")


def test_series_that_are_asked_for_together_share_their_error_rate() -> None:
    alone = runs(10, lambda k: 1.04 if k >= 8 else 1, seed=3)
    others = [run for n in range(60) for run in runs(8, lambda _: 1, seed=n + 10, precision=f"p{n}")]
    assert one(histories(alone)).steps
    together = {str(series.recipe): series for series in histories([*alone, *others])}
    assert together["tflite:int8"].steps == ()


def test_order_of_files_does_not_matter() -> None:
    made = runs(20, lambda k: 1.1 if k >= 12 else 1)
    assert histories(made) == histories(made[::-1])


def test_no_samples_are_kept() -> None:
    block = make_block(*(1_000_000 + k % 997 for k in range(20_000)))
    large = make_run(1_000_000)
    collected = Collected()
    tracemalloc.start()
    for k in range(300):
        collected.add(type(large)(**{f: getattr(large, f) for f in large.__struct_fields__}
                                  | {"blocks": (block, block), "started_at": day(k)}), None)  # fmt: skip
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 300 * 5_000


@pytest.fixture(scope="module")
def told() -> list[Series]:
    slower = runs(20, lambda k: 1.1 if k >= 12 else 1, precision="float32")
    return told_of(histories([*runs(20, lambda _: 1), *slower, *runs(3, lambda _: 1, precision="new")]))


def test_a_report_tells_what_changed_first_and_leaves_out_what_has_no_history(told: list[Series]) -> None:
    assert [(str(series.recipe), series.outcome) for series in told] == [
        ("tflite:float32", "regressed"), ("tflite:int8", "steady"),
    ]  # fmt: skip
    assert headline([noisy_run(1)], (), told)[0] == "regressed"


def test_a_report_has_a_history_with_a_plot_for_each(told: list[Series]) -> None:
    shown = [noisy_run(1)]
    text = page("digits", shown, (), [*history_plots(told), *plots(shown)], told)
    assert text.index('id="history"') < text.index('id="runs"')
    assert "tflite:float32 ×1 on board: history" in text
    assert text.count("+1") >= 1
    assert "1 of 2 series of runs became slower" in text


def test_without_enough_runs_a_report_has_no_history() -> None:
    shown = [noisy_run(1)]
    assert 'id="history"' not in page("digits", shown, (), plots(shown), told_of(histories(shown)))
