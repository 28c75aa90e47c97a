"""`edgekit rollback`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import output
from edgekit.cli.options import locked, targets_option, wait_option
from edgekit.cli.output import json_option


@click.command("rollback")
@click.argument("model")
@click.option("--on", "target", required=True, metavar="TARGET", help="A name in the targets folder, or a .toml file.")
@targets_option
@wait_option
@json_option
def command(model: str, target: str, folder: Path, wait_s: float, *, as_json: bool) -> None:
    """Make the last good artifact of MODEL current again. What was current becomes the previous one."""
    from edgekit.deploy import rollback
    from edgekit.devices import connect, load_target

    found_target = load_target(target, folder)
    with connect(found_target) as device, locked(device, "rollback", wait_s):
        result = rollback(device, model)
    if as_json:
        output.print_json("rollback", target=found_target.name, deployment=result)
        return
    before = f" (was {result.previous_id[:12]})" if result.previous_id else ""
    output.console().print(f"[green]✓[/] {model} on {found_target.name} is back at {result.artifact_id[:12]}{before}")
