"""`edgekit bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from edgekit.cli import output
from edgekit.cli.options import (
    Duration,
    locked,
    runner_option,
    targets_option,
    thread_counts,
    wait_option,
    with_delegate,
    with_runner,
)
from edgekit.cli.output import json_option
from edgekit.cli.sparkline import distribution
from edgekit.dimensions import dimensions, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress

    from edgekit.artifact import Artifact
    from edgekit.bench import Run
    from edgekit.bench.extras import Extras
    from edgekit.bench.statistics import Percentile
    from edgekit.devices import Target
    from edgekit.errors import EdgeKitError

_STAGES = {
    "hello": "runner started",
    "runtime": "loading",
    "first": "golden check",
    "golden": "warming up",
    "warmup": "sampling",
    "samples": "done",
}


@click.command("bench")
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="ARTIFACT...")
@click.option("--on", "selectors", required=True, multiple=True, metavar="TARGET",
              help="A name in the targets folder, a .toml file, or label=LABEL for all that carry it. Give it several "
              "times: devices are measured in parallel.")  # fmt: skip
@click.option(
    "--threads", callback=thread_counts, metavar="N[,N...]", help="Threads of the runtime.  [default: the target's]"
)
@click.option(
    "--blocks", type=click.IntRange(min=1), help="Fresh processes per measurement.  [default: 3; with --aa, 10 pairs]"
)
@click.option(
    "--aa", "aa_gates", type=click.IntRange(min=1), metavar="N",
    help="Instead, gate each artifact N times against itself: false alarms, power, what can be seen.",
)  # fmt: skip
@click.option("--sustained", "sustained_s", type=Duration(), metavar="TIME",
              help="Then run it for that long (10m): latency against time, temperature and frequency.")  # fmt: skip
@click.option("--profile", "profiled", is_flag=True, help="Then, in a run of its own, tell what each operator costs.")
@click.option("--delegate", metavar="NAME",
              help="What the runtime is asked to execute with, such as xnnpack, none, or an execution provider of ONNX "
              "Runtime's.  [default: the target's, or the runtime's own choice]")  # fmt: skip
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench_results"),
    show_default=True,
    help="Where runs are kept.",
)
@runner_option
@targets_option
@wait_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    artifacts: tuple[Path, ...],
    selectors: tuple[str, ...],
    threads: tuple[int, ...] | None,
    blocks: int | None,
    aa_gates: int | None,
    sustained_s: float | None,
    delegate: str | None,
    out: Path,
    runner: str | None,
    folder: Path,
    wait_s: float,
    *,
    profiled: bool,
    as_json: bool,
) -> None:
    """Measure one or more ARTIFACTs on a target: latency, memory, size.

    Before anything is timed the device answers the artifact's golden inputs; a wrong answer is a failed run. One that
    fails does not stop the others, unless the device itself is lost. Of several devices none stops the others, and one
    that is away is exit status 4.
    """
    from edgekit.artifact import open_artifact
    from edgekit.bench.extras import Extras
    from edgekit.bench.sustained import MOST_S
    from edgekit.devices import select_targets
    from edgekit.devices.target import is_label

    if sustained_s is not None and not 3 <= sustained_s <= MOST_S:
        raise click.BadParameter(f"--sustained takes from 3s to {MOST_S / 3600:g}h")
    extras = Extras(sustained_s, profiled)
    found = [open_artifact(path) for path in artifacts]
    targets = [with_delegate(with_runner(one, runner), delegate) for one in select_targets(selectors, folder)]
    if len(selectors) > 1 or is_label(selectors[0]):
        if aa_gates is not None:
            raise click.UsageError("--aa takes one target.")
        from edgekit.cli.benches import bench_all

        ctx.exit(bench_all(targets, found, threads, blocks or 3, extras, out, wait_s, as_json=as_json))
    (device_target,) = targets
    counts = threads or (device_target.bench.threads,)
    if aa_gates is not None:
        _aa_tests(device_target, found, counts, aa_gates, blocks or 10, out, wait_s, as_json=as_json)
        return
    with output.stage_progress() as progress:
        runs, failed = measure_on(device_target, found, counts, blocks or 3, extras, out, wait_s, progress)
    if len(failed) == 1 and not runs:
        raise failed[0]
    if as_json:
        kept = [{"file": str(path), "run": run} for _, run, path in runs]
        output.print_json("bench", runs=kept, errors=[failure.as_dict() for failure in failed])
    else:
        if runs:
            print_runs(device_target.name, runs)
        for failure in failed:
            output.print_error(failure, as_json=False)
    if failed:
        ctx.exit(min(failure.exit_status for failure in failed))


def measure_on(
    target: Target, artifacts: list[Artifact], threads: tuple[int, ...], blocks: int, extras: Extras, out: Path,
    wait_s: float, progress: Progress, *, named: bool = False, go_on: Callable[[], None] = lambda: None,
) -> tuple[list[tuple[Artifact, Run, Path]], list[EdgeKitError]]:  # fmt: skip
    """Every artifact with every thread count on one target: runs with their files, and what failed.

    Args:
        target, artifacts, threads, blocks, extras, wait_s: what is measured, where.
        out: runs are kept below it as they are made.
        progress: shows a line for each.
        named: with the target's name in that line.
        go_on: called at every event of the runner; what it raises ends the measurement.

    Raises:
        UnreachableDeviceError, DeviceBusyError, ConnectionLostError, ...: the device itself is not there.
    """
    from edgekit.bench import bench, write_run
    from edgekit.cli.extras import stage, trouble
    from edgekit.devices import connect_runner
    from edgekit.errors import OutsideLimitsError, RunnerError, RuntimeMissingError, WrongAnswerError

    runs: list[tuple[Artifact, Run, Path]] = []
    failed: list[EdgeKitError] = []
    with connect_runner(target) as device, locked(device, "bench", wait_s):
        for artifact in artifacts:
            for count in threads:
                title = f"{target.name}: {artifact.title}" if named else artifact.title
                task = progress.add_task(f"{title} ×{count}", total=1, stage="pushing")

                def on_event(block: int, event: dict[str, Any], task: Any = task) -> None:
                    go_on()
                    told_stage = stage(event) if block == blocks or event["event"] == "waiting" else None
                    if told_stage is not None:
                        progress.update(task, stage=told_stage)
                    elif event["event"] in _STAGES and block < blocks:
                        progress.update(task, stage=f"block {block + 1} of {blocks}: {_STAGES[event['event']]}")

                try:
                    run = bench(device, artifact, threads=count, blocks=blocks, extras=extras, on_event=on_event)
                except (OutsideLimitsError, WrongAnswerError, RunnerError, RuntimeMissingError) as error:
                    failed.append(error)
                    progress.update(task, completed=1, stage="failed")
                    continue
                runs.append((artifact, run, write_run(run, out)))
                failed.extend(trouble(run))
                progress.update(task, completed=1, stage="done")
    return runs, failed


def _aa_tests(
    target: Target, artifacts: list[Artifact], threads: tuple[int, ...], gates: int, pairs: int, out: Path,
    wait_s: float, *, as_json: bool,
) -> None:  # fmt: skip
    from edgekit.bench.aa_test import write_aa_test
    from edgekit.bench.effect import MIN_BLOCKS
    from edgekit.bench.gate import Plan
    from edgekit.cli.aa_tests import print_aa_tests, run_aa_test
    from edgekit.devices import connect_runner

    if pairs < MIN_BLOCKS:
        raise click.BadParameter(f"--aa needs --blocks {MIN_BLOCKS} or more")
    plan = Plan(pairs=pairs, max_pairs=3 * pairs)
    made = []
    with connect_runner(target) as device, locked(device, "A/A test", wait_s), output.stage_progress() as progress:
        for artifact in artifacts:
            for count in threads:
                made.append(run_aa_test(device, artifact, count, gates=gates, plan=plan, progress=progress))
                write_aa_test(made[-1], out)
    if as_json:
        output.print_json("bench", aa_tests=made)
    else:
        print_aa_tests(made)


def _percentile(found: Percentile) -> str:
    if found.value_ns is not None:
        return output.duration(found.value_ns)
    return "–" if found.bound_ns is None else f"≤ {output.duration(found.bound_ns)}"


def print_runs(target: str, runs: list[tuple[Artifact, Run, Path]], *, titled: bool = False) -> None:
    """A row a run, and what to know of the device; `titled` names the target where the table is piped as well."""
    from edgekit.cli.extras import print_extras, state

    rows = []
    for artifact, run, _ in runs:
        summary, accuracy = run.summary, artifact.manifest.accuracy
        memory = [block.model_rss_bytes for block in run.blocks if block.model_rss_bytes is not None]
        golden = output.decibel(run.worst_golden_snr_db, exact=True)
        rows.append([
            artifact.title,
            str(run.context.threads),
            output.size(run.payload_bytes),
            output.metric(accuracy.artifact, accuracy.unit),
            _percentile(summary.p50),
            _percentile(summary.p90),
            _percentile(summary.p99),
            output.duration(summary.mad_ns),
            str(summary.n),
            output.duration(max(block.init_ns for block in run.blocks)),
            output.duration(max(block.first_ns for block in run.blocks)),
            output.size(max(memory)) if memory else "–",
            distribution(run),
            Text(f"same, {golden}", "green"),
            state(run),
        ])  # fmt: skip
    columns = ["artifact", "threads", "size", "metric", "p50", "p90", "p99", "MAD", "n", "init", "first", "memory",
               "distribution", "answers", "state"]  # fmt: skip
    context, facts = runs[0][1].context, runs[0][1].blocks[0].before.values
    lesser = "MAD|first|n|threads|init|distribution|memory|p99|metric"
    output.print_table(f"on {target}", columns, rows, right="|".join(columns[1:12]), droppable=lesser, titled=titled)
    out = output.console()
    machine = facts.get("cpu_model") or facts.get("machine") or "a machine that does not tell"
    system = facts.get("os") or facts.get("kernel") or "a system that does not tell"
    runtime = f"{context.package} {context.version or ''}".strip()
    said = f"{machine}, {facts.get('cores')} cores, {system}, {runtime}; {len(runs[0][1].blocks)} processes a row"
    out.print(Text(said, "dim"))  # no markup in what a device says
    for artifact in {a.title: a for a, _, _ in runs}.values():
        if dims := dimensions(artifact.manifest.inputs):
            bounds = ", ".join(f"{name} {dim.min}..{dim.max}" for name, dim in dims.items())
            out.print(f"{artifact.title} takes {bounds}; measured at {told(dims)}, its nominal size", style="dim")
    invokes = max(block.invokes_per_sample for _, run, _ in runs for block in run.blocks)
    if invokes > 1:
        out.print(
            f"[dim]the clock is coarse: a sample is the mean of up to {invokes} invokes; – is not known of one[/]"
        )
    elif any(run.summary.p99.value_ns is None for _, run, _ in runs):
        out.print("[dim]≤ is an upper 95 % bound, – is too few samples to say[/]")
    pages = [block.page_memory for _, run, _ in runs for block in run.blocks if block.page_memory is not None]
    if pages:
        wasm, rest = (max(page.wasm_bytes or 0 for page in pages), max(page.bytes or 0 for page in pages))
        counted = f", and the page {output.size(rest)} by the browser's count" if rest else ""
        out.print(f"[dim]wasm had {output.size(wasm)} of memory, reserved ahead{counted}[/]")
    if any(not run.steady for _, run, _ in runs):
        out.print("[yellow]unsteady:[/] latency never settled during warm-up; take such a row for no verdict")
    print_extras(target, [run for _, run, _ in runs])
    for _, _, path in runs:
        out.print(f"[dim]{path}[/]")
