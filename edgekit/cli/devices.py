"""`edgekit devices`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from edgekit.cli import output
from edgekit.cli.options import targets_option
from edgekit.cli.output import json_option


@click.command("devices")
@targets_option
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Seconds to wait for all of them together.",
)
@json_option
def command(folder: Path, deadline_s: float, *, as_json: bool) -> None:  # fmt: skip
    """List the project's targets, and which of them answer."""
    from edgekit.devices.survey import survey

    found = survey(folder, deadline_s=deadline_s)
    if as_json:
        output.print_json("devices", targets=found)
        return
    style = {"reachable": "green", "unreachable": "red", "invalid": "bold red"}
    rows = [[s.name, s.address, Text(s.state, style[s.state]), s.what] for s in found]
    output.print_table("targets", ["target", "where", "state", ""], rows)
