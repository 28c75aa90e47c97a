"""The p50 that `edgekit bench` prints against a bare loop over the same interpreter, in fresh processes, in turn.

    python benchmarks/bench_against_bare_loop.py ARTIFACT... [--pairs 8]

The bare loop is a script that knows nothing of EdgeKit: interpreter, allocate, one golden input, invoke for a second
to warm up, then timed invokes for a second or 50 times. Goal: a ratio of the medians within 2 %.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from edgekit.artifact import open_artifact

BARE = """
import statistics, sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
detail = interpreter.get_input_details()[0]
value = np.load(sys.argv[2])[0]
if detail["dtype"] != value.dtype.type:
    scale, zero = detail["quantization"]
    value = np.clip(np.rint(value / scale) + zero, -128, 127).astype(detail["dtype"])
interpreter.set_tensor(detail["index"], value)
end = time.perf_counter() + 1
while time.perf_counter() < end:
    interpreter.invoke()
samples, end = [], time.perf_counter() + 1
while time.perf_counter() < end or len(samples) < 50:
    start = time.perf_counter_ns()
    interpreter.invoke()
    samples.append(time.perf_counter_ns() - start)
print(statistics.median(samples))
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=8)
    options = parser.parse_args()
    print(f"{'':28} {'bare p50':>10} {'bench p50':>10}  bench/bare: median (min to max)")
    for path in options.artifacts:
        artifact = open_artifact(path)
        bare, ours = [], []
        for pair in range(options.pairs):
            order = [_bare, _bench] if pair % 2 == 0 else [_bench, _bare]
            for measure in order:
                (bare if measure is _bare else ours).append(measure(artifact.path))
        ratios = [mine / plain for mine, plain in zip(ours, bare, strict=True)]
        print(f"{artifact.title:28} {statistics.median(bare) / 1e6:7.4f} ms {statistics.median(ours) / 1e6:7.4f} ms  "
              f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})", flush=True)  # fmt: skip


def _bare(path: Path) -> float:
    manifest = open_artifact(path).manifest
    command = [sys.executable, "-c", BARE, str(path / manifest.payload), str(path / manifest.golden.inputs[0])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _bench(path: Path) -> float:
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "edgekit", "bench", str(path), "--on", "local", "--blocks", "1", "--json",
                   "--out", out]  # fmt: skip
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(answer)["runs"][0]["run"]["summary"]["p50"]["value_ns"])


if __name__ == "__main__":
    main()
