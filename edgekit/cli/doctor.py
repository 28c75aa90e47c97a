"""`edgekit doctor`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from edgekit.cli import output
from edgekit.cli.options import runner_option, targets_option, with_runner
from edgekit.cli.output import json_option
from edgekit.errors import EXIT_ERROR


@click.command("doctor")
@click.argument("target")
@runner_option
@targets_option
@json_option
@click.pass_context
def command(ctx: click.Context, target: str, runner: str | None, folder: Path, *, as_json: bool) -> None:
    """Tell what works on TARGET, what is missing, what will distort a measurement, and what to do."""
    from edgekit.bench.doctor import examine
    from edgekit.devices import connect_runner, load_target

    found_target = with_runner(load_target(target, folder), runner)
    with connect_runner(found_target) as device:
        if device.invitation is not None:
            click.echo(device.invitation, err=True)
        findings = examine(device)
    if as_json:
        output.print_json("doctor", target=found_target.name, findings=findings)
    else:
        marks = {"ok": Text("✓", "green"), "warning": Text("!", "yellow"), "missing": Text("✗", "bold red"),
                 "absent": Text("–", "dim")}  # fmt: skip
        rows = [[marks[f.level], f.subject, f.what, f.remedy] for f in findings]
        output.print_table(
            f"{found_target.name}: what an artifact will find there", ["", "subject", "found", "what to do"], rows
        )
    if any(finding.level == "missing" for finding in findings):
        ctx.exit(EXIT_ERROR)
