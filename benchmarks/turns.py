"""How far the ratio of two equal processes scatters, by how they take turns, and on which processors.

    edgekit convert models/crepe_tiny --to tflite:float32
    python benchmarks/turns.py artifacts/crepe_tiny/tflite-float32

Pairs of fresh processes with the same artifact, half a second of invokes a side, as few long turns or many short ones,
in one process after the other of a pair; once where the scheduler puts them, once on one processor. For each, the
standard deviation of the pairs' log ratios, of the medians of all samples and of the median of the turns' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from report import machine

from edgekit.artifact import open_artifact
from edgekit.devices.runner_zip import runner_zip

TURNS_S = (0.5, 0.1, 0.05, 0.02, 0.01, 0.005)
TOTAL_S = 0.5

SIDE = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from edgekit_runner import runtimes
from edgekit_runner.session import set_sample
request = json.loads(sys.argv[2])
if request["core"] is not None:
    os.sched_setaffinity(0, [request["core"]])
session = runtimes.find(request["runtime"]).load(request["payload"], 1, request["bindings"])
set_sample(session, [np.load(path)[0] for path in request["golden"]])
clock = time.perf_counter_ns
print("ready", flush=True)
for line in sys.stdin:
    samples, end = [], clock() + int(float(line) * 1e9)
    session.invoke()
    while not samples or clock() < end:
        start = clock()
        session.invoke()
        samples.append(clock() - start)
    print(json.dumps(samples), flush=True)
"""


class Side:
    """A fresh process with the model loaded."""

    def __init__(self, request: dict[str, object]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SIDE, str(runner_zip()[0]), json.dumps(request)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asks, self._answers = self._process.stdin, self._process.stdout
        self._answers.readline()
        self.turn(0.2)

    def turn(self, seconds: float) -> list[int]:
        """Latencies in ns."""
        self._asks.write(f"{seconds}\n")
        found: list[int] = json.loads(self._answers.readline())
        return found

    def end(self) -> None:
        self._asks.close()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--pairs", type=int, default=14)
    options = parser.parse_args()
    artifact = open_artifact(options.artifact)
    manifest = artifact.manifest
    request: dict[str, object] = {
        "runtime": manifest.runtime,
        "payload": str(artifact.path / manifest.payload),
        "bindings": {"inputs": list(manifest.bindings.inputs), "outputs": list(manifest.bindings.outputs)},
        "golden": [str(artifact.path / name) for name in manifest.golden.inputs],
    }
    print(machine())
    print(f"{artifact.title}, {options.pairs} pairs: standard deviation of the log ratio, of all samples / of turns")
    print("| turns of | where the scheduler puts them | on one processor |\n|---|---|---|")
    cores = {"free": None, "one": max(os.sched_getaffinity(0))}
    found = {name: _scatter({**request, "core": core}, options.pairs) for name, core in cores.items()}
    for seconds in TURNS_S:
        cells = [" / ".join(f"{value:.4f}" for value in found[name][seconds]) for name in cores]
        print(f"| {seconds:g} s | {' | '.join(cells)} |")


def _scatter(request: dict[str, object], pairs: int) -> dict[float, tuple[float, float]]:
    draw = random.Random(1)  # an order of measurement, not a secret
    whole: dict[float, list[float]] = {seconds: [] for seconds in TURNS_S}
    by_turns: dict[float, list[float]] = {seconds: [] for seconds in TURNS_S}
    for _ in range(pairs):
        sides = Side(request), Side(request)
        for seconds in TURNS_S:
            taken: tuple[list[list[int]], list[list[int]]] = ([], [])
            for _ in range(max(1, round(TOTAL_S / seconds))):
                for k in (0, 1) if draw.random() < 0.5 else (1, 0):
                    taken[k].append(sides[k].turn(seconds))
            a, b = (np.median(np.concatenate(side)) for side in taken)
            whole[seconds].append(float(np.log(b / a)))
            ratios = [np.log(np.median(b) / np.median(a)) for a, b in zip(*taken, strict=True)]
            by_turns[seconds].append(float(np.median(ratios)))
        for side in sides:
            side.end()
    return {s: (statistics.stdev(whole[s]), statistics.stdev(by_turns[s])) for s in TURNS_S}


if __name__ == "__main__":
    main()
