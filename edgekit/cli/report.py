"""`edgekit report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli import output
from edgekit.cli.options import tolerance_option
from edgekit.cli.output import json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.bench.run import Run


@click.command("report")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--against", metavar="BASELINE", help="Stored runs to compare with: a file, a folder, a git revision.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write one self-contained HTML file.")
@click.option(
    "--plots", "folder", type=click.Path(path_type=Path, file_okay=False), help="Write each plot into a folder."
)
@click.option("--as", "kind", type=click.Choice(["svg", "png"]), default="svg", show_default=True, help="Of the plots.")
@click.option("--title", help="The heading.  [default: the models]")
@tolerance_option
@json_option
def command(
    runs: tuple[str, ...], against: str | None, html: Path | None, folder: Path | None, kind: str, title: str | None,
    tolerance: float, *, as_json: bool,
) -> None:  # fmt: skip
    """Make a report of stored RUNs: files, folders or git revisions, the latest of each target, model, recipe, threads.

    One HTML file with the verdicts first, accuracy on the device where it was evaluated, the history where there are
    enough runs, distributions, what the latency buys, latency against time, the environment, and all samples for
    download. It needs no network. `--plots` writes the same plots as files.
    """
    from edgekit import plugins
    from edgekit.bench import report
    from edgekit.bench.compare import compare, latest
    from edgekit.bench.evaluation.result import evaluated_of
    from edgekit.bench.history import Collected
    from edgekit.bench.report.theme import to_file
    from edgekit.bench.stored import named_runs, stored_evaluations
    from edgekit.files import write_file

    if html is None and folder is None:
        raise click.UsageError("Say what to write: --html FILE, --plots FOLDER, or both.")
    plugins.require(("jinja2", "matplotlib"), extra="report", purpose="writing a report")
    collected = Collected()

    def every() -> Iterator[Run]:
        for where in runs:
            for _, run in named_runs(where):
                collected.add(run, None)
                yield run

    found = list(latest(every()).values())
    compared = compare((run for _, run in named_runs(against)), found, tolerance).comparisons if against else ()
    evaluations = [made for where in runs for made in stored_evaluations(where)]
    joined = {run.id: made for run in found if (made := evaluated_of(run, evaluations)) is not None}
    past = report.told_of(collected.series(tolerance))
    drawn = [*report.history_plots(past), *report.plots(found, joined)]
    models, targets = sorted({run.model for run in found}), sorted({run.context.target for run in found})
    heading = title or f"{', '.join(models)} on {', '.join(targets)}"
    written = []
    if html is not None:
        write_file(html, report.page(heading, found, compared, drawn, past, joined).encode())
        written.append(html)
    for plot in drawn if folder is not None else ():
        assert folder is not None
        path = folder / f"{plot.name}.{kind}"
        to_file(plot.figure, path)
        written.append(path)
    if as_json:
        output.print_json("report", files=[str(path) for path in written], runs=[run.id for run in found])
    else:
        for path in written:
            output.console().print(f"{path} [dim]{output.size(path.stat().st_size)}[/]")
