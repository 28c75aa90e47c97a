"""`edgekit tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from edgekit.cli import output
from edgekit.cli.options import ByteCount, locked, targets_option, thread_counts, wait_option
from edgekit.cli.output import json_option

if TYPE_CHECKING:
    from edgekit.workflows.checking import Checked
    from edgekit.workflows.tuned import Tuned

_STYLES = {"winner": "bold green", "front": "green", "beaten": "dim", "slower": "", "over a limit": "yellow",
           "failed": "red"}  # fmt: skip


@click.command("tune")
@click.argument("model")
@click.option("--on", "target", required=True, metavar="TARGET", help="A name in the targets folder, or a .toml file.")
@click.option("--to", "recipes", multiple=True, metavar="RECIPE",
              help="Takes part. Give it several times.  [default: all that the target has a runtime for]")  # fmt: skip
@click.option("--threads", callback=thread_counts, metavar="N[,N...]", help="Counts to try.  [default: the target's]")
@click.option("--max-drop", metavar="AMOUNT", help="What the model's metric may lose, such as 1%.")
@click.option("--max-size", type=ByteCount(), metavar="SIZE", help="Most bytes of payload: 900kB, 4MB.")
@click.option("--max-memory", type=ByteCount(), metavar="SIZE", help="Most memory that it may take on the device.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True,
              help="Of the race; each has twice the processes of the last, beginning with 3.")  # fmt: skip
@click.option("--evaluate", "checked", type=click.Choice(["winner", "front", "none"]), default="winner",
              show_default=True, help="Whose accuracy is measured on the device before it is named.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the order of measurement.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("artifacts"), show_default=True,
              help="Where artifacts appear.")  # fmt: skip
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), default=Path("bench_results"),
              show_default=True, help="Where the outcome is kept.")  # fmt: skip
@targets_option
@wait_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, model: str, target: str, recipes: tuple[str, ...], threads: tuple[int, ...] | None,
    max_drop: str | None, max_size: int | None, max_memory: int | None, rounds: int, checked: Checked,
    seed: int, out: Path, results: Path, folder: Path, wait_s: float, *, as_json: bool,
) -> None:  # fmt: skip
    """Find the best artifact of MODEL for a target: every recipe and thread count, inside the limits.

    What is clearly beaten is measured no further. The winner must be as accurate on the device as here; it is linked as
    artifacts/MODEL/tuned-TARGET, for deploy.
    """
    from edgekit.bench.race import Rules
    from edgekit.convert import find_model
    from edgekit.devices import connect, load_target
    from edgekit.errors import EXIT_FAILED_CHECK
    from edgekit.recipe import parse_recipe
    from edgekit.workflows.tune import Telling, default_recipes, tune
    from edgekit.workflows.tuned import Limits, write_tuned

    device_target = load_target(target, folder)
    ref = find_model(model)
    limits = Limits(max_drop, max_size, max_memory)
    with connect(device_target) as device, output.stage_progress() as progress:
        wanted = [parse_recipe(text) for text in recipes] or default_recipes(device)
        converting = progress.add_task(f"{len(wanted)} recipes", total=len(wanted), stage="converting")
        racing = progress.add_task("race", total=None, stage="waits for the artifacts")
        telling = Telling(
            on_stage=lambda title, stage: progress.update(converting, stage=f"{title}: {stage}"),
            on_outcome=lambda _outcome: progress.advance(converting),
            on_round=lambda number, arms: progress.update(racing, description=f"round {number}, {arms} arms"),
            on_block=lambda arm: progress.update(racing, stage=arm),
            on_evaluation=lambda arm: progress.update(racing, description="accuracy on the device", stage=arm),
        )
        made = tune(
            device, ref, wanted, threads=threads or (device_target.bench.threads,), limits=limits, out=out,
            rules=Rules(rounds=rounds, seed=seed), lock=lambda: locked(device, f"tune {ref.name}", wait_s),
            checked=checked, telling=telling,
        )  # fmt: skip
    path = write_tuned(made, results)
    if as_json:
        output.print_json("tune", tuned=made, winner=made.winner, file=str(path))
    else:
        _print(made, out, path)
    if made.winner is None:
        ctx.exit(EXIT_FAILED_CHECK)


def _print(made: Tuned, out: Path, path: Path) -> None:
    rows = [
        [
            Text(arm.state, _STYLES[arm.state]),
            f"{arm.recipe} ×{arm.threads}",
            output.duration(arm.latency_ns),
            output.size(arm.size_bytes),
            output.size(arm.memory_bytes),
            output.metric(arm.accuracy.artifact, arm.accuracy.unit) if arm.accuracy else "–",
            output.metric(arm.on_device.device, arm.on_device.unit) if arm.on_device else "–",
            str(arm.blocks or "–"),
            arm.because[:110],
        ]
        for arm in made.arms
    ]
    columns = ["", "artifact", "p50", "size", "memory", "metric", "on the device", "blocks", "why"]
    output.print_table(f"{made.model} on {made.target}", columns, rows, right="|".join(columns[2:8]),
                       droppable="why|memory|blocks")  # fmt: skip
    winner, say = made.winner, output.console().print
    if winner is None:
        say("[yellow]Nothing is inside the limits.[/]")
    else:
        say(f"deploy it: edgekit deploy {out / made.model / f'tuned-{made.target}'} --to {made.target}")
    say(f"[dim]{path}[/]")
