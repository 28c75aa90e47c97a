"""`edgekit rollout`: bring an artifact to many devices in stages, and take it back if it fails there."""

from __future__ import annotations

import shlex
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli import output
from edgekit.cli.options import Duration, Share, targets_option
from edgekit.cli.output import json_option
from edgekit.cli.rollout_table import print_rollout, print_rollout_json, table
from edgekit.errors import EXIT_FAILED_CHECK, EXIT_INCONCLUSIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.artifact import Artifact
    from edgekit.deploy.rollout import Journal
    from edgekit.workflows.rollout_gates import Gate

_folder = click.option(
    "--rollouts", "rollouts", type=click.Path(path_type=Path, file_okay=False), default=Path("rollouts"),
    show_default=True, help="Folder with the rollouts' journals.",
)  # fmt: skip
_id = click.argument("rollout_id", metavar="ID")
_artifact = click.argument("artifact", type=click.Path(path_type=Path))


def _carrying(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that touches devices."""
    for option in (
        click.option("--workers", type=click.IntRange(1, 256), default=8, show_default=True, help="Devices at a time."),
        click.option("--gate", "gates", multiple=True, metavar="COMMAND",
                     help="A program that judges each stage: exit 0 or 4 goes on, others stop. Repeatable."),
        click.option("--max-latency", "max_latency_s", type=Duration(), metavar="TIME",
                     help="A bound on the p50 on each device, such as 15ms."),
        click.option("--unproven", is_flag=True, help="Do not run the golden inputs on each device."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group("rollout")
def command() -> None:
    """Bring an artifact to many devices in stages; stop, go on, take it back. Every one of them takes --json."""


@command.command("start")
@_artifact
@click.option("--to", "selectors", multiple=True, required=True, metavar="TARGET",
              help="A name, a file, or label=LABEL. Repeatable.")  # fmt: skip
@click.option("--stages", default="1%,10%,50%,100%", show_default=True,
              help="Rising shares of the fleet, or labels in order, such as canary,lab,rest.")  # fmt: skip
@click.option("--success", type=Share(), default="95%", show_default=True, help="Of the reached devices, to go on.")
@click.option("--error", type=Share(), default="10%", show_default=True, help="Of a stage's devices, to stop at once.")
@click.option("--on-error", type=click.Choice(["rollback", "pause"]), default="rollback", show_default=True)
@click.option("--soak", "soak_s", type=Duration(), default="0s", show_default=True, metavar="TIME",
              help="How long to watch a stage before it is judged.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Shuffles the devices.")
@_carrying
@_folder
@targets_option
@json_option
@click.pass_context
def start_command(
    ctx: click.Context, /, artifact: Path, selectors: tuple[str, ...], stages: str, success: float, error: float,
    on_error: Any, soak_s: float, seed: int, rollouts: Path, folder: Path, *, as_json: bool, **carrying: Any,
) -> None:  # fmt: skip
    """Begin to roll ARTIFACT out. Ctrl-C pauses it; a crash of this machine is gone on from by `resume`."""
    from edgekit.artifact import open_artifact
    from edgekit.deploy.rollout import Journal, make_plan
    from edgekit.devices.target import select_targets

    found = open_artifact(artifact)
    targets = select_targets(selectors, folder)
    created = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    names = [part.strip() for part in stages.split(",") if part.strip()]
    shares, groups = _stages(names, {target.name: target.labels for target in targets})
    plan = make_plan(
        f"{created}-{found.manifest.model}", model=found.manifest.model, artifact_id=found.id, title=found.title,
        created=created, devices=[target.name for target in targets], shares=shares, groups=groups, success=success,
        error=error, on_error=on_error, soak_s=soak_s, seed=seed,
    )  # fmt: skip
    journal = Journal.create(rollouts / plan.id, plan)
    _carry_out(ctx, journal, found, selectors, folder, as_json=as_json, **carrying)


@command.command("resume")
@_id
@_artifact
@click.option("--to", "selectors", multiple=True, required=True, metavar="TARGET", help="As it was begun.")
@_carrying
@_folder
@targets_option
@json_option
@click.pass_context
def resume_command(
    ctx: click.Context, /, rollout_id: str, artifact: Path, selectors: tuple[str, ...], rollouts: Path, folder: Path,
    *, as_json: bool, **carrying: Any,
) -> None:  # fmt: skip
    """Go on with the rollout ID, after a pause or a crash; devices that failed or were absent get another chance."""
    from edgekit.artifact import open_artifact
    from edgekit.deploy.rollout import Journal
    from edgekit.errors import RolloutError
    from edgekit.workflows.rollout import resume

    found, journal = open_artifact(artifact), Journal.open(rollouts / rollout_id)
    if found.id != journal.plan.artifact_id:
        raise RolloutError(
            f"The rollout {rollout_id} is of {journal.plan.title} ({journal.plan.artifact_id[:12]}), and {artifact} is "
            f"{found.short_id}.",
            remedy="Name the artifact that it was begun with, or begin another rollout.",
        )
    if journal.state.phase in ("paused", "finished"):
        resume(journal)
    _carry_out(ctx, journal, found, selectors, folder, as_json=as_json, **carrying)


@command.command("rollback")
@_id
@click.option("--to", "selectors", multiple=True, required=True, metavar="TARGET", help="As it was begun.")
@click.option("--workers", type=click.IntRange(1, 256), default=8, show_default=True, help="Devices at a time.")
@_folder
@targets_option
@json_option
@click.pass_context
def rollback_command(
    ctx: click.Context, rollout_id: str, selectors: tuple[str, ...], workers: int, rollouts: Path, folder: Path,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Take the rollout ID back from every device that it reached."""
    from edgekit.deploy.rollout import Journal
    from edgekit.workflows.rollout import begin_rollback

    journal = Journal.open(rollouts / rollout_id)
    begin_rollback(journal, "it was asked to")
    _carry_out(ctx, journal, None, selectors, folder, as_json=as_json, workers=workers)


@command.command("status")
@_id
@click.option("--watch", is_flag=True, help="Show it until it ends.")
@_folder
@json_option
def status_command(rollout_id: str, rollouts: Path, *, watch: bool, as_json: bool) -> None:
    """Show where the rollout ID is."""
    from edgekit.deploy.rollout import Journal

    journal = Journal.open(rollouts / rollout_id)
    if as_json:
        print_rollout_json("rollout status", journal, journal.state)
        return
    if not watch:
        print_rollout(journal, journal.state)
        return
    from rich.live import Live

    with Live(table(journal, journal.state), console=output.console(), refresh_per_second=2) as live:
        while journal.state.phase in ("running", "rolling-back"):
            time.sleep(0.5)
            journal = Journal.open(rollouts / rollout_id)
            live.update(table(journal, journal.state))


@command.command("list")
@_folder
@json_option
def list_command(rollouts: Path, *, as_json: bool) -> None:
    """List all rollouts, the newest first."""
    from edgekit.deploy.rollout import Journal

    found = [Journal.open(path.parent) for path in sorted(rollouts.glob("*/plan.json"), reverse=True)]
    if as_json:
        every = [{"id": one.plan.id, "title": one.plan.title, "phase": one.state.phase} for one in found]
        output.print_json("rollout list", rollouts=every)
        return
    rows = [[one.plan.id, one.plan.title, one.state.phase, str(len(one.plan.devices)), one.state.why] for one in found]
    output.print_table("rollouts", ["id", "artifact", "phase", "devices", "why"], rows, right="devices")


def _stages(
    names: Sequence[str], labels: dict[str, tuple[str, ...]]
) -> tuple[list[float], dict[str, list[str]] | None]:
    """Shares, or groups by the first of these labels that each target has."""
    if all(name.rstrip("%").replace(".", "", 1).isdigit() for name in names):
        return [float(name.rstrip("%")) / (100 if name.endswith("%") else 1) for name in names], None
    groups: dict[str, list[str]] = {name: [] for name in names}
    for target, its in labels.items():
        for name in names:
            if name in its:
                groups[name].append(target)
                break
    return [], groups


def _carry_out(
    ctx: click.Context, journal: Journal, artifact: Artifact | None, selectors: Sequence[str], folder: Path, *,
    as_json: bool, workers: int, gates: Sequence[str] = (), max_latency_s: float | None = None, unproven: bool = False,
) -> None:  # fmt: skip
    from edgekit.deploy import deploy
    from edgekit.devices import Device, connect
    from edgekit.devices.target import select_targets
    from edgekit.errors import RolloutError
    from edgekit.workflows.activate import deploy_proven
    from edgekit.workflows.rollout import carry_out
    from edgekit.workflows.rollout_gates import CommandGate, Fleet, HealthGate

    targets = {target.name: target for target in select_targets(selectors, folder)}
    if missing := [name for name in journal.plan.devices if name not in targets]:
        raise RolloutError(
            f"The rollout {journal.plan.id} has devices that are not named now: {', '.join(missing[:5])}.",
            remedy="Name the same targets with --to as when it was begun.",
        )

    def put(device: Device) -> object:
        assert artifact is not None, "a rollback deploys nothing"
        if unproven:
            return deploy(device, artifact)
        bound = None if max_latency_s is None else max_latency_s * 1000
        return deploy_proven(device, artifact, max_latency_ms=bound)

    stop = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    fleet = Fleet(lambda name: connect(targets[name]), put, workers=workers)
    health = HealthGate(fleet, journal.plan.model, journal.plan.artifact_id, journal.plan.error)
    every: list[Gate] = [health, *(CommandGate(shlex.split(gate)) for gate in gates)]
    try:
        if as_json or not output.log().is_terminal:
            state = carry_out(journal, fleet, every, stop=stop)
        else:
            from rich.live import Live

            with Live(table(journal, journal.state), console=output.log(), refresh_per_second=4) as live:
                state = carry_out(
                    journal, fleet, every, stop=stop, on_change=lambda now: live.update(table(journal, now))
                )
    finally:
        signal.signal(signal.SIGINT, before)
    if as_json:
        print_rollout_json("rollout", journal, state)
    else:
        print_rollout(journal, state)
    if state.phase in ("rolled-back", "rolling-back") and artifact is not None:
        ctx.exit(EXIT_FAILED_CHECK)
    if state.phase == "paused" or state.names("absent"):
        ctx.exit(EXIT_INCONCLUSIVE)
