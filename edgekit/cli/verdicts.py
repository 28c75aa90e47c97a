"""How verdicts are shown: one table, and under it what was not conclusive and why. (No command of its own.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from edgekit.cli import output
from edgekit.cli.sparkline import reach, reach_axis
from edgekit.errors import EXIT_FAILED_CHECK, EXIT_INCONCLUSIVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.compare import Comparison
    from edgekit.bench.verdict import Verdict

_STYLES = {
    "regressed": "bold red",
    "improved": "bold green",
    "equivalent": "green",
    "inconclusive": "yellow",
    "incomparable": "magenta",
}


def exit_status(verdicts: Sequence[Verdict]) -> int:
    """3 if anything regressed, 4 if anything may have, else 0: between improved and equivalent nothing regressed."""
    from edgekit.bench.verdict import is_open

    if any(verdict.outcome == "regressed" for verdict in verdicts):
        return EXIT_FAILED_CHECK
    return EXIT_INCONCLUSIVE if any(map(is_open, verdicts)) else 0


def print_comparisons(title: str, comparisons: Sequence[Comparison]) -> None:
    """The table, and a line for each comparison that has something to say."""
    rows = [
        [
            f"{c.model} {c.recipe} ×{c.threads}",
            c.target,
            output.duration(c.baseline_ns),
            output.duration(c.candidate_ns),
            change(c.verdict),
            interval(c.verdict),
            reach(c.verdict),
            "–" if c.verdict.detectable is None else f"{c.verdict.detectable:.1%}",
            str(c.verdict.blocks),
            Text(c.verdict.outcome, _STYLES[c.verdict.outcome]),
        ]
        for c in comparisons
    ]
    axis = reach_axis(comparisons[0].verdict) if comparisons else "picture"
    columns = ["artifact", "on", "baseline", "candidate", "change", "interval", axis, "detectable", "blocks", "verdict"]
    right = "baseline|candidate|change|interval|detectable|blocks"
    output.print_table(title, columns, rows, right=right, droppable=f"detectable|blocks|{axis}|on")
    out = output.console()
    for c in comparisons:
        if c.verdict.because:
            out.print(Text.assemble((f"{c.model} {c.recipe}: ", "bold"), c.verdict.because))
    levels = {c.verdict.interval.confidence for c in comparisons if c.verdict.interval}
    if levels:
        told = f"{min(levels):.4g}" if len(levels) == 1 else f"{min(levels):.4g} to {max(levels):.4g} (Holm's method)"
        tolerance = comparisons[0].verdict.tolerance
        out.print(
            f"[dim]medians of block medians; intervals at {told}; up to ±{tolerance:.1%} counts as equivalent; "
            "detectable: the slow-down that 95 of 100 such comparisons would call a regression[/]"
        )


def change(verdict: Verdict) -> str:
    """The effect in percent: `+5.2 %` is slower."""
    return "–" if verdict.interval is None else f"{verdict.interval.ratio - 1:+.1%}".replace("%", " %")


def interval(verdict: Verdict) -> str:
    """The effect's interval in percent."""
    if verdict.interval is None:
        return "–"
    return f"{verdict.interval.low - 1:+.1%} to {verdict.interval.high - 1:+.1%}".replace("%", " %")
