"""Comparing stored runs: a weaker witness than `gate`, because hours, heat and other load lie between the two.

Runs are matched by target, model, recipe and threads; of several the latest counts. What has no counterpart is listed
and judged by nobody. All comparisons of one call are one family: Holm's method keeps its false alarms at 5 % together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit.bench.comparable import differences, told
from edgekit.bench.effect import MIN_BLOCKS, unpaired
from edgekit.bench.verdict import TOLERANCE, Verdict, incomparable, inconclusive, judge
from edgekit.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edgekit.bench.effect import Effect
    from edgekit.bench.run import Run

Key = tuple[str, str, str, int]


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two runs and the verdict on them. Medians of block medians in ns; runs and artifacts by their ids."""

    target: str
    model: str
    recipe: Recipe
    threads: int
    baseline_run: str
    candidate_run: str
    baseline_artifact: str
    candidate_artifact: str
    baseline_ns: float
    candidate_ns: float
    verdict: Verdict
    design: Literal["interleaved", "stored"]


class Compared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every comparison, and the runs without a counterpart as "TARGET MODEL RECIPE ×THREADS"."""

    comparisons: tuple[Comparison, ...]
    only_baseline: tuple[str, ...]
    only_candidate: tuple[str, ...]


def compare(baseline: Iterable[Run], candidate: Iterable[Run], tolerance: float = TOLERANCE) -> Compared:
    """Compares two collections of runs."""
    a, b = latest(baseline), latest(candidate)
    keys = [key for key in a if key in b]
    return Compared(
        comparisons=tuple(compare_runs([(a[key], b[key]) for key in keys], tolerance)),
        only_baseline=tuple(_name(key) for key in a if key not in b),
        only_candidate=tuple(_name(key) for key in b if key not in a),
    )


def compare_runs(pairs: Iterable[tuple[Run, Run]], tolerance: float = TOLERANCE) -> list[Comparison]:
    """Compares given runs, pair by pair, whatever their recipes: (baseline, candidate)."""
    found = list(pairs)
    settled: dict[int, Verdict] = {}
    effects: dict[int, Effect] = {}
    for k, (a, b) in enumerate(found):
        verdict = _unfit(a, b, tolerance)
        if verdict is not None:
            settled[k] = verdict
        else:
            effects[k] = unpaired(medians(a), medians(b))
    settled.update(zip(effects, judge(list(effects.values()), tolerance), strict=True))
    return [_comparison(a, b, settled[k], "stored") for k, (a, b) in enumerate(found)]


def interleaved(baseline: Run, candidate: Run, verdict: Verdict) -> Comparison:
    """Two runs whose blocks took turns, with the verdict on their pairs."""
    return _comparison(baseline, candidate, verdict, "interleaved")


def latest(runs: Iterable[Run]) -> Mapping[Key, Run]:
    """By target, model, recipe and threads, the run that was started last."""
    found: dict[Key, Run] = {}
    for run in runs:  # one after another: of a thousand runs only the latest are kept
        key = (run.context.target, run.model, str(run.recipe), run.context.threads)
        known = found.get(key)
        if known is None or (known.started_at, known.id) <= (run.started_at, run.id):
            found[key] = run
    return dict(sorted(found.items()))


def medians(run: Run) -> list[float]:
    """The median latency of each block, in ns."""
    return [block.median_ns for block in run.blocks]


def middle(values: list[float]) -> float:
    """The median of values in any order."""
    ordered = sorted(values)
    n = len(ordered)
    return ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2


def unsteady(*runs: Run) -> str:
    """Which runs never settled, as a phrase; empty where all did."""
    sides = [f"{run.recipe} ({sum(not b.steady for b in run.blocks)} of {len(run.blocks)} blocks)" for run in runs
             if not run.steady]  # fmt: skip
    return f"latency never settled during warm-up: {', '.join(sides)}" if sides else ""


def lost(*runs: Run) -> str:
    """Why too few blocks are left for a verdict, as a phrase; empty where enough are, or none was given up."""
    short = [run for run in runs if len(run.blocks) < MIN_BLOCKS and run.given_up]
    sides = [
        f"{len(run.given_up)} of {len(run.blocks) + len(run.given_up)} of {run.recipe}, as {run.given_up[-1].because}"
        for run in short
    ]
    return f"too many blocks were given up: {', '.join(sides)}" if sides else ""


def _unfit(a: Run, b: Run, tolerance: float) -> Verdict | None:
    """The verdict on two runs that no statistic can help, else None."""
    blocks = min(len(a.blocks), len(b.blocks))
    differing = differences(a, b)
    if differing:
        return incomparable(told(differing), blocks=blocks, tolerance=tolerance)
    if restless := unsteady(a, b):
        return inconclusive(restless, blocks=blocks, tolerance=tolerance)
    if too_few := lost(a, b):
        return inconclusive(too_few, blocks=blocks, tolerance=tolerance)
    if blocks < MIN_BLOCKS:
        return inconclusive(
            f"{blocks} block{'s' * (blocks != 1)} a side cannot be told from noise: measure with --blocks 10",
            blocks=blocks,
            tolerance=tolerance,
        )
    return None


def _comparison(a: Run, b: Run, verdict: Verdict, design: Literal["interleaved", "stored"]) -> Comparison:
    return Comparison(
        target=a.context.target,
        model=b.model,
        recipe=b.recipe,
        threads=b.context.threads,
        baseline_run=a.id,
        candidate_run=b.id,
        baseline_artifact=a.artifact,
        candidate_artifact=b.artifact,
        baseline_ns=middle(medians(a)),
        candidate_ns=middle(medians(b)),
        verdict=verdict,
        design=design,
    )


def _name(key: Key) -> str:
    target, model, recipe, threads = key
    return f"{target} {model} {recipe} ×{threads}"
