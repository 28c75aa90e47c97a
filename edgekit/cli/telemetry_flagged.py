"""`edgekit telemetry flagged`: what to collect and label next, and what came of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.output import json_option
from edgekit.cli.telemetry_options import database_option

if TYPE_CHECKING:
    from edgekit.telemetry.evaluations import FlaggedWindow

MOST_FEATURES = 4
_note_option = click.option("--note", default="", help="What to remember of it.")


@click.group("flagged")
def command() -> None:
    """Tell which time, artifact and cohort to collect and label data of, and take back how good the model was.

    Every one of them takes --json.

    \b
    edgekit telemetry flagged list --todo
    edgekit telemetry flagged result 3 --labelled labels.csv --expected 0.95
    edgekit telemetry flagged done 4 --note "the new lamps; the model does not mind"
    """


@command.command("list")
@database_option
@click.option("--model", help="Of this model only.")
@click.option("--todo", "to_do", is_flag=True, help="Only what nobody is done with.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a row for each feature of each.")
@json_option
def list_command(database: str, model: str | None, *, to_do: bool, as_csv: bool, as_json: bool) -> None:
    """List the times in which checks found drift, the latest first. Times are UTC."""
    from edgekit.cli import output
    from edgekit.telemetry.collector.reading import open_store

    if as_csv and as_json:
        raise click.UsageError("Give --csv or --json, not both.")
    found = open_store(database, new=False).flagged(model=model, to_do=to_do)
    if as_json:
        output.print_json("telemetry flagged list", flagged=found)
    elif as_csv:
        _print_csv(found)
    else:
        columns = ["id", "model", "cohort", "from", "to", "what moved", "artifacts", "reference", "state", "results"]
        cells = [
            [
                each.id, each.model, each.cohort or "all", _minute(each.start_s), _minute(each.end_s), _moved(each),
                ", ".join(artifact[:12] for artifact in each.artifacts) or "–", each.reference[:12], _state(each),
                _results(each),
            ]
            for each in found
        ]  # fmt: skip
        droppable = "reference|artifacts|cohort|to"
        output.print_table("flagged windows", columns, cells, right="id", droppable=droppable)


@command.command("result")
@click.argument("number", type=int)
@database_option
@click.option("--value", type=float, help="The metric itself.")
@click.option(
    "--labelled", type=click.Path(path_type=Path, dir_okay=False), help="A .csv or .npz with predictions and labels."
)
@click.option("--metric", default="accuracy", show_default=True, help="Its name; of a file: accuracy, mae, rmse.")
@click.option("--prediction", default="prediction", show_default=True, help="The column or array of answers.")
@click.option("--label", default="label", show_default=True, help="The column or array of what was right.")
@click.option("--expected", type=float, help="What the metric is on ordinary data.")
@click.option("--samples", type=click.IntRange(1), help="With --value: how many were labelled.")
@click.option("--to-be-continued", "goes_on", is_flag=True, help="Leave it on the list of what is to do.")
@_note_option
@json_option
def result_command(
    number: int, database: str, value: float | None, labelled: Path | None, metric: str, prediction: str, label: str,
    expected: float | None, samples: int | None, note: str, *, goes_on: bool, as_json: bool,
) -> None:  # fmt: skip
    """Take back how good the model was in flagged window NUMBER, and be done with it.

    Given again, the same metric takes the place of the one before.
    """
    import math

    from edgekit.cli import output
    from edgekit.telemetry.collector import flagged
    from edgekit.telemetry.collector.reading import open_store
    from edgekit.telemetry.evaluations import LabelledResult
    from edgekit.telemetry.references.labelled import score

    if (value is None) == (labelled is None):
        raise click.UsageError("Give --value or --labelled.")
    if labelled is not None:
        if samples is not None:
            raise click.UsageError("--samples goes with --value: a file tells it itself.")
        value, samples = score(labelled, metric, prediction=prediction, label=label)
    assert value is not None
    if not math.isfinite(value) or not (expected is None or math.isfinite(expected)):
        raise click.UsageError("A metric is a finite number.")
    source = labelled.name if labelled else "given"
    result = LabelledResult(metric, value, expected, samples, source, int(time.time()))
    flagged.give_result(open_store(database, new=False).database, number, result, done=not goes_on, note=note)
    if as_json:
        output.print_json("telemetry flagged result", id=number, result=result, done=not goes_on)
    else:
        click.echo(f"flagged window {number}: {_result(metric, value, expected, samples)}")


@command.command("done")
@click.argument("number", type=int)
@database_option
@click.option("--undo", is_flag=True, help="It is still to do.")
@_note_option
@json_option
def done_command(number: int, database: str, note: str, *, undo: bool, as_json: bool) -> None:
    """Be done with flagged window NUMBER without a result: it is known, or does no harm."""
    from edgekit.cli import output
    from edgekit.telemetry.collector import flagged
    from edgekit.telemetry.collector.reading import open_store

    flagged.mark(open_store(database, new=False).database, number, None if undo else int(time.time()), note=note)
    if as_json:
        output.print_json("telemetry flagged done", id=number, done=not undo)
    else:
        click.echo(f"flagged window {number} is {'to do again' if undo else 'done'}")


def _print_csv(found: list[FlaggedWindow]) -> None:
    import csv
    import sys

    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = ("id", "model", "reference", "cohort", "artifacts", "start_s", "end_s", "ended_s", "done_s", "feature")
    writer.writerow([*names, "rule", "value", "limit", "told", "results", "note"])
    for each in found:
        results = "; ".join(_result(r.metric, r.value, r.expected, r.samples) for r in each.results)
        common = [each.id, each.model, each.reference, each.cohort, " ".join(each.artifacts), each.start_s, each.end_s]
        for moved in each.movements:
            row = [*common, each.ended_s, each.done_s, moved.feature, moved.rule, moved.value, moved.limit, moved.told]
            writer.writerow([_as_text(value) for value in (*row, results, each.note)])


def _as_text(value: object) -> object:
    """The value; a text that a spreadsheet would compute behind an apostrophe. Devices choose their cohorts."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _moved(window: FlaggedWindow) -> str:
    shown = [
        each.feature
        if each.value is None or each.limit is None
        else f"{each.feature} {each.value:.3g} > {each.limit:.3g}"
        for each in window.movements[:MOST_FEATURES]
    ]
    more = len(window.movements) - MOST_FEATURES
    return ", ".join([*shown, *([f"{more} more"] if more > 0 else [])])


def _state(window: FlaggedWindow) -> str:
    return f"{'lasts' if window.ended_s is None else 'over'}, {'to do' if window.done_s is None else 'done'}"


def _results(window: FlaggedWindow) -> str:
    told = [_result(each.metric, each.value, each.expected, each.samples) for each in window.results]
    return "; ".join([*told, *([window.note] if window.note else [])]) or "–"


def _result(metric: str, value: float, expected: float | None, samples: int | None) -> str:
    against = "" if expected is None else f", expected {expected:.4g}"
    return f"{metric} {value:.4g}{against}" + ("" if samples is None else f" (n = {samples})")


def _minute(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
