"""Stored runs compared: what is matched, what is refused, what is said."""

from __future__ import annotations

import pytest

from edgekit.bench.compare import compare, compare_runs, interleaved, latest
from edgekit.bench.verdict import inconclusive
from tests.bench.runs import make_run, noisy_run


def test_runs_are_matched_by_target_model_recipe_and_threads() -> None:
    base = [noisy_run(1), noisy_run(2, precision="float32"), noisy_run(3, threads=4)]
    found = compare(base, [noisy_run(4, ns=1.1e6), noisy_run(5, threads=4), noisy_run(6, target="other")])
    by_threads = {c.threads: c for c in found.comparisons}
    assert by_threads[1].verdict.outcome == "regressed"
    assert by_threads[4].verdict.outcome == "equivalent"
    assert by_threads[1].candidate_ns / by_threads[1].baseline_ns == pytest.approx(1.1, abs=0.01)
    assert found.only_baseline == ("board digits_cnn tflite:float32 ×1",)
    assert found.only_candidate == ("other digits_cnn tflite:int8 ×1",)


def test_the_latest_of_several_counts() -> None:
    old = noisy_run(1, started_at="2026-11-24T16:00:00Z")
    new = noisy_run(2, started_at="2026-11-25T16:00:00Z")
    assert list(latest([new, old]).values()) == [new]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"version": "2.2.0"}, "version (2.1.0 against 2.2.0)"),
        ({"threads": 2}, "threads (1 against 2)"),
        ({"target": "other"}, "target (board against other)"),
        ({"execution": "app"}, "execution (process against app)"),
        ({"facts": {"governor": ["powersave"]}}, "governor (performance against powersave)"),
        ({"facts": {"governor": None}}, "governor (performance against not told)"),
        ({"facts": {"affinity": [0]}}, "affinity (0, 1, 2, 3 against 0)"),
        ({"facts": {"kernel": "Linux 6.13"}}, "kernel (Linux 6.12 against Linux 6.13)"),
    ],
)
def test_what_was_not_measured_alike_is_incomparable(changes: dict[str, object], field: str) -> None:
    (found,) = compare_runs([(noisy_run(1), noisy_run(2, ns=2e6, **changes))])
    assert found.verdict.outcome == "incomparable"
    assert field in found.verdict.because
    assert found.verdict.interval is None


def test_a_new_runner_alone_does_not_make_the_past_worthless() -> None:
    (found,) = compare_runs([(noisy_run(1), noisy_run(2, runner_sha256="ef" * 32))])
    assert found.verdict.outcome == "equivalent"


def test_a_run_that_never_settled_is_no_ground_for_a_verdict() -> None:
    (found,) = compare_runs([(noisy_run(1), noisy_run(2, ns=2e6, steady=False))])
    assert found.verdict.outcome == "inconclusive"
    assert "tflite:int8 (10 of 10 blocks)" in found.verdict.because


def test_few_blocks_are_not_enough() -> None:
    (found,) = compare_runs([(make_run(1000), make_run(5000))])
    assert found.verdict.outcome == "inconclusive"
    assert "1 block a side" in found.verdict.because
    assert "--blocks 10" in found.verdict.because


def test_the_unfit_are_not_part_of_the_family() -> None:
    pairs = [(noisy_run(1), noisy_run(2))] + [(noisy_run(3), noisy_run(4, threads=2))] * 9
    found = compare_runs(pairs)
    assert found[0].verdict.interval is not None
    assert found[0].verdict.interval.confidence == 0.95


def test_interleaved_runs_keep_their_verdict() -> None:
    made = interleaved(noisy_run(1), noisy_run(2, precision="float32"), inconclusive("x"))
    assert made.design == "interleaved"
    assert str(made.recipe) == "tflite:float32"


def test_nothing_to_compare() -> None:
    assert compare([], []).comparisons == ()
