"""`edgekit provision`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import output
from edgekit.cli.options import locked, targets_option, wait_option
from edgekit.cli.output import json_option


@click.command("provision")
@click.argument("target")
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME",
    help="litert, onnxruntime, tvm, ...; repeatable.  [default: litert, or none with --for]",
)
@click.option("--for", "purposes", multiple=True, type=click.Choice(["releases"]),
              help="What a device needs to pull signed releases: the package tuf.")  # fmt: skip
@click.option("--native", is_flag=True, help="Libraries for the native runner alone, even where there is a Python.")
@click.option("--remove", "removes", is_flag=True, help="Take away what this command brought, and nothing else.")
@click.option(
    "--offline-cache",
    "offline",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of wheels (and Debian's packages of a glibc) instead of the package index.",
)
@targets_option
@wait_option
@json_option
def command(
    target: str,
    runtimes: tuple[str, ...],
    purposes: tuple[str, ...],
    native: bool,
    removes: bool,
    offline: Path | None,
    folder: Path,
    wait_s: float,
    *,
    as_json: bool,
) -> None:
    """Give TARGET the runtimes it needs, without internet there: fetched and checked here, verified there.

    They go into a folder of EdgeKit's own, which the runner puts before the device's own packages. A second call
    moves nothing. One with another --runtime, or with --for, adds it.
    """
    from edgekit.devices import connect, load_target
    from edgekit.devices.environment import provision, remove
    from edgekit.devices.progress import Progress

    if removes and (runtimes or purposes or offline or native):
        raise click.UsageError("--remove takes everything away, and goes with none of the options that bring something")
    found = load_target(target, folder)
    with connect(found) as device, locked(device, "provision", wait_s):
        if removes:
            removed = remove(device)
            if as_json:
                output.print_json("provision", target=found.name, removed=removed)
            else:
                said = "its environment was removed" if removed else "there was no environment to remove"
                output.console().print(f"[green]✓[/] {found.name}: {said}")
            return
        with output.transfer_progress() as bar:
            task = bar.add_task(f"environment → {found.name}", total=None)
            result = provision(
                device,
                (*runtimes, *purposes) or ("litert",),
                offline=offline,
                libraries_only=native,
                on_stage=lambda stage: bar.update(task, description=f"{found.name}: {stage}"),
                progress=Progress(
                    on_bytes=lambda count: bar.advance(task, count),
                    on_plan=lambda plan: bar.reset(task, total=plan.new_bytes),
                ),
            )
    if as_json:
        output.print_json("provision", target=found.name, environment=result)
        return
    rows = [[p.name, p.version, "all" if p.whole else "libraries", p.file] for p in result.packages]
    output.print_table(f"on {found.name}, for {result.platform.text}", ["package", "version", "taken", "file"], rows)
    sent = "nothing to send: it was there, whole" if result.already_there else f"sent {output.size(result.sent_bytes)}"
    output.console().print(
        f"[green]✓[/] {', '.join(result.runtimes)} on {found.name}: {sent}, {output.size(result.bytes)} there "
        f"(environment {result.id[:12]}; take it away with: edgekit provision {target} --remove)"
    )
