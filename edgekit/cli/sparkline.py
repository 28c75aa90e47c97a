"""Pictures of one line for tables: levels over time, distributions, intervals. Plain characters, no colour.

(No command of its own.)
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.run import Run
    from edgekit.bench.verdict import Verdict

_HEIGHTS = "▁▂▃▄▅▆▇█"
_LEAST_SPAN = 0.05
"""A series is drawn over at least this share of its middle: noise of a thousandth shall not look like cliffs."""
_SHOWN = 0.98
"""The share of samples that a distribution reaches to, as in the report's plot."""


def trend(values: Sequence[float], width: int = 20) -> str:
    """Levels over time, the oldest first; of more than `width` values the medians of neighbours. Positive values."""
    from edgekit.bench.compare import middle

    if not values:
        return ""
    count = min(width, len(values))
    edges = [k * len(values) // count for k in range(count + 1)]
    drawn = [middle(list(values[a:b])) for a, b in pairwise(edges)]
    low, high = min(drawn), max(drawn)
    span = max(high - low, _LEAST_SPAN * middle(drawn))
    floor = (low + high - span) / 2
    return "".join(_bar((value - floor) / span) for value in drawn)


def distribution(run: Run, width: int = 14) -> str:
    """All latencies of a run as a histogram, from the fastest to the 98th percentile."""
    import numpy as np

    samples = np.concatenate([block.samples.unpack() for block in run.blocks])
    low, high = float(samples.min()), float(np.quantile(samples, _SHOWN))
    counts, _ = np.histogram(samples, bins=width, range=(low, high if high > low else low + 1))
    most = max(1, int(counts.max()))
    return "".join(_bar(count / most) if count else " " for count in counts.tolist())


def reach(verdict: Verdict, width: int = 17) -> str:
    """Where the interval of a ratio lies: ─ the interval, ● the ratio, │ no change, ┊ the edges of the tolerance.

    The picture shows three tolerances to each side; what lies beyond is drawn at its end as an arrow.
    """
    found = verdict.interval
    if found is None:
        return ""
    span, centre = 3 * verdict.tolerance, width // 2

    def place(ratio: float) -> int:
        return round(centre + centre * (ratio - 1) / span)

    cells = [" "] * width
    low, high = place(found.low), place(found.high)
    for k in range(max(0, low), min(width - 1, high) + 1):
        cells[k] = "─"
    marks = {place(1 - verdict.tolerance): "┊", centre: "│", place(1 + verdict.tolerance): "┊", place(found.ratio): "●"}
    for k, mark in marks.items():
        cells[min(max(k, 0), width - 1)] = mark
    if low < 0:
        cells[0] = "◂"
    if high >= width:
        cells[-1] = "▸"
    return "".join(cells)


def reach_axis(verdict: Verdict, width: int = 17) -> str:
    """The heading of a column of `reach`: the changes that its two ends stand for."""
    end = f"{3 * verdict.tolerance:.0%}".replace("%", " %")
    return f"-{end}".ljust(width - len(end) - 1) + f"+{end}"


def _bar(share: float) -> str:
    return _HEIGHTS[min(len(_HEIGHTS) - 1, max(0, int(share * len(_HEIGHTS))))]
