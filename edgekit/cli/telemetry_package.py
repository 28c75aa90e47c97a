"""`edgekit telemetry package`: the reporter alone, as a wheel, as one file, or on a device."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.options import locked, targets_option, wait_option
from edgekit.cli.output import json_option


@click.command("package")
@click.option(
    "--wheel", "wheel_folder", type=click.Path(path_type=Path, file_okay=False), help="A wheel, into this folder."
)
@click.option(
    "--zipapp", "zipapp_file", type=click.Path(path_type=Path, dir_okay=False), help="One file that Python runs."
)
@click.option("--to", "target", metavar="TARGET", help="One file on this device, beside edgekit-device.")
@targets_option
@wait_option
@json_option
def command(
    wheel_folder: Path | None, zipapp_file: Path | None, target: str | None, folder: Path, wait_s: float,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Pack the reporter for devices that have Python 3.8 or newer, and no EdgeKit.

    \b
    edgekit telemetry package --wheel dist          pip install dist/edgekit_reporter-*.whl
    edgekit telemetry package --zipapp report.pyz   PYTHONPATH=report.pyz; python3 report.pyz flush STATE
    edgekit telemetry package --to pi               PYTHONPATH=~/.edgekit/bin/edgekit-report.pyz, there
    """
    from edgekit.cli import output
    from edgekit.telemetry.packaging import wheel, zipapp

    if wheel_folder is None and zipapp_file is None and target is None:
        raise click.UsageError("Say --wheel DIR, --zipapp FILE, --to TARGET, or several.")
    made = {
        "wheel": wheel(wheel_folder) if wheel_folder else None,
        "zipapp": zipapp(zipapp_file) if zipapp_file else None,
    }
    placed = None if target is None else _place(target, folder, wait_s)
    if as_json:
        paths = {name: str(path) if path else None for name, path in made.items()}
        output.print_json("telemetry package", **paths, placed=placed)
        return
    for path in made.values():
        if path is not None:
            click.echo(f"{path} ({path.stat().st_size / 1024:.0f} KiB)")
    if placed is not None:
        output.console().print(f"[green]✓[/] the reporter is on {target}: {placed}", soft_wrap=True)


def _place(target: str, folder: Path, wait_s: float) -> str:
    from edgekit.devices import connect, load_target
    from edgekit.workflows.reporting import place_reporter

    with connect(load_target(target, folder)) as device, locked(device, "telemetry package", wait_s):
        return place_reporter(device)
