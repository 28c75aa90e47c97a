"""`edgekit compare`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import click

from edgekit.cli import output
from edgekit.cli.options import tolerance_option
from edgekit.cli.output import json_option

if TYPE_CHECKING:
    from edgekit.bench.run import Run


@click.command("compare")
@click.argument("baseline")
@click.argument("candidate")
@tolerance_option
@json_option
@click.pass_context
def command(ctx: click.Context, baseline: str, candidate: str, tolerance: float, *, as_json: bool) -> None:
    """Compare stored runs: files, folders, or git revisions of bench_results (REVISION or REVISION:FOLDER).

    Two files are compared as they are. Of folders and revisions the latest run of each target, model, recipe and thread
    count is. Runs that were not measured alike are incomparable, and the differing fields are named. `edgekit gate`
    measures both in turn on the device, and sees much smaller differences.
    """
    from edgekit.bench.compare import Compared, compare, compare_runs
    from edgekit.cli.verdicts import exit_status, print_comparisons
    from edgekit.errors import ArtifactError

    (a, of_a), (b, of_b) = _latest(baseline), _latest(candidate)
    if of_a == 1 and of_b == 1:
        found = Compared(tuple(compare_runs([(a[0], b[0])], tolerance)), (), ())
    else:
        found = compare(a, b, tolerance)
    if not found.comparisons:
        raise ArtifactError(
            f"No run of {candidate} has a counterpart in {baseline}: they have {', '.join(found.only_candidate)} and "
            f"{', '.join(found.only_baseline)}.",
            remedy="Compare runs of the same target, model, recipe and threads, or two single files.",
        )
    if as_json:
        output.print_json("compare", **{name: getattr(found, name) for name in found.__struct_fields__})
    else:
        print_comparisons(f"{candidate} against {baseline}", found.comparisons)
        for name, only in (("baseline", found.only_baseline), ("candidate", found.only_candidate)):
            if only:
                output.console().print(f"[dim]in the {name} only: {', '.join(only)}[/]")
    ctx.exit(exit_status([comparison.verdict for comparison in found.comparisons]))


def _latest(where: str) -> tuple[list[Run], int]:
    """The latest runs at a place, and of how many; the others are not kept in memory."""
    from edgekit.bench.compare import latest
    from edgekit.bench.stored import named_runs

    counted = itertools.count()
    found = list(latest(run for (_, run), _ in zip(named_runs(where), counted, strict=False)).values())
    return found, next(counted)
