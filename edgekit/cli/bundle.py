"""`edgekit bundle`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import output
from edgekit.cli.output import json_option


@click.command("bundle")
@click.argument("artifacts", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--for", "kind", required=True, metavar="KIND", help="What the application is: android, c, ios, python, web."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to make; it must not exist.")
@click.option("--name", help="The bundle's name.  [default: the model's]")
@click.option("--option", "options", multiple=True, metavar="NAME[=VALUE]", help="An option of the kind. Repeatable.")
@json_option
def command(
    artifacts: tuple[Path, ...], kind: str, out: Path, name: str | None, options: tuple[str, ...], *, as_json: bool
) -> None:
    """Make of one model's ARTIFACTS a folder to drop into an application: the model, a typed wrapper, and its test.

    Several artifacts are variants of one model: the first is preferred, the last is the fallback.
    """
    from edgekit.artifact import open_artifact
    from edgekit.bundle import write_bundle

    given = {key: value for key, _, value in (option.partition("=") for option in options)}
    made = write_bundle([open_artifact(path) for path in artifacts], kind, out, name, given)
    if as_json:
        output.print_json("bundle", path=str(out), bundle=made)
        return
    count, total = len(made.files), sum(file.bytes for file in made.files)
    output.console().print(
        f"[green]✓[/] {out}: {made.name} for {made.kind}, {count} files, {output.size(total)}", highlight=False
    )
    for one in made.artifacts:
        output.console().print(f"  {one.role:<9} {one.recipe} ({one.id[:12]})", highlight=False)
