"""`edgekit devices`."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import click
from rich.text import Text

from edgekit.cli import output
from edgekit.cli.options import targets_option
from edgekit.cli.output import json_option
from edgekit.errors import EXIT_DONE


@click.command("devices")
@targets_option
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Seconds to wait for all of them together; one that does not even greet is given up after 1.5.",
)
@json_option
def command(folder: Path, deadline_s: float, *, as_json: bool) -> None:  # fmt: skip
    """List the project's targets, which answer, and who uses them; and what is attached over ADB without one."""
    from edgekit.devices.survey import survey

    found = survey(folder, deadline_s=deadline_s)
    if as_json:
        output.print_json("devices", targets=found)
        _leave()
        return
    style = {"reachable": "green", "unreachable": "red", "invalid": "bold red", "unclaimed": "yellow"}
    rows = [
        [one.name, one.address, Text(one.state, style[one.state]),
         "–" if one.answered_in_s is None else output.duration(one.answered_in_s * 1e9),
         one.what if one.lock is None else f"{one.lock.told}; {one.what}"]
        for one in found
    ]  # fmt: skip
    output.print_table("targets", ["target", "where", "state", "answered in", ""], rows, right="answered in")
    _leave()


def _leave() -> None:
    """Ends the program at once if a thread still waits for a device.

    The interpreter would end around that thread, and cryptography's clean-up crash under it.
    """
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_DONE)
