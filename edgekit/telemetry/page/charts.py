"""Charts as SVG: a line over time with its threshold, and two distributions over one axis.

Colours are classes that the page's style sheet has for light and dark. A chart has a title and a description for screen
readers; the same numbers stand in a table on the page.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def trend(values: Sequence[float | None], limits: Sequence[float | None], *, title: str) -> str:
    """A small line over time, without axes: for a cell of a table.

    Args:
        values: one a step; None where there is nothing to tell.
        limits: the threshold of each step.
        title: what it shows, in words.
    """
    return _lines(values, limits, width=160, height=28, title=title, labels=None)


def timeline(
    values: Sequence[float | None], limits: Sequence[float | None], labels: Sequence[str], *, title: str
) -> str:
    """The same, large, with the scale at its left and the first and last label below."""
    return _lines(values, limits, width=880, height=200, title=title, labels=labels)


def _lines(
    values: Sequence[float | None],
    limits: Sequence[float | None],
    *,
    width: int,
    height: int,
    title: str,
    labels: Sequence[str] | None,
) -> str:
    left, bottom, top = (44, 20, 8) if labels else (1, 2, 2)
    known = [v for v in (*values, *limits) if v is not None]
    largest = max([*known, 1e-9]) * 1.05
    step = (width - left - 6) / max(1, len(values) - 1)

    def point(index: int, value: float) -> str:
        return f"{left + index * step:.1f},{top + (height - top - bottom) * (1 - value / largest):.1f}"

    parts = [_open(width, height, title)]
    if labels:
        for mark in (0.0, largest / 2, largest):
            y = top + (height - top - bottom) * (1 - mark / largest)
            parts.append(f'<line class="grid" x1="{left}" x2="{width - 6}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="label" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{mark:.2g}</text>')
        parts.append(f'<text class="label" x="{left}" y="{height - 4}">{escape(labels[0])}</text>')
        parts.append(
            f'<text class="label" x="{width - 6}" y="{height - 4}" text-anchor="end">{escape(labels[-1])}</text>'
        )
    for name, series in (("limit", limits), ("value", values)):
        for run in _runs(series):
            drawn = " ".join(point(index, value) for index, value in run)
            parts.append(f'<polyline class="{name}" points="{drawn}"/>' if len(run) > 1 else "")
    for index, (value, limit) in enumerate(zip(values, limits, strict=True)):
        if value is not None and limit is not None and value > limit:
            across, down = point(index, value).split(",")
            parts.append(f'<circle class="over" cx="{across}" cy="{down}" r="{3.5 if labels else 2}"/>')
    return "".join([*parts, "</svg>"])


def _runs(series: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """The stretches without a gap."""
    runs: list[list[tuple[int, float]]] = [[]]
    for index, value in enumerate(series):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((index, value))
    return [run for run in runs if run]


def pair(reference: Sequence[float], window: Sequence[float], labels: Sequence[str], *, title: str) -> str:
    """Two distributions over the same parts: the reference upwards, the window as a line of steps over it.

    Args:
        reference, window: a share or a density a part.
        labels: what each part is.
        title: what it shows, in words.
    """
    width, height, left, bottom, top = 880, 240, 44, 36, 8
    largest = max([*reference, *window, 1e-12]) * 1.05
    each = (width - left - 6) / max(1, len(labels))
    scale = (height - top - bottom) / largest
    base = height - bottom
    parts = [_open(width, height, title), f'<line class="grid" x1="{left}" x2="{width - 6}" y1="{base}" y2="{base}"/>']
    shown = max(1, len(labels) // 8)
    for index, (one, other, label) in enumerate(zip(reference, window, labels, strict=True)):
        x = left + index * each
        half = each * 0.42
        for name, value, offset in (("reference", one, 0.06), ("window", other, 0.52)):
            drawn = value * scale
            parts.append(
                f'<rect class="{name}" x="{x + offset * each:.1f}" y="{base - drawn:.1f}" width="{half:.1f}" '
                f'height="{drawn:.1f}"><title>{escape(label)}: {name} {value:.4g}</title></rect>'
            )
        if index % shown == 0:
            parts.append(f'<text class="label" x="{x:.1f}" y="{base + 14}">{escape(label)}</text>')
    return "".join([*parts, "</svg>"])


def _open(width: int, height: int, title: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}">'
