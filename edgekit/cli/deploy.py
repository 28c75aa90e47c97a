"""`edgekit deploy`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import output
from edgekit.cli.options import locked, targets_option, wait_option
from edgekit.cli.output import json_option


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

    found = open_artifact(artifact)
    total = sum(entry.bytes for entry in found.shipped_files())
    with (
        connect(load_target(target, folder)) as device,
        locked(device, "deploy", wait_s),
        output.transfer_progress() as progress,
    ):
        task = progress.add_task(f"{found.title} → {device.target.name}", total=total)
        result = deploy(device, found, on_bytes=lambda count: progress.advance(task, count))
    if as_json:
        output.print_json("deploy", target=device.target.name, deployment=result)
        return
    sent = "nothing to send: it was there, whole" if result.already_there else f"sent {output.size(result.sent_bytes)}"
    previous = f"; before: {result.previous_id[:12]}" if result.previous_id else ""
    current = f"{found.title} ({found.short_id}) is current on {device.target.name}"
    output.console().print(f"[green]✓[/] {current}: {sent}, {result.seconds:.2f} s{previous}")
