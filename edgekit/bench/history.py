"""History: what the stored runs of a target say over months, for drift that is too slow for any one pair of runs.

A series is all runs of one target, model, recipe and thread count, by date. A run counts once, by the geometric mean of
its block medians; runs differ from each other for more reasons than blocks do (hours, heat, neighbours), so a step must
stand out from the scatter among runs. Runs that never settled are left out and counted.

Where two neighbours were not measured alike (`comparable`: another system, runtime, governor, ...) the series breaks:
the fields are named, and each stretch between breaks is judged for itself. Within a stretch `steps` finds where the
level changes; series that are asked for together share one error rate of 5 % (Bonferroni). The levels on both sides of
a step give its size, with Student's interval from the scatter around all levels of the stretch. Because the place of a
step was chosen by the same data, its interval is a little too good.

The verdict on a series is about its newest step; where that one goes on in the direction of the steps before it, about
all of these together: a latency that creeps up by 2 % at a time becomes a regression, though no step is one.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit.bench.comparable import differences, told
from edgekit.bench.effect import Interval, student
from edgekit.bench.samples import pack
from edgekit.bench.steps import ALPHA, find_steps
from edgekit.bench.verdict import CONFIDENCE, TOLERANCE, classify
from edgekit.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgekit.bench.compare import Key
    from edgekit.bench.run import Run

MIN_RUNS = 8
"""Runs of a stretch, below which hardly any step would show."""

Outcome = Literal["regressed", "improved", "shifted", "steady", "too few"]


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run: the geometric mean of its block medians, and the smallest and the largest of them; ns.

    revision: the git commit that added its file; None where there is none.
    """

    run: str
    started_at: str
    revision: str | None
    artifact: str
    runner_sha256: str
    latency_ns: float
    low_ns: float
    high_ns: float
    blocks: int


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Runs of one level: the points from `first` to `last`, both included; the level with its 95 % interval, ns.

    low_ns and high_ns are None where the stretch has too few runs to tell their scatter.
    """

    first: int
    last: int
    began: str
    ended: str
    latency_ns: float
    low_ns: float | None
    high_ns: float | None


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of level between two runs. at: the index of the first point after it.

    changed: which of "artifact" and "runner" differ between the runs before and after it.
    """

    at: int
    date: str
    revision: str | None
    interval: Interval
    changed: tuple[str, ...]


class Break(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two neighbouring runs that were not measured alike. at: the index of the point after it."""

    at: int
    date: str
    because: str


class Series(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The history of one target, model, recipe and thread count.

    change: the newest step, or it and the ones before it that went the same way, in one ratio; None without a step.
    since: when that change began; empty without one. left_out: runs that never settled.
    """

    target: str
    model: str
    recipe: Recipe
    threads: int
    outcome: Outcome
    change: Interval | None
    since: str
    points: tuple[Point, ...]
    segments: tuple[Segment, ...]
    steps: tuple[Step, ...]
    breaks: tuple[Break, ...]
    left_out: int


class Collected:
    """Runs by series, stripped of their samples as they come: a thousand of them take a few megabytes."""

    def __init__(self) -> None:
        self._found: dict[Key, list[tuple[Run, Point]]] = {}
        self._restless: dict[Key, int] = {}

    def add(self, run: Run, revision: str | None) -> None:
        """Takes a run in."""
        key = (run.context.target, run.model, str(run.recipe), run.context.threads)
        medians = [block.median_ns for block in run.blocks]
        if not run.steady or not medians or min(medians) <= 0:
            self._restless[key] = self._restless.get(key, 0) + 1
            return
        level = math.exp(math.fsum(map(math.log, medians)) / len(medians))
        point = Point(
            run.id, run.started_at, revision, run.artifact, run.context.runner_sha256, level, min(medians),
            max(medians), len(medians),
        )  # fmt: skip
        nothing = pack(())
        bare = msgspec.structs.replace(run.blocks[0], warmup=nothing, samples=nothing)
        self._found.setdefault(key, []).append((msgspec.structs.replace(run, blocks=(bare,)), point))

    def series(self, tolerance: float = TOLERANCE) -> list[Series]:
        """The histories, by target, model, recipe and threads; one run is none yet, but is listed."""
        alpha = ALPHA / max(1, sum(len(runs) >= MIN_RUNS for runs in self._found.values()))
        return [
            _series(sorted(runs, key=lambda one: (one[1].started_at, one[1].run)), self._restless.get(key, 0), alpha,
                    tolerance)
            for key, runs in sorted(self._found.items())
        ]  # fmt: skip


def histories(
    runs: Iterable[Run], tolerance: float = TOLERANCE, revisions: Mapping[str, str] | None = None
) -> list[Series]:
    """The histories of runs; `revisions` are git commits by run id."""
    collected, known = Collected(), revisions or {}
    for run in runs:
        collected.add(run, known.get(run.id))
    return collected.series(tolerance)


def _series(runs: Sequence[tuple[Run, Point]], left_out: int, alpha: float, tolerance: float) -> Series:
    points = [point for _, point in runs]
    breaks = _breaks([run for run, _ in runs], points)
    edges = [0, *(found.at for found in breaks), len(points)]
    segments: list[Segment] = []
    steps: list[Step] = []
    for begin, end in pairwise(edges):
        stretch = _Stretch(points, begin, end, alpha)
        segments += stretch.segments()
        steps += stretch.steps()
    newest = _Stretch(points, edges[-2], edges[-1], alpha)
    change, since = newest.change()
    first = runs[0][0]
    return Series(
        target=first.context.target,
        model=first.model,
        recipe=first.recipe,
        threads=first.context.threads,
        outcome=_outcome(edges[-1] - edges[-2], change, tolerance),
        change=change,
        since=since,
        points=tuple(points),
        segments=tuple(segments),
        steps=tuple(steps),
        breaks=tuple(breaks),
        left_out=left_out,
    )


def _breaks(runs: Sequence[Run], points: Sequence[Point]) -> list[Break]:
    found = []
    for k in range(1, len(runs)):
        differing = differences(runs[k - 1], runs[k])
        if differing:
            found.append(Break(k, points[k].started_at, told(differing)))
    return found


def _outcome(runs: int, change: Interval | None, tolerance: float) -> Outcome:
    if change is None:
        return "steady" if runs >= MIN_RUNS else "too few"
    found = classify(change, tolerance)
    return found if found in ("regressed", "improved") else "shifted"


class _Stretch:
    """The points from `begin` to `end` that were measured alike, cut into levels."""

    def __init__(self, points: Sequence[Point], begin: int, end: int, alpha: float) -> None:
        self._points, self._begin, self._end = points, begin, end
        logs = [math.log(point.latency_ns) for point in points[begin:end]]
        cuts = [0, *find_steps(logs, alpha), len(logs)]
        self._edges = [begin + cut for cut in cuts]
        self._levels = [logs[a:b] for a, b in pairwise(cuts)]
        self._means = [math.fsum(level) / len(level) for level in self._levels]
        self._freedom = len(logs) - len(self._levels)
        squares = math.fsum((x - m) ** 2 for level, m in zip(self._levels, self._means, strict=True) for x in level)
        self._deviation = math.sqrt(squares / self._freedom) if self._freedom else math.nan

    def segments(self) -> list[Segment]:
        """The levels."""
        found = []
        for k, (mean, level) in enumerate(zip(self._means, self._levels, strict=True)):
            first, last = self._edges[k], self._edges[k + 1] - 1
            reach = self._reach(1 / len(level)) if self._freedom else None
            found.append(
                Segment(
                    first,
                    last,
                    self._points[first].started_at,
                    self._points[last].started_at,
                    math.exp(mean),
                    None if reach is None else math.exp(mean - reach),
                    None if reach is None else math.exp(mean + reach),
                )
            )
        return found

    def steps(self) -> list[Step]:
        """The changes between the levels."""
        found = []
        for k in range(1, len(self._levels)):
            before, after = self._points[self._edges[k] - 1], self._points[self._edges[k]]
            changed = [("artifact", before.artifact != after.artifact)]
            changed += [("runner", before.runner_sha256 != after.runner_sha256)]
            found.append(
                Step(
                    self._edges[k],
                    after.started_at,
                    after.revision,
                    self._ratio(k - 1, k),
                    tuple(name for name, differs in changed if differs),
                )
            )
        return found

    def change(self) -> tuple[Interval | None, str]:
        """The newest step together with those before it that went the same way, and when the first of them was."""
        newest = len(self._levels) - 1
        if newest < 1:
            return None, ""
        slower = self._means[newest] > self._means[newest - 1]
        begin = newest - 1
        while begin and (self._means[begin] > self._means[begin - 1]) == slower:
            begin -= 1
        return self._ratio(begin, newest), self._points[self._edges[begin + 1]].started_at

    def _ratio(self, a: int, b: int) -> Interval:
        mean = self._means[b] - self._means[a]
        reach = self._reach(1 / len(self._levels[a]) + 1 / len(self._levels[b]))
        return Interval(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach), CONFIDENCE, "pooled")

    def _reach(self, share: float) -> float:
        return student(CONFIDENCE, self._freedom) * self._deviation * math.sqrt(share)
