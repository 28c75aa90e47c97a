"""`edgekit deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli import output
from edgekit.cli.options import locked, targets_option, wait_option
from edgekit.cli.output import json_option

if TYPE_CHECKING:
    from edgekit.deploy import Deployment


@click.command("deploy")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, metavar="TARGET", help="A name in the targets folder, or a .toml file.")
@targets_option
@wait_option
@json_option
def command(artifact: Path, target: str, folder: Path, wait_s: float, *, as_json: bool) -> None:
    """Put ARTIFACT on a target, checked there by sha256, and make it the current one of its model."""
    from edgekit.artifact import open_artifact
    from edgekit.deploy import deploy
    from edgekit.devices import connect, load_target
    from edgekit.devices.upload import Progress

    found = open_artifact(artifact)
    with (
        connect(load_target(target, folder)) as device,
        locked(device, "deploy", wait_s),
        output.transfer_progress() as bar,
    ):
        task = bar.add_task(f"{found.title} → {device.target.name}", total=None)
        progress = Progress(
            on_bytes=lambda count: bar.advance(task, count),
            on_plan=lambda plan: bar.reset(task, total=plan.new_bytes),
        )
        result = deploy(device, found, progress)
    if as_json:
        output.print_json("deploy", target=device.target.name, deployment=result)
        return
    previous = f"; before: {result.previous_id[:12]}" if result.previous_id else ""
    current = f"{found.title} ({found.short_id}) is current on {device.target.name}"
    output.console().print(f"[green]✓[/] {current}: {_moved(result)}, {result.seconds:.2f} s{previous}")


def _moved(result: Deployment) -> str:
    """What the deployment cost the link, in words."""
    if result.already_there:
        return "nothing to send: it was there, whole"
    parts = [f"sent {output.size(result.sent_bytes)}{', compressed' if result.compressed else ''}"]
    if result.resumed_bytes:
        parts.append(f"went on after {output.size(result.resumed_bytes)} of a cut upload")
    if result.reused_bytes:
        parts.append(f"took {output.size(result.reused_bytes)} from artifacts there")
    return ", ".join(parts)
