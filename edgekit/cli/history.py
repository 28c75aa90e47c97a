"""`edgekit history`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from edgekit.cli import output
from edgekit.cli.options import tolerance_option
from edgekit.cli.output import json_option
from edgekit.cli.sparkline import trend

if TYPE_CHECKING:
    from datetime import datetime

    from edgekit.bench.effect import Interval
    from edgekit.bench.history import Series

_STYLES = {"regressed": "bold red", "improved": "bold green", "shifted": "yellow", "steady": "green", "too few": "dim"}


@click.command("history")
@click.argument("where", default="bench_results", metavar="[TARGET|DIR|REVISION]")
@click.option("--on", "targets", multiple=True, metavar="TARGET", help="Of this target only. Give it several times.")
@click.option("--model", "models", multiple=True, metavar="MODEL", help="Of this model only. Give it several times.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Of runs from this day on (UTC): what "
              "was slower before, or has become slower and is accepted, counts no more.")  # fmt: skip
@tolerance_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, where: str, targets: tuple[str, ...], models: tuple[str, ...], since: datetime | None,
    tolerance: float, *, as_json: bool,
) -> None:  # fmt: skip
    """Find steps in the stored runs of a target: when it became slower or faster, and by how much.

    Reads bench_results, a target's folder in it, any other folder, or a git revision. Each target, model, recipe and
    thread count is a series; where two runs in a row were not measured alike, such as before and after a new system, it
    breaks there, and says so. Exit status 3: the newest step of a series is a regression beyond the tolerance; 4: no
    series has enough runs to tell.
    """
    from edgekit.bench.history import Collected
    from edgekit.bench.stored import DEFAULT_FOLDER, added_by, named_runs
    from edgekit.errors import EXIT_FAILED_CHECK, EXIT_INCONCLUSIVE, ArtifactError

    own = Path(DEFAULT_FOLDER) / where
    place = str(own) if not Path(where).exists() and own.is_dir() else where
    begin = since.strftime("%Y-%m-%d") if since is not None else ""
    commits, collected = added_by(place), Collected()
    for name, run in named_runs(place):
        wanted = (not targets or run.context.target in targets) and (not models or run.model in models)
        if wanted and run.started_at >= begin:
            collected.add(run, commits.get(name))
    found = collected.series(tolerance)
    if not found:
        raise ArtifactError(f"{place} holds no such run that was steady.", remedy="Leave out --on, --model or --since.")
    if as_json:
        output.print_json("history", series=found)
    else:
        _print(place, found, tolerance)
    outcomes = {series.outcome for series in found}
    if "regressed" in outcomes:
        ctx.exit(EXIT_FAILED_CHECK)
    if outcomes == {"too few"}:
        ctx.exit(EXIT_INCONCLUSIVE)


def _print(place: str, found: list[Series], tolerance: float) -> None:
    from edgekit.bench.history import MIN_RUNS

    rows = [
        [
            _name(series),
            series.target,
            str(len(series.points)),
            trend([point.latency_ns for point in series.points]),
            output.duration(series.segments[-1].latency_ns),
            _change(series.change),
            _interval(series.change),
            series.since[:10] or "–",
            Text(series.outcome, _STYLES[series.outcome]),
        ]
        for series in found
    ]
    columns = ["artifact", "on", "runs", "trend", "now", "change", "interval", "since", "verdict"]
    output.print_table(place, columns, rows, right="runs|now|change|interval", droppable="on|runs|interval|trend")
    for series in found:
        if len(series.segments) > 1:
            _print_levels(series)
    out = output.console()
    out.print(
        f"[dim]a run counts once, by the geometric mean of its block medians; up to ±{tolerance:.1%} counts as no "
        f"change; too few: less than {MIN_RUNS} runs that were measured alike[/]"
    )
    left_out = sum(series.left_out for series in found)
    if left_out:
        out.print(f"[dim]{left_out} runs whose latency never settled are left out[/]")


def _print_levels(series: Series) -> None:
    """A row a level: from when to when, how fast, and the step that began it."""
    steps = {step.at: step for step in series.steps}
    breaks = {found.at: found for found in series.breaks}
    rows = []
    for segment in series.segments:
        step, broken = steps.get(segment.first), breaks.get(segment.first)
        first = series.points[segment.first]
        why = "not measured alike" if broken else ", ".join(step.changed) if step else ""
        rows.append([
            segment.began[:10],
            segment.ended[:10],
            str(segment.last - segment.first + 1),
            output.duration(segment.latency_ns),
            _change(step.interval) if step else "–",
            _interval(step.interval) if step else "–",
            first.revision or "–",
            why or "–",
        ])  # fmt: skip
    columns = ["from", "to", "runs", "level", "step", "interval", "commit", "changed"]
    output.print_table(f"{_name(series)} on {series.target}", columns, rows, right="runs|level|step|interval",
                       droppable="interval|runs|commit|changed", titled=True)  # fmt: skip
    for found in series.breaks:
        output.console().print(Text(f"{found.date[:10]}: not measured alike; {found.because}", "magenta"))


def _name(series: Series) -> str:
    return f"{series.model} {series.recipe} ×{series.threads}"


def _change(found: Interval | None) -> str:
    return "–" if found is None else f"{found.ratio - 1:+.1%}".replace("%", " %")


def _interval(found: Interval | None) -> str:
    return "–" if found is None else f"{found.low - 1:+.1%} to {found.high - 1:+.1%}".replace("%", " %")
