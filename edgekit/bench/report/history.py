"""Histories in a report: which are told of, and their plots."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edgekit.bench.history import MIN_RUNS
from edgekit.bench.report.figures import Plot, figure_of, styled, unit_of
from edgekit.bench.report.theme import FAINT, INK, series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.history import Series

MOST_PLOTS = 12
"""A page of forty series shows those that changed; all of them are in its table."""


def told_of(found: Sequence[Series]) -> list[Series]:
    """The series that have enough runs for a history, those that changed first."""
    order = ("regressed", "improved", "shifted", "steady")
    return sorted((one for one in found if one.outcome in order), key=lambda one: order.index(one.outcome))


def history_plots(found: Sequence[Series]) -> list[Plot]:
    """A plot for each series, for the first `MOST_PLOTS`."""
    return [styled(partial(_plot, one, number)) for number, one in enumerate(found[:MOST_PLOTS])]


def _plot(one: Series, number: int) -> Plot:
    figure = figure_of(2.4)
    axes = figure.subplots()
    unit, ns = unit_of(max(point.high_ns for point in one.points))
    at = range(len(one.points))
    colour = series(number)
    axes.vlines(at, [p.low_ns / ns for p in one.points], [p.high_ns / ns for p in one.points], color=colour, alpha=0.35)
    axes.plot(at, [point.latency_ns / ns for point in one.points], "o", ms=3, color=colour)
    for segment in one.segments:
        axes.plot([segment.first - 0.4, segment.last + 0.4], [segment.latency_ns / ns] * 2, color=INK, lw=1.2)
    for step in one.steps:
        axes.axvline(step.at - 0.5, color=FAINT, lw=0.8, ls=":")
        told, top = f"{step.interval.ratio - 1:+.1%}".replace("%", " %"), (step.at - 0.5, 1)
        axes.annotate(told, top, xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8, color=INK)
    for found in one.breaks:
        axes.axvline(found.at - 0.5, color=FAINT, lw=1.4)
    ticks = sorted({round(k * (len(one.points) - 1) / 5) for k in range(6)})
    axes.set_xticks(ticks, [one.points[k].started_at[:10] for k in ticks])
    axes.set_ylabel(f"latency, {unit}")
    name = f"{one.model} {one.recipe} ×{one.threads} on {one.target}"
    says = (
        "A point is a run, the line through it reaches from its fastest to its slowest process; horizontal lines are "
        f"levels, dotted ones steps{', solid ones where runs were not measured alike' if one.breaks else ''}. A level "
        f"can change only where the order of the runs says so; {MIN_RUNS} runs are the least."
    )
    return Plot(f"{one.model}-{one.recipe.slug}-{one.threads}-{one.target}-history", f"{name}: history", says, figure)
