"""`edgekit evaluate`."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from edgekit.cli import output
from edgekit.cli.options import locked, runner_option, targets_option, wait_option, with_runner
from edgekit.cli.output import json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from edgekit.bench.evaluation import Evaluated
    from edgekit.bench.evaluation.collecting import Telling
    from edgekit.devices import RunnerDevice, Target
    from edgekit.errors import EdgeKitError

_STYLES = {"same": "green", "worse": "bold red", "inconclusive": "yellow"}


@click.command("evaluate")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--on", "target", required=True, metavar="TARGET", help="A name in the targets folder, or a .toml file.")
@click.option("--model", "model", metavar="PATH", help="The folder of its model.  [default: models/NAME]")
@click.option("--limit", type=click.IntRange(min=1), help="Take the first so many samples.  [default: all]")
@click.option(
    "--batch", type=click.IntRange(min=1, max=100_000), help="Samples an answer, at most.  [default: by their size]"
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime.  [default: the target's]")
@click.option("--max-drop", default="1%", show_default=True, metavar="AMOUNT",
              help="What the metric may be worse there than here, such as 0.5% or 0.02.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("bench_results"),
              show_default=True, help="Where the result is kept.")  # fmt: skip
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write it for a pull request.")
@runner_option
@targets_option
@wait_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, artifact: Path, target: str, model: str | None, limit: int | None, batch: int | None,
    threads: int | None, max_drop: str, out: Path, markdown: Path | None, runner: str | None, folder: Path,
    wait_s: float, *, as_json: bool,
) -> None:  # fmt: skip
    """Run the model's evaluation data through a device's runtime: its own metric there, beside the one here.

    Exit status 3: worse there than here by more than --max-drop; 4: too few samples to tell, or the device is away.
    What was answered before a link was cut is kept: the next call goes on there.
    """
    from edgekit.artifact import open_artifact
    from edgekit.bench.ci import markdown_unmeasured
    from edgekit.bench.evaluation import summary, write_evaluated
    from edgekit.devices import load_target
    from edgekit.errors import (
        EXIT_FAILED_CHECK,
        EXIT_INCONCLUSIVE,
        ConnectionLostError,
        DeviceBusyError,
        RemoteTimeoutError,
        UnreachableDeviceError,
    )
    from edgekit.files import write_file
    from edgekit.workflows.evaluate import Options, evaluate, subject_of

    found = open_artifact(artifact)
    device_target = with_runner(load_target(target, folder), runner)
    subject = subject_of(found, model, lambda executes: output.log().print(Text(executes, "dim")))
    options = Options(limit, batch, threads or device_target.bench.threads, max_drop)
    try:
        with _telling(found.title) as telling:
            made, answers = evaluate(_opener(device_target, found.title, wait_s), found, subject, options, telling)
    except (UnreachableDeviceError, ConnectionLostError, DeviceBusyError, RemoteTimeoutError) as error:
        _tell_open(error, as_json=as_json)
        if markdown is not None:
            write_file(markdown, markdown_unmeasured(f"{found.title} on {device_target.name}", error.what).encode())
        ctx.exit(EXIT_INCONCLUSIVE)
    path = write_evaluated(made, out)
    answers.kept.remove()
    if markdown is not None:
        write_file(markdown, summary.markdown(made).encode())
    if as_json:
        output.print_json("evaluate", evaluated=made, file=str(path))
    else:
        _print(made, path)
    ctx.exit({"worse": EXIT_FAILED_CHECK, "inconclusive": EXIT_INCONCLUSIVE}.get(made.outcome, 0))


def _opener(target: Target, title: str, wait_s: float) -> Callable[[], AbstractContextManager[RunnerDevice]]:
    """Connects and locks, as often as it is called."""
    from edgekit.devices import connect_runner

    @contextmanager
    def opened() -> Iterator[RunnerDevice]:
        with connect_runner(target) as device, locked(device, f"evaluate {title}", wait_s):
            yield device

    return opened


@contextmanager
def _telling(title: str) -> Iterator[Telling]:
    """Shows how many samples are answered, and what failed."""
    from edgekit.bench.evaluation.collecting import Telling

    with output.stage_progress() as progress:
        task = progress.add_task(title, total=None, stage="answers here, then pushing")

        def on_answers(known: int, of: int) -> None:
            progress.update(task, total=of, completed=known, stage=f"{known} of {of} samples")

        def on_retry(error: EdgeKitError, wait_s: float) -> None:
            output.log().print(Text(f"{error.what} Going on in {wait_s:g} s.", "yellow"))

        yield Telling(on_answers, on_retry)


def _tell_open(error: EdgeKitError, *, as_json: bool) -> None:
    """A device that did not answer."""
    if as_json:
        output.print_json("evaluate", evaluated=None, outcome="inconclusive", because=error.what, error=error.as_dict())
    else:
        output.print_error(error, as_json=False)
        output.log().print("outcome: [yellow]inconclusive[/]")


def _print(made: Evaluated, path: Path) -> None:
    from edgekit.bench.evaluation.summary import difference

    accuracy, agreement, say = made.accuracy, made.agreement, output.console().print
    unit = accuracy.unit
    if accuracy.metric is not None:
        row = [accuracy.metric, output.metric(accuracy.source, unit), output.metric(accuracy.here, unit),
               output.metric(accuracy.device, unit), difference(accuracy)]  # fmt: skip
        columns = ["metric", "source", "here", "on the device", "loss (95 %)"]
        output.print_table(
            f"{made.model} {made.recipe} on {made.context.target}", columns, [row], right="|".join(columns[1:]),
            droppable="source",
        )  # fmt: skip
    rows = [
        [row.output, output.decibel(row.snr_db, exact=row.exact), _share(row.top1_agreement),
         Text("agrees", "green") if row.finite and (row.exact or (row.snr_db or -1e9) >= agreement.min_snr_db)
         else Text("differs", "red")]
        for row in agreement.outputs
    ]  # fmt: skip
    if rows:
        output.print_table("answers, device against here", ["output", "SNR", "top-1", "answers"], rows,
                           right="SNR|top-1", titled=True)  # fmt: skip
    outcome = Text.assemble(("outcome: ", ""), (made.outcome, _STYLES[made.outcome]))
    say(outcome if not made.because else Text.assemble(outcome, f": {made.because}"))
    runtime = f"{made.context.package} {made.context.version or ''}".strip()
    notes = [f"{made.data.samples} of {made.data.said}, {runtime}, a loss of up to {made.max_drop} counts as none"]
    if made.resumed:
        notes.append(f"{made.resumed} of them were answered in an earlier call")
    if accuracy.here_by == "manifest":
        notes.append(
            "this machine cannot run the artifact: its metric here is the manifest's, its answers the golden ones"
        )
    if accuracy.because:
        notes.append(f"no metric: {accuracy.because}")
    for note in (*notes, *made.data.changed, str(path)):
        say(Text(note, "dim"))


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
