"""`edgekit status`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from edgekit.cli import output
from edgekit.cli.options import targets_option
from edgekit.cli.output import json_option
from edgekit.errors import EXIT_FAILED_CHECK


@click.command("status")
@click.argument("target")
@targets_option
@json_option
@click.pass_context
def command(ctx: click.Context, target: str, folder: Path, *, as_json: bool) -> None:
    """Show which artifacts TARGET has, which one of each model is current, and whether it is whole."""
    from edgekit.deploy import status
    from edgekit.devices import connect, load_target
    from edgekit.devices.lock import holder

    found_target = load_target(target, folder)
    with connect(found_target) as device:
        user = holder(device)
        models = status(device)
    if not as_json and user is not None:
        output.console().print(Text(f"{found_target.name} is {user.told}", "yellow"))
    if as_json:
        output.print_json("status", target=found_target.name, models=models, lock=user)
    elif not models:
        output.console().print(
            f"{found_target.name} has no artifacts yet. Put one there: edgekit deploy ARTIFACT --to {target}"
        )
    else:
        rows = [
            [m.model, m.title, m.current_id[:12] if m.current_id else "–", m.previous_id[:12] if m.previous_id else "–",
             output.size(m.payload_bytes), Text("whole", "green") if m.whole else Text("damaged", "bold red")]
            for m in models
        ]  # fmt: skip
        columns = ["model", "current", "id", "previous", "size", "sha256 there"]
        output.print_table(f"on {found_target.name}", columns, rows, right="size")
        for m in models:
            if m.fell_back_from is not None:
                why = next((e.detail for e in reversed(m.log) if e.kind == "fell-back"), "").partition(": ")[2]
                told = (
                    f"{m.model} fell back from {m.fell_back_from[:12]} on the device: {why or 'it does not say why'}."
                )
                output.console().print(Text(told, "yellow"))
            elif m.failures:
                last = next(e.detail for e in reversed(m.log) if e.kind == "failed")
                told = f"{m.model} failed {m.failures} times since it became current; the last time: {last}."
                output.console().print(Text(told, "yellow"))
    if any(not model.whole for model in models):
        ctx.exit(EXIT_FAILED_CHECK)
