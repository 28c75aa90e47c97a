"""`edgekit verify`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from edgekit.cli import output
from edgekit.cli.options import locked, runner_option, targets_option, wait_option, with_runner
from edgekit.cli.output import json_option
from edgekit.dimensions import told
from edgekit.errors import EXIT_FAILED_CHECK


@click.command("verify")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--on", "target", metavar="TARGET", help="A device to check it on.  [default: this machine]")
@targets_option
@wait_option
@runner_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    artifact: Path,
    target: str | None,
    folder: Path,
    wait_s: float,
    runner: str | None,
    *,
    as_json: bool,
) -> None:
    """Check the files of ARTIFACT, and its golden answers on this machine or on a device."""
    from edgekit.artifact import open_artifact
    from edgekit.bench.verify import verify
    from edgekit.devices import connect_runner, load_target

    found = open_artifact(artifact)
    if target is None:
        with connect_runner(with_runner(load_target("local"), runner)) as device:
            result = verify(device, found)
    else:
        with (
            connect_runner(with_runner(load_target(target, folder), runner)) as device,
            locked(device, f"verify {found.title}", wait_s),
        ):
            result = verify(device, found, push=True)
    if as_json:
        output.print_json("verify", artifact=found.id, result=result)
    else:
        rows = [
            [
                f"{o.output} at {told(sizes)}" if sizes else o.output,
                output.decibel(o.snr_db, exact=o.exact),
                "–" if o.max_abs_error is None else f"{o.max_abs_error:.2g}",
                Text("same", "green") if result.passed else Text("differs", "bold red"),
            ]
            for o, sizes in [
                *((o, {}) for o in result.outputs),
                *((o, size.sizes) for size in result.sizes for o in size.outputs),
            ]
        ]
        runtime = f"{result.package} {result.version or ''}".strip()
        where = f" on {target}" if target else ""
        title = f"{found.title}: {len(found.manifest.files)} files whole; golden answers with {runtime}{where}"
        output.print_table(title, ["output", "SNR", "max error", "answer"], rows, right="SNR|max error")
    if not result.passed:
        ctx.exit(EXIT_FAILED_CHECK)
