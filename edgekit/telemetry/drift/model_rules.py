"""Rules that concern a model as a whole: volume, errors, windows that no reference of ours explains."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from edgekit.telemetry.drift.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.telemetry.store import ModelRow, Totals

FALLEN_TO = 0.2
"""Of the inferences that spans before had, in the median; it takes `FEWEST_SPANS` of them to know."""
FEWEST_SPANS = 3
FAILED_MORE = 0.05


def model_rules(
    whole: Totals, history: Sequence[Totals], since: int, history_s: int, span_s: int, n_min: int
) -> tuple[Broken, ...]:
    """Volume and errors.

    Args:
        whole: the judged span.
        history: steps of the time before it.
        since: when the span begins.
        history_s, span_s: how long the time before, and the span are.
        n_min: inferences below which nothing is said.
    """
    broken = []
    seen = []
    for back in range(history_s // span_s):
        end = since - back * span_s
        n = sum(step.inferences for step in history if end - span_s <= step.start_s < end)
        seen += [n] if n else []
    usual = median(seen) if len(seen) >= FEWEST_SPANS else 0
    if usual >= n_min and whole.inferences < FALLEN_TO * usual:
        told = f"{whole.inferences} inferences, where spans before had {usual:.0f}"
        broken.append(Broken("volume", whole.inferences / usual, FALLEN_TO, told))
    if whole.inferences >= n_min:
        before = sum(step.inferences for step in history)
        expected = sum(step.errors for step in history) / before if before else 0.0
        failed = whole.errors / whole.inferences
        if failed > expected + FAILED_MORE:
            told = f"{failed:.1%} of the calls failed, where {expected:.1%} did before"
            broken.append(Broken("errors", failed, expected + FAILED_MORE, told))
    return tuple(broken)


def waiting_windows(rows: Sequence[ModelRow]) -> tuple[Broken, ...]:
    """Windows that wait for a reference that is not registered."""
    waiting = [row for row in rows if not row.known and row.pending]
    if not waiting:
        return ()
    windows = sum(row.pending for row in waiting)
    told = f"{windows} windows name a reference that is not registered ({waiting[0].reference[:12]})"
    return (Broken("reference", float(windows), 0.0, told),)
