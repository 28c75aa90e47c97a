"""The whole conversion matrix: every model by every precision of every format that is installed.

    python benchmarks/convert_matrix.py [MODEL...] [--formats tflite onnx] [--rounds 7] [--again 5] --out matrix.json

A cell is one model and one recipe. It is either proven, and then has its conversion's seconds, the payload's bytes,
the worst SNR against the source, how much of the model's metric was lost and the latency on this machine; or it is
refused or failed, and then has the reason. A format that cannot read a model at all is one row.

Seconds are the steps' own, read from the artifacts: what converting took when it was done, whether that was now or in
an earlier run whose result lies in the cache. So a matrix that was interrupted goes on where it stopped.

Latency is of the runner's session, one thread, on the first golden input. Each runtime has a process of its own, which
holds all artifacts of the model that it executes; the cells are measured in turn, round by round, so that what else the
machine does meets all of them alike. A cell's figure is the median over the rounds of the median in a round.

`--again N` then converts what was proven once more, N times, each in a process of its own (`edgekit convert MODEL --to
...`), and fails if anything was made anew. Goal: less than 1 s a model.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import machine, spread

from edgekit import plugins
from edgekit.artifact import Artifact, Build
from edgekit.convert.chain import Bounds, Outcome, convert
from edgekit.convert.load import ModelRef, find_model
from edgekit.errors import EdgeKitError, RefusedError
from edgekit.files import write_file
from edgekit.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

MODELS = ("digits_cnn", "digits_cnn_keras", "crepe_tiny", "mobilenet_v2", "language_id")
SCHEMA = 1
ROUND_SECONDS = 0.1
FEWEST_INVOKES = 5

MEASURE = """
import json, statistics, sys, time
import numpy as np
from edgekit import plugins
from edgekit.runner.session import set_sample
runtime = plugins.load("runtime", sys.argv[1])
seconds, fewest = float(sys.argv[2]), int(sys.argv[3])
answers = sys.stdout
sys.stdout = sys.stderr
sessions = []
for line in sys.stdin:
    asked = json.loads(line)
    try:
        if "payload" in asked:
            session = runtime.load(asked["payload"], 1, asked["bindings"])
            set_sample(session, [np.load(path)[0] for path in asked["inputs"]])
            session.invoke()
            sessions.append(session)
            answer = {"session": len(sessions) - 1}
        else:
            invoke, samples = sessions[asked["session"]].invoke, []
            invoke()
            end = time.perf_counter() + seconds
            while len(samples) < fewest or time.perf_counter() < end:
                start = time.perf_counter_ns()
                invoke()
                samples.append(time.perf_counter_ns() - start)
            answer = {"p50_ns": statistics.median(samples)}
    except Exception as error:
        answer = {"because": (str(error).strip() or type(error).__name__).splitlines()[0]}
    print(json.dumps(answer), file=answers, flush=True)
"""
"""A process that holds one runtime's sessions: one question a line, one answer a line."""


@dataclass
class Cell:
    """One model by one recipe. What was not measured is None, `because` (or `latency_because`) of something."""

    model: str
    recipe: str
    status: str
    because: str = ""
    seconds: float | None = None
    shared_seconds: dict[str, float] = field(default_factory=dict)
    wall_seconds: float | None = None
    cached: bool = False
    bytes: int | None = None
    stored_dtypes: dict[str, int] = field(default_factory=dict)
    snr_db: float | None = None
    min_snr_db: float | None = None
    proved_by: str = ""
    metric: str | None = None
    unit: str = ""
    source_value: float | None = None
    drop: float | None = None
    notes: tuple[str, ...] = ()
    p50_ns: list[float] = field(default_factory=list)
    latency_because: str = ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--formats", nargs="*", default=plugins.names("format"), metavar="FORMAT")
    parser.add_argument("--rounds", type=int, default=7, help="of latency; 0 measures none")
    parser.add_argument("--again", type=int, default=0, help="how often to convert the unchanged matrix again")
    parser.add_argument("--jobs", type=int, default=1, help="conversions at once")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    print(machine("edgekit", "numpy"))
    document: dict[str, Any] = {"schema": SCHEMA, "machine": machine("edgekit", "numpy"), "cells": [], "again": {}}
    for name in options.models:
        cells, artifacts = convert_all(find_model(name), options.formats, options.artifacts, options.jobs)
        measure_all(artifacts, options.rounds)
        print_table(name, cells)
        document["cells"] += [asdict(cell) for cell in cells]
        write_file(options.out, json.dumps(document, indent=1).encode())
        recipes = [cell.recipe for cell, _ in artifacts]
        if options.again and recipes:
            runs = [again(name, recipes, options.artifacts) for _ in range(options.again)]
            document["again"][name] = {"wall_s": [wall for wall, _ in runs], "cpu_s": [cpu for _, cpu in runs]}
            told = ", ".join(f"{clock} {spread(seconds)}" for clock, seconds in document["again"][name].items())
            print(f"{len(recipes)} recipes of {name} again: {told}")
            write_file(options.out, json.dumps(document, indent=1).encode())


def convert_all(
    ref: ModelRef, formats: Sequence[str], out: Path, jobs: int
) -> tuple[list[Cell], list[tuple[Cell, Artifact]]]:
    """All cells of a model, in the order of the formats, and of the proven ones the artifacts."""
    cells: list[Cell] = []
    artifacts: list[tuple[Cell, Artifact]] = []
    for name in formats:
        recipes = [Recipe(name, precision) for precision in plugins.load("format", name).precisions]
        print(f"{ref.name} {name}: {', '.join(recipe.precision for recipe in recipes)} ...", flush=True)
        try:
            outcomes = convert(ref, recipes, out=out, on_outcome=report_progress, bounds=Bounds(jobs=jobs))
        except EdgeKitError as error:  # no route to this format, or it is not installed
            cells.append(Cell(ref.name, f"{name}:*", "no route", first_sentence(error)))
            continue
        for outcome in outcomes:
            cells.append(cell_of(ref.name, outcome))
            if outcome.artifact is not None:
                artifacts.append((cells[-1], outcome.artifact))
    return cells, artifacts


def report_progress(outcome: Outcome) -> None:
    """One line on standard error: a matrix takes long."""
    became = "from the cache" if outcome.cached else "proven" if outcome.artifact else "not proven"
    print(f"  {outcome.recipe}: {became}, {outcome.seconds:.0f} s", file=sys.stderr, flush=True)


def cell_of(model: str, outcome: Outcome) -> Cell:
    """A cell without its latency."""
    recipe, artifact = str(outcome.recipe), outcome.artifact
    if artifact is None:
        assert outcome.error is not None
        status = "refused" if isinstance(outcome.error, RefusedError) else "failed"
        return Cell(model, recipe, status, first_sentence(outcome.error), wall_seconds=outcome.seconds)
    manifest = artifact.manifest
    build = read_build(artifact)
    return Cell(
        model,
        recipe,
        "proven",
        seconds=build.seconds,
        shared_seconds={step: cost.seconds for step, cost in build.shared.items()},
        wall_seconds=outcome.seconds,
        cached=outcome.cached,
        bytes=manifest.payload_bytes,
        stored_dtypes=manifest.stored_dtypes,
        snr_db=manifest.parity.worst_snr_db,
        min_snr_db=manifest.parity.min_snr_db,
        proved_by=manifest.parity.proved_by,
        metric=manifest.accuracy.metric,
        unit=manifest.accuracy.unit,
        source_value=manifest.accuracy.source,
        drop=manifest.accuracy.drop,
        notes=manifest.notes,
    )


def read_build(artifact: Artifact) -> Build:
    """What building it took."""
    import msgspec

    return msgspec.json.decode((artifact.path / "build.json").read_bytes(), type=Build)


def first_sentence(error: EdgeKitError) -> str:
    """What went wrong, in one line."""
    return " ".join(error.what.split())


class Process:
    """The process of one runtime; a question to it is answered, or says why not."""

    def __init__(self, runtime: str) -> None:
        command = [sys.executable, "-c", MEASURE, runtime, str(ROUND_SECONDS), str(FEWEST_INVOKES)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._runtime = runtime
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            print(json.dumps(question), file=self._child.stdin, flush=True)
            answer = self._child.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            return {"because": f"the process of the runtime {self._runtime} ended with {self._child.wait()}"}
        return dict(json.loads(answer))

    def close(self) -> None:
        self._child.communicate()


def measure_all(artifacts: Sequence[tuple[Cell, Artifact]], rounds: int) -> None:
    """Fills in the latency of every cell, round by round over all of them."""
    if not rounds:
        for cell, _ in artifacts:
            cell.latency_because = "not asked for"
        return
    processes = {name: Process(name) for name in {artifact.manifest.runtime for _, artifact in artifacts}}
    try:
        loaded = []
        for cell, artifact in artifacts:
            process = processes[artifact.manifest.runtime]
            answer = process.ask(_load(artifact))
            cell.latency_because = answer.get("because", "")
            if not cell.latency_because:
                loaded.append((cell, process, answer["session"]))
        for _ in range(rounds):
            for cell, process, session in loaded:
                answer = process.ask({"session": session})
                if "because" in answer:
                    cell.latency_because, cell.p50_ns = answer["because"], []
                elif not cell.latency_because:
                    cell.p50_ns.append(answer["p50_ns"])
    finally:
        for process in processes.values():
            process.close()


def _load(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "payload": str(artifact.path / manifest.payload),
        "bindings": {"inputs": manifest.bindings.inputs, "outputs": manifest.bindings.outputs},
        "inputs": [str(artifact.path / path) for path in manifest.golden.inputs],
    }


def again(name: str, recipes: Sequence[str], out: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one more `edgekit convert` with nothing changed."""
    words = [word for recipe in recipes for word in ("--to", recipe)]
    command = [sys.executable, "-m", "edgekit", "convert", name, *words, "--out", str(out), "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not all(result["cached"] for result in json.loads(answer.stdout)["results"]):
        raise SystemExit(f"a recipe of {name} was converted again, though nothing had changed")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_table(model: str, cells: Sequence[Cell]) -> None:
    """The proven cells with their figures, then the others with their reasons."""
    proven = [cell for cell in cells if cell.status == "proven"]
    if proven:
        value = proven[0].source_value
        metric = f"{proven[0].metric} {value:.4f} in the source" if value is not None else "no metric"
        print(f"\n{model}, {metric}")
        print(f"{'recipe':26} {'own s':>6} {'shared s':>8} {'bytes':>10} {'SNR dB':>7} {'drop':>8}  p50 ms at 1 thread")
    for cell in proven:
        snr = "exact" if cell.snr_db is None else f"{cell.snr_db:.1f}"
        drop = "-" if cell.drop is None else f"{100 * cell.drop:+.2f}" if cell.unit == "%" else f"{cell.drop:+.4f}"
        latency = spread([ns / 1e6 for ns in cell.p50_ns]) if cell.p50_ns else f"- ({cell.latency_because})"
        print(
            f"{cell.recipe:26} {cell.seconds or 0:6.1f} {sum(cell.shared_seconds.values()):8.1f} {cell.bytes:10,} "
            f"{snr:>7} {drop:>8}  {latency}"
        )
    for cell in cells:
        if cell.status != "proven":
            print(f"{cell.recipe:26} {cell.status}: {cell.because}")
    counts: dict[str, int] = defaultdict(int)
    for cell in cells:
        counts[cell.status] += 1
    print(", ".join(f"{count} {status}" for status, count in counts.items()), flush=True)


if __name__ == "__main__":
    main()
