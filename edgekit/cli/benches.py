"""How `edgekit bench` measures on many devices at once. (No command of its own.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from edgekit.cli import output
from edgekit.cli.bench import measure_on, print_runs
from edgekit.errors import EXIT_DONE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.bench import Run
    from edgekit.bench.extras import Extras
    from edgekit.bench.fleet import Part
    from edgekit.devices import Target
    from edgekit.errors import EdgeKitError

    Measured = tuple[list[tuple[Artifact, Run, Path]], list[EdgeKitError]]


def bench_all(
    targets: list[Target], artifacts: list[Artifact], threads: tuple[int, ...] | None, blocks: int, extras: Extras,
    out: Path, wait_s: float, *, as_json: bool,
) -> int:  # fmt: skip
    """Measures on every target, prints what came of it, and returns the exit status of all together."""
    from edgekit.bench.fleet import measure_all, worst

    with output.stage_progress() as progress:

        def job(target: Target, go_on: Callable[[], None]) -> Measured:
            counts = threads or (target.bench.threads,)
            return measure_on(
                target, artifacts, counts, blocks, extras, out, wait_s, progress, named=len(targets) > 1, go_on=go_on
            )

        def on_part(part: Part[Measured]) -> None:
            progress.console.print(Text(f"{part.target.name}: {_state(part)} after {part.seconds:.0f} s"))

        parts = measure_all(targets, job, on_part=on_part)
    if as_json:
        _print_json(parts)
    else:
        _print(parts)
    return worst([_status(part) for part in parts])


def _errors(part: Part[Measured]) -> list[EdgeKitError]:
    if part.error is not None:
        return [part.error]
    return part.found[1] if part.found is not None else []


def _status(part: Part[Measured]) -> int:
    from edgekit.bench.fleet import exit_status_of, worst

    return worst([exit_status_of(error) for error in _errors(part)])


def _state(part: Part[Measured]) -> str:
    if part.error is not None:
        return "away" if part.away else "failed"
    return "measured" if _status(part) == EXIT_DONE else "failed in part"


def _print_json(parts: list[Part[Measured]]) -> None:
    """The document of one target's `bench`, and what became of each target."""
    runs = [kept for part in parts if part.found is not None for kept in part.found[0]]
    targets = [
        {
            "target": part.target.name,
            "state": _state(part),
            "status": _status(part),
            "runs": [run.id for _, run, _ in part.found[0]] if part.found is not None else [],
            "errors": [error.as_dict() for error in _errors(part)],
        }
        for part in parts
    ]
    output.print_json(
        "bench",
        runs=[{"file": str(path), "run": run} for _, run, path in runs],
        errors=[error.as_dict() for part in parts for error in _errors(part)],
        targets=targets,
    )


def _print(parts: list[Part[Measured]]) -> None:
    for part in parts:
        if part.found is not None and part.found[0]:
            print_runs(part.target.name, part.found[0], titled=True)
    styles = {"measured": "green", "away": "yellow", "failed": "red", "failed in part": "red"}
    rows = [
        [part.target.name, Text(_state(part), styles[_state(part)]), str(len(part.found[0]) if part.found else 0),
         " ".join(error.what for error in _errors(part)) or "–"]
        for part in parts
    ]  # fmt: skip
    output.print_table(f"{len(parts)} targets", ["target", "state", "runs", "why"], rows, right="runs", titled=True)
