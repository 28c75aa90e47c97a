"""The p50 that `edgekit bench` prints against a bare loop over the same interpreter, in fresh processes, in turn.

    python benchmarks/bench_against_bare_loop.py ARTIFACT... [--pairs 10]

The bare loop is a script that knows nothing of EdgeKit: interpreter, allocate, the first golden input, then as many
invokes to warm up and as many timed ones as EdgeKit made in the run before it (the first run is made for these counts
alone and not compared). A pair is one of each, and the order alternates. Both use one thread and one process a figure.
Goal: a median ratio within 2 %. What a machine can resolve shows in the last column: the bare loop against itself, in
pairs of neighbours.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from report import machine, spread

from edgekit.artifact import open_artifact

BARE = """
import statistics, sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
model, golden, warm_up, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
interpreter = Interpreter(model_path=model, num_threads=1)
interpreter.allocate_tensors()
detail = interpreter.get_input_details()[0]
value = np.load(golden)[0]
if detail["dtype"] != value.dtype.type:
    scale, zero = detail["quantization"]
    value = np.clip(np.rint(value / scale) + zero, -128, 127).astype(detail["dtype"])
interpreter.set_tensor(detail["index"], value)
for _ in range(warm_up):
    interpreter.invoke()
samples = []
for _ in range(count):
    start = time.perf_counter_ns()
    interpreter.invoke()
    samples.append(time.perf_counter_ns() - start)
print(statistics.median(samples))
"""


@dataclass(frozen=True)
class Measured:
    """What `edgekit bench` printed: p50 in ns, and how many invokes it made for it."""

    p50_ns: float
    warm_up: int
    count: int


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=10)
    options = parser.parse_args()
    print(machine("ai-edge-litert", "numpy"))
    print(f"\n{'':24} {'bare p50':>11} {'bench p50':>11}   bench/bare: median (min to max)   bare/bare")
    for path in options.artifacts:
        artifact = open_artifact(path)
        last = _bench(artifact.path)
        bare: list[float] = []
        ours: list[float] = []
        for pair in range(options.pairs):
            if pair % 2 == 0:
                bare.append(_bare(artifact.path, last))
            last = _bench(artifact.path)
            ours.append(last.p50_ns)
            if pair % 2 == 1:
                bare.append(_bare(artifact.path, last))
        ratios = [mine / plain for mine, plain in zip(ours, bare, strict=True)]
        itself = [b / a for a, b in itertools.pairwise(bare)]
        print(
            f"{artifact.title:24} {statistics.median(bare) / 1e6:8.4f} ms {statistics.median(ours) / 1e6:8.4f} ms   "
            f"{spread(ratios):32}   {spread(itself)}",
            flush=True,
        )


def _bare(path: Path, like: Measured) -> float:
    manifest = open_artifact(path).manifest
    files = [str(path / manifest.payload), str(path / manifest.golden.inputs[0])]
    command = [sys.executable, "-c", BARE, *files, str(like.warm_up), str(like.count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _bench(path: Path) -> Measured:
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "edgekit", "bench", str(path), "--on", "local", "--threads", "1",
                   "--blocks", "1", "--json", "--out", out]  # fmt: skip
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    run = json.loads(answer)["runs"][0]["run"]
    (block,) = run["blocks"]
    return Measured(run["summary"]["p50"]["value_ns"], block["warmup"]["n"], block["samples"]["n"])


if __name__ == "__main__":
    main()
