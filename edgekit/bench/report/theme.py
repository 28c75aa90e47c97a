"""Colours of plots: in a page they follow the reader's light or dark scheme, in a file they are fixed.

Matplotlib wants colours when a figure is drawn, and a page knows them only when it is looked at. So figures are drawn
in colours that mean roles, and an SVG for a page has each of them replaced by the page's variable for that role.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

INK, FAINT, GRID = "#1b1f24", "#6a737d", "#d9dee3"
SERIES = ("#0a6ebd", "#c8511b", "#2c8a4b", "#8a4fbf", "#b5870d", "#c2417c", "#0f8b8d", "#7a5c3e")
"""By number of a run: blue, orange, green, violet, ochre, rose, teal, brown; told apart by shape and label as well."""

_ROLES = {INK: "var(--ink)", FAINT: "var(--faint)", GRID: "var(--grid)"}
_ROLES |= {colour: f"var(--series-{number})" for number, colour in enumerate(SERIES)}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgekit",  # the same data give the same file
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def series(number: int) -> str:
    """The colour of the run of that number; they repeat after eight."""
    return SERIES[number % len(SERIES)]


def to_svg(figure: Figure, label: str) -> str:
    """An SVG element for a page: in its colours, with text as text; `label` is read to those who cannot see it."""
    import matplotlib as mpl

    written = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, role in _ROLES.items():
        svg = svg.replace(colour, role)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px; font-family: inherit", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{_attribute(label)}" ', 1)


def to_file(figure: Figure, path: Path) -> None:
    """Writes a figure as `.svg` or `.png`, on white.

    Raises:
        StorageError: it cannot be written.
    """
    import matplotlib as mpl

    from edgekit.files import write_file

    written = io.BytesIO()
    kind = path.suffix.removeprefix(".")
    with mpl.rc_context(STYLE):
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(written, format=kind, dpi=200, facecolor="white", metadata=metadata)
    write_file(path, written.getvalue())


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
