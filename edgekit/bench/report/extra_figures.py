"""The plots of extra runs: a sustained run against time, and what each operator costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.bench.report.theme import FAINT, INK, series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from edgekit.bench.run import Run

OPERATORS = 15
"""Bars of a profile; the rest is one bar more."""
_LONGEST = 42


def draw_sustained(
    runs: Sequence[Run], figure: Callable[[float], Figure], label: Callable[[Run], str], ns: float, unit: str
) -> tuple[Figure, str]:
    """Latency, temperature and frequency against time, one under the other; and what it shows in words.

    Args:
        runs: each with a sustained run that recorded something.
        figure: makes a figure of a height in inches.
        label: names a run.
        ns, unit: of latencies.
    """
    hot = any(value is not None for run in runs for value in _values(run, "temperature_c"))
    clocked = any(value is not None for run in runs for value in _values(run, "frequency_hz"))
    rows = ["latency", *(["°C"] if hot else []), *(["GHz"] if clocked else [])]
    made = figure(2.4 + 1.1 * (len(rows) - 1))
    heights = [2.4] + [1.1] * (len(rows) - 1)
    axes = made.subplots(len(rows), sharex=True, height_ratios=heights, squeeze=False)
    by_name: dict[str, Axes] = {name: axes[row][0] for row, name in enumerate(rows)}
    said = []
    for number, run in enumerate(runs):
        found = run.sustained
        assert found is not None
        colour = series(number)
        by_name["latency"].plot(
            found.seconds, [value / ns for value in found.p50_ns], color=colour, lw=1.1, label=label(run)
        )
        for name, field, scale in (("°C", "temperature_c", 1.0), ("GHz", "frequency_hz", 1e9)):
            if name in by_name:
                values = [float("nan") if value is None else value / scale for value in _values(run, field)]
                by_name[name].plot(found.seconds, values, color=colour, lw=1.1)
        for at in (found.window_s, found.seconds[-1] - found.window_s):
            by_name["latency"].axvline(at, color=FAINT, lw=0.6, ls=":")
        change = f"{found.ratio - 1:+.1%}" if found.ratio is not None else f"cut short: {found.because}"
        said.append(f"{label(run)}: {change}{'' if found.settled or not found.complete else ', not settled'}")
    by_name["latency"].set_ylabel(f"median, {unit}")
    by_name["latency"].set_ylim(bottom=0)
    for name in rows[1:]:
        by_name[name].set_ylabel(name)
    axes[-1][0].set_xlabel("seconds")
    if len(runs) > 1:
        made.legend(loc="outside upper left", fontsize=8, frameon=False, ncols=2)
    beside = " and ".join({"°C": "the hottest zone", "GHz": "the fastest core"}[name] for name in rows[1:])
    says = (
        f"The median of each second{', with ' + beside if beside else '; the devices told neither heat nor clocks'}. "
        f"The last window against the first, which end at the dotted lines: {'; '.join(said)}."
    )
    return made, says


def draw_profile(run: Run, figure: Callable[[float], Figure], ns: float, unit: str) -> tuple[Figure, str]:
    """Horizontal bars, the operator that takes most on top; and what they leave out in words."""
    found = run.profile
    assert found is not None
    top, rest = found.top(OPERATORS)
    names = [operator.name if len(operator.name) <= _LONGEST else operator.name[:_LONGEST] + "…" for operator in top]
    values = [operator.total_ns / ns for operator in top]
    if rest:
        names.append(f"{len(rest)} more")
        values.append(sum(operator.total_ns for operator in rest) / ns)
    made = figure(0.8 + 0.24 * len(names))
    axes = made.subplots()
    rows = [-row for row in range(len(names))]
    axes.barh(rows, values, height=0.66, color=[series(0)] * len(top) + [FAINT] * bool(rest), alpha=0.75, lw=0)
    for row, value in zip(rows, values, strict=True):
        share = value * ns / found.sum_ns if found.sum_ns else 0.0
        axes.annotate(f"{share:.1%}", (value, row), xytext=(4, 0), textcoords="offset points", va="center", color=INK)
    axes.set_yticks(rows, names)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.set_xlabel(f"of one inference, {unit}")
    accounted = f" They add up to {found.accounted:.0%} of an inference;" if found.accounted is not None else ""
    slower = f" profiling makes one {found.overhead:+.0%} slower." if found.overhead is not None else ""
    return made, f"{found.tool}, {found.invokes} inferences, apart from all that was timed.{accounted}{slower}"


def _values(run: Run, field: str) -> Sequence[float | None]:
    found: Sequence[float | None] = getattr(run.sustained, field)
    return found
