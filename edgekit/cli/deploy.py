"""`edgekit deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli import output
from edgekit.cli.options import Duration, locked, runner_option, targets_option, wait_option, with_runner
from edgekit.cli.output import json_option

if TYPE_CHECKING:
    from edgekit.deploy import Deployment, Proof


@click.command("deploy")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, metavar="TARGET", help="A name in the targets folder, or a .toml file.")
@click.option(
    "--max-latency",
    "max_latency_s",
    type=Duration(),
    metavar="TIME",
    help="A bound on its p50 there with one thread, such as 15ms; above it, it does not become current.",
)
@click.option("--unproven", is_flag=True, help="Do not run its golden inputs there first.")
@targets_option
@wait_option
@runner_option
@json_option
def command(
    artifact: Path,
    target: str,
    max_latency_s: float | None,
    folder: Path,
    wait_s: float,
    runner: str | None,
    *,
    unproven: bool,
    as_json: bool,
) -> None:
    """Put ARTIFACT on a target, have it prove itself there, and make it the current one of its model.

    Every file is checked there by sha256, and the golden inputs must give the host's answers. Else what was current
    stays.
    """
    from edgekit.artifact import open_artifact
    from edgekit.deploy import deploy
    from edgekit.devices import connect, load_target
    from edgekit.devices.progress import Progress
    from edgekit.workflows.activate import deploy_proven

    if unproven and max_latency_s is not None:
        raise click.UsageError("--max-latency is part of the proof that --unproven leaves out.")

    found = open_artifact(artifact)
    with (
        connect(with_runner(load_target(target, folder), runner)) as device,
        locked(device, "deploy", wait_s),
        output.transfer_progress() as bar,
    ):
        task = bar.add_task(f"{found.title} → {device.target.name}", total=None)
        progress = Progress(
            on_bytes=lambda count: bar.advance(task, count),
            on_plan=lambda plan: bar.reset(task, total=plan.new_bytes),
        )
        if unproven:
            result = deploy(device, found, progress)
        else:
            bound = None if max_latency_s is None else max_latency_s * 1000
            result = deploy_proven(device, found, max_latency_ms=bound, progress=progress)
    if as_json:
        output.print_json("deploy", target=device.target.name, deployment=result)
        return
    previous = f"; before: {result.previous_id[:12]}" if result.previous_id else ""
    current = f"{found.title} ({found.short_id}) is current on {device.target.name}"
    output.console().print(f"[green]✓[/] {current}: {_moved(result)}, {result.seconds:.2f} s{previous}")
    if result.proof is not None:
        output.console().print(f"  {_proven(result.proof)}")


def _proven(proof: Proof) -> str:
    """What the artifact showed on the device, in words."""
    answers = "equal to the host's" if proof.snr_db is None else f"{proof.snr_db:.1f} dB to the host's"
    took = "" if proof.p50_ms is None else f", p50 {proof.p50_ms:.3g} ms"
    return f"proven there with {proof.package} {proof.version or ''}".strip() + f": golden answers {answers}{took}"


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
