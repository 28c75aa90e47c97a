"""What a terminal shows: tables, progress, errors. Results go to standard output, all else to standard error.

A table that does not fit a terminal first loses its less important columns, which is said, and becomes `name: value`
lines where even the rest is too wide. Piped, it has all columns, no frame, no colour and no cut-off cells.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from edgekit import units
from edgekit.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgekit.errors import EdgeKitError

PIPED_WIDTH = 1000
decibel, duration, metric, size = units.decibel, units.duration, units.metric, units.size

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")


def console() -> Console:
    """For results, on standard output."""
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    return Console(width=width, highlight=False, soft_wrap=not sys.stdout.isatty())


def log() -> Console:
    """For progress and remarks, on standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_json(command: str, **fields: Any) -> None:
    """The one document of `--json`."""
    document = msgspec.to_builtins({"schema": 1, "command": command, **fields}, str_keys=True, enc_hook=str)
    click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())


def print_error(error: EdgeKitError, *, as_json: bool) -> None:
    """One paragraph on standard error; with `--json` the same as a document on standard output."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"schema": 1, **error.as_dict()})).decode())
        return
    text = Text.assemble(("Error: ", "bold red"), error.what, " " if error.remedy else "", (error.remedy, "cyan"))
    log().print(text)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: str = "", droppable: str = "",
    titled: bool = False,
) -> None:  # fmt: skip
    """Prints a table.

    Args:
        title: above the table, left out when piped unless `titled`: one of several tables needs its name.
        columns: their headings.
        rows: one string or rich Text a cell.
        right: headings of right-aligned columns, separated by "|".
        droppable: headings of columns that a narrow terminal may do without, the least important first.
    """
    out = console()
    cells = [[cell if isinstance(cell, Text) else Text(printable(str(cell))) for cell in row] for row in rows]
    if titled and not sys.stdout.isatty():
        out.print(Text(f"\n{title}"))
    dropped: list[str] = []
    for candidate in ["", *droppable.split("|")]:
        if candidate:
            dropped.append(candidate)
        kept = [i for i, column in enumerate(columns) if column not in dropped]
        table = _table(title, [columns[i] for i in kept], [[row[i] for i in kept] for row in cells], right.split("|"))
        if Measurement.get(out, out.options.update(width=PIPED_WIDTH), table).maximum <= out.width:
            out.print(table)
            if dropped:
                out.print(f"not shown here for want of width: {', '.join(dropped)}", style="dim")
            return
    out.print(Text(title, style="bold"))
    for row in cells:
        for column, cell in zip(columns, row, strict=True):
            out.print(Text.assemble((f"  {column}: " if column else "  ", "dim"), cell))
        out.print()


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Text]], right: Sequence[str]) -> Table:
    is_terminal = sys.stdout.isatty()
    table = Table(
        title=title if is_terminal else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if is_terminal else None,
        border_style="dim",
        header_style="bold",
        pad_edge=False,
    )
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def stage_progress() -> Progress:
    """A spinner and a line per step."""
    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        TextColumn("[dim]{task.fields[stage]}"),
        TimeElapsedColumn(),
        console=log(),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def transfer_progress() -> Progress:
    """A bar with rate and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=False),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=log(),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
