"""`edgekit convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from edgekit.cli import output
from edgekit.cli.explanations import print_budget, print_explanation
from edgekit.cli.output import json_option
from edgekit.convert.building import DEFAULT_TIMEOUT_S
from edgekit.errors import EXIT_ERROR, EXIT_FAILED_CHECK, ParityError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from edgekit.convert import Outcome
    from edgekit.dimensions import Range


@click.command("convert")
@click.argument("model")
@click.option(
    "--to",
    "recipes",
    multiple=True,
    required=True,
    metavar="RECIPE",
    help="FORMAT:PRECISION[@TRIPLE], or a recipe file (.toml, .json). Give it several times.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Representative inputs, an .npz with one array per input.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("artifacts"),
    show_default=True,
    help="Where artifacts appear.",
)
@click.option("--trust", is_flag=True, help="Open a model file even though it executes code it brings along.")
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=1,3,224,224",
    help="Fixes the shape of an input that a model file leaves open; or lets it vary: NAME=1,8..128, nominally 48: "
    "NAME=1,8..128@48.",
)
@click.option(
    "--max-drop",
    metavar="AMOUNT",
    help="Accuracy budget: what the model's metric may lose, such as 1%. Layers that cost more are kept in floating "
    "point, or else a higher precision is taken.",
)
@click.option("--explain", is_flag=True, help="Tell operator by operator how each artifact will execute.")
@click.option("--jobs", type=click.IntRange(min=1), help="Workers at once.  [default: as many as cores, and as fit]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    help="Bound of each step, in seconds.",
)
@click.option(
    "--memory",
    "memory_gib",
    type=click.FloatRange(min=0.25),
    help="Bound of each step's memory, in GiB.  [default: 90 % of what is free]",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context, model: str, recipes: tuple[str, ...], calibration: Path | None, out: Path,
    shapes: tuple[str, ...], max_drop: str | None, *, trust: bool, explain: bool, jobs: int | None, timeout_s: float,
    memory_gib: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Convert MODEL by one or more recipes, and prove every artifact.

    MODEL is a folder with a model.py, the name of one in models/, or a model file: torch.export (.pt2), Keras (.keras),
    ONNX, TFLite, or a SavedModel's folder. Every artifact is run here and compared with its source on held-out inputs
    before it appears.
    """
    from edgekit.convert import DONE, Bounds, convert, find_model
    from edgekit.recipe import parse_recipe

    wanted = [parse_recipe(text) for text in recipes]
    ref = find_model(
        model,
        calibration=calibration,
        trust=trust,
        shapes=dict(_parse_shape(text) for text in shapes),
        announce=lambda executes: output.log().print(f"note: {executes}", style="dim", markup=False),
    )
    with output.stage_progress() as progress:
        tasks: dict[str, TaskID] = {}

        def on_stage(title: str, stage: str) -> None:
            if title not in tasks:
                tasks[title] = progress.add_task(title, total=1, stage=stage)
            progress.update(tasks[title], stage=stage, completed=int(stage == DONE))

        def on_outcome(outcome: Outcome) -> None:
            title = str(outcome.recipe)
            if title not in tasks:
                tasks[title] = progress.add_task(title, total=1, stage="")
            progress.update(tasks[title], completed=1, stage="failed" if outcome.error else "done")

        bounds = Bounds(timeout_s, int(memory_gib * 2**30) if memory_gib else None, jobs)
        outcomes = convert(
            ref, wanted, out=out, on_stage=on_stage, on_outcome=on_outcome, max_drop=max_drop, explain=explain,
            bounds=bounds,
        )  # fmt: skip
    if as_json:
        output.print_json("convert", model=ref.name, results=[_as_dict(outcome) for outcome in outcomes])
    else:
        _print(ref.name, outcomes)
        for outcome in outcomes:
            print_budget(outcome)
            print_explanation(outcome)
            if outcome.error is not None:
                output.print_error(outcome.error, as_json=False)
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if errors:
        ctx.exit(EXIT_FAILED_CHECK if all(isinstance(e, ParityError) for e in errors) else EXIT_ERROR)


def _parse_shape(text: str) -> tuple[str, tuple[int | Range, ...]]:
    from edgekit.dimensions import parse_size

    name, _, sizes = text.rpartition("=")
    try:
        shape = tuple(parse_size(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not name or not shape or any(isinstance(size, int) and size < 1 for size in shape):
        raise click.BadParameter(
            f"{text!r} is no shape: write NAME=1,3,224,224, or NAME=1,8..128 for an axis that varies.",
            param_hint="--shape",
        )
    return name, shape


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    artifact = outcome.artifact
    return {
        "recipe": str(outcome.recipe),
        "artifact": artifact.id if artifact else None,
        "path": str(outcome.link) if outcome.link else None,
        "manifest": artifact.manifest if artifact else None,
        "error": outcome.error.as_dict() if outcome.error else None,
        "cached": outcome.cached,
        "seconds": round(outcome.seconds, 3),
        "explanation": outcome.explanation,
    }


def _print(name: str, outcomes: list[Outcome]) -> None:
    rows = []
    for outcome in outcomes:
        if outcome.artifact is None:
            rows.append([str(outcome.recipe), *["–"] * 7, Text("failed", "bold red"), f"{outcome.seconds:.1f} s"])
            continue
        manifest = outcome.artifact.manifest
        parity, accuracy = manifest.parity, manifest.accuracy
        cosine = min((o.cosine for o in parity.outputs if o.cosine is not None), default=None)
        top1 = min((o.top1_agreement for o in parity.outputs if o.top1_agreement is not None), default=None)
        rows.append([
            _title(outcome),
            output.size(manifest.payload_bytes),
            output.decibel(parity.worst_snr_db, exact=all(o.exact for o in parity.outputs)),
            f"{max((o.max_abs_error or 0.0) for o in parity.outputs):.2g}",
            "–" if cosine is None else f"{cosine:.5f}",
            "–" if top1 is None else f"{top1 * 100:.1f} %",
            output.metric(accuracy.artifact, accuracy.unit),
            "–" if accuracy.drop is None else output.metric(accuracy.drop, accuracy.unit),
            Text("proven", "green"),
            "cached" if outcome.cached else f"{outcome.seconds:.1f} s",
        ])  # fmt: skip
    metric = next((o.artifact.manifest.accuracy.metric for o in outcomes if o.artifact), None)
    columns = ["recipe", "size", "SNR", "max error", "cosine", "top-1", metric or "metric", "drop", "parity", "time"]
    output.print_table(
        f"{name} against its source",
        columns,
        rows,
        right="|".join(columns[1:8] + columns[9:]),
        droppable="max error|cosine|time|top-1",
    )
    out = output.console()
    for artifact in [o.artifact for o in outcomes if o.artifact][:1]:
        manifest = artifact.manifest
        out.print(f"[dim]parity over {manifest.parity.data}[/]")
        if manifest.accuracy.because:
            out.print(f"[dim]no metric: {manifest.accuracy.because}[/]")
    for outcome in outcomes:
        if outcome.artifact is not None:
            out.print(f"{outcome.recipe} → {outcome.link}", style="dim")
            for note in outcome.artifact.manifest.notes:
                out.print(f"  {note}", style="dim", markup=False)


def _title(outcome: Outcome) -> str:
    assert outcome.artifact is not None
    made = outcome.artifact.manifest.recipe
    kept = len(made.options.get("keep", ()))
    return f"{made}" + (f", {kept} layer{'s' if kept > 1 else ''} kept" if kept else "")
