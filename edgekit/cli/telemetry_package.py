"""`edgekit telemetry package`: the reporter alone, as a wheel or as one file."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.output import json_option


@click.command("package")
@click.option(
    "--wheel", "wheel_folder", type=click.Path(path_type=Path, file_okay=False), help="A wheel, into this folder."
)
@click.option(
    "--zipapp", "zipapp_file", type=click.Path(path_type=Path, dir_okay=False), help="One file that Python runs."
)
@json_option
def command(wheel_folder: Path | None, zipapp_file: Path | None, *, as_json: bool) -> None:
    """Pack the reporter for devices that have Python 3.8 or newer, and no EdgeKit.

    \b
    edgekit telemetry package --wheel dist          pip install dist/edgekit_reporter-*.whl
    edgekit telemetry package --zipapp report.pyz   PYTHONPATH=report.pyz; python3 report.pyz flush STATE
    """
    from edgekit.cli import output
    from edgekit.telemetry.packaging import wheel, zipapp

    if wheel_folder is None and zipapp_file is None:
        raise click.UsageError("Say --wheel DIR, --zipapp FILE, or both.")
    made = {
        "wheel": wheel(wheel_folder) if wheel_folder else None,
        "zipapp": zipapp(zipapp_file) if zipapp_file else None,
    }
    if as_json:
        output.print_json("telemetry package", **{name: str(path) if path else None for name, path in made.items()})
        return
    for path in made.values():
        if path is not None:
            click.echo(f"{path} ({path.stat().st_size / 1024:.0f} KiB)")
