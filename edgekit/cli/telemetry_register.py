"""`edgekit telemetry register`: tell the collector what a model's windows are counted over."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.output import json_option
from edgekit.cli.telemetry_options import database_option


@click.command("register")
@click.argument("reference", type=click.Path(path_type=Path, exists=True))
@database_option
@json_option
def command(reference: Path, database: str, *, as_json: bool) -> None:
    """Register REFERENCE: a reference.json, or an artifact that has one.

    Windows that came before their reference was registered are kept, and added up now.
    """
    from edgekit.cli import output
    from edgekit.telemetry.collector.reading import open_store
    from edgekit.telemetry.collector.registry import read_reference

    read = read_reference(reference)
    merged = open_store(database).register(read)
    if as_json:
        output.print_json("telemetry register", model=read.model, reference=read.id, merged=merged)
    else:
        click.echo(f"registered {read.id[:12]} of {read.model}; {merged} windows had waited for it")
