"""`edgekit gate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli import output
from edgekit.cli.options import locked, targets_option, tolerance_option, wait_option
from edgekit.cli.output import json_option

if TYPE_CHECKING:
    from edgekit.bench.aa_test import AATest
    from edgekit.bench.gate import Gated, Plan
    from edgekit.devices import Target
    from edgekit.errors import EdgeKitError


@click.command("gate")
@click.argument("candidate", type=click.Path(path_type=Path), metavar="ARTIFACT")
@click.option("--against", "baseline", required=True, type=click.Path(path_type=Path), metavar="ARTIFACT",
              help="The baseline, such as the artifact that is in production.")  # fmt: skip
@click.option("--on", "target", required=True, metavar="TARGET", help="A name in the targets folder, or a .toml file.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime.  [default: the target's]")
@click.option("--pairs", type=click.IntRange(min=3), default=10, show_default=True,
              help="Fresh processes of each artifact, measured in turn.")  # fmt: skip
@click.option("--max-pairs", type=click.IntRange(min=3), default=30, show_default=True,
              help="How far it may extend itself, once, where those leave it open.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="Of the order of measurement.  [default: drawn]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("bench_results"),
              show_default=True, help="Where both runs are kept.")  # fmt: skip
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write the verdict as JUnit XML.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write it for a pull request.")
@tolerance_option
@targets_option
@wait_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, candidate: Path, baseline: Path, target: str, threads: int | None, pairs: int, max_pairs: int,
    seed: int | None, out: Path, junit: Path | None, markdown: Path | None, tolerance: float, folder: Path,
    wait_s: float, *, as_json: bool,
) -> None:  # fmt: skip
    """Judge ARTIFACT against a baseline: both measured in turn on a device, for CI.

    Exit status 3 is a regression (or wrong answers), 4 is inconclusive: too much noise, or a device that is away, busy
    or lost half-way. It never hangs, and a missing device is never a regression.
    """
    from edgekit.artifact import open_artifact
    from edgekit.bench import ci
    from edgekit.bench.aa_test import latest_aa_test
    from edgekit.bench.gate import Plan
    from edgekit.bench.run import write_run
    from edgekit.cli.aa_tests import told_beside_a_verdict
    from edgekit.cli.verdicts import exit_status, print_comparisons
    from edgekit.devices import load_target
    from edgekit.errors import (
        EXIT_INCONCLUSIVE,
        ConnectionLostError,
        DeviceBusyError,
        RemoteTimeoutError,
        UnreachableDeviceError,
    )
    from edgekit.files import write_file

    a, b = open_artifact(baseline), open_artifact(candidate)
    device_target = load_target(target, folder)
    title = f"{b.title} against {a.title} on {device_target.name}"
    plan = Plan(pairs=pairs, max_pairs=max(pairs, max_pairs), tolerance=tolerance)
    if seed is not None:
        plan = Plan(pairs=plan.pairs, max_pairs=plan.max_pairs, tolerance=tolerance, seed=seed)
    try:
        gated = _measure(device_target, a, b, plan, threads or device_target.bench.threads, wait_s)
    except (UnreachableDeviceError, ConnectionLostError, DeviceBusyError, RemoteTimeoutError) as error:
        _tell_open(error, as_json=as_json)
        if junit is not None:
            write_file(junit, ci.junit_unmeasured(title, error.what))
        if markdown is not None:
            write_file(markdown, ci.markdown_unmeasured(title, error.what).encode())
        ctx.exit(EXIT_INCONCLUSIVE)
    files = [write_run(run, out) for run in (gated.baseline, gated.candidate)]
    comparisons = [gated.comparison]
    tested = latest_aa_test(out, gated.baseline.context, a.manifest.recipe, a.manifest.model)
    remark = told_beside_a_verdict(tested) if tested is not None else ""
    if junit is not None:
        write_file(junit, ci.junit(title, comparisons))
    if markdown is not None:
        write_file(markdown, ci.markdown(title, comparisons, remark).encode())
    if as_json:
        output.print_json(
            "gate", comparison=gated.comparison, plan=gated.plan, added_pairs=gated.added_pairs,
            files=[str(path) for path in files], aa_test=_summary(tested) if tested is not None else None,
        )  # fmt: skip
    else:
        print_comparisons(title, comparisons)
        extended = f", {gated.added_pairs} of them added when the first {plan.pairs} left it open"
        added = extended if gated.added_pairs else ""
        output.console().print(f"[dim]{plan.pairs + gated.added_pairs} pairs in turn{added}; order drawn with seed "
                               f"{plan.seed}[/]")  # fmt: skip
        if remark:
            output.console().print(f"[dim]{remark}[/]")
        for path in files:
            output.console().print(f"[dim]{path}[/]")
    ctx.exit(exit_status([gated.comparison.verdict]))


def _measure(target: Target, a: Any, b: Any, plan: Plan, threads: int, wait_s: float) -> Gated:
    from edgekit.bench.gate import gate
    from edgekit.devices import connect_runner

    with (
        connect_runner(target) as device,
        locked(device, f"gate {b.title}", wait_s),
        output.stage_progress() as progress,
    ):
        total = {"pairs": plan.pairs}
        task = progress.add_task(f"{b.title} against {a.title}", total=1, stage="pushing")

        def on_block(_side: str, number: int, event: dict[str, Any]) -> None:
            if event["event"] == "hello":
                progress.update(task, stage=f"pair {number + 1} of {total['pairs']}")

        def on_extend(added: int) -> None:
            total["pairs"] += added

        return gate(device, a, b, plan=plan, threads=threads, on_block=on_block, on_extend=on_extend)


def _summary(tested: AATest) -> dict[str, Any]:
    """An A/A test without its gates."""
    return {name: getattr(tested, name) for name in ("id", "started_at", "false_alarms", "power", "detectable")}


def _tell_open(error: EdgeKitError, *, as_json: bool) -> None:
    """A device that could not be measured."""
    if as_json:
        output.print_json("gate", comparison=None, outcome="inconclusive", because=error.what, error=error.as_dict())
    else:
        output.print_error(error, as_json=False)
        output.log().print("verdict: [yellow]inconclusive[/]")
