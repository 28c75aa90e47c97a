"""The p50 that `edgekit bench` prints, against a bare loop over the same interpreter and against LiteRT's own tool.

    python benchmarks/bench_against_bare_loop.py ARTIFACT... [--pairs 10] [--turns]

The bare loop is a script that knows nothing of EdgeKit: interpreter, allocate, the first golden input, then as many
invokes to warm up and as many timed ones as EdgeKit made in the run before it (the first run is made for these counts
alone and not compared). A pair is one of each, and the order alternates. Both use one thread and one process a figure.
Goal: a median ratio within 2 %. What a machine can resolve shows in the column after it: the bare loop against itself,
in pairs of neighbours.

LiteRT's own tool is `ai_edge_litert.tools.benchmark_litert_model`, which its wheel brings: 5 warm-ups, 50 invokes of
`CompiledModel` with random inputs, a median printed to 0.01 ms. It has its turn after each pair.

With `--turns` the runner and a bare loop are both alive and take turns of 20 ms on one processor, as both sides of a
gate do (`edgekit.bench.turns`): the bare loop is then a script that reads and writes a byte between its turns. A pair
counts by the median of the turns' ratios. That is for machines whose speed changes from one process to the next.

`seconds` is the wall time of a whole call of `edgekit bench` less its samples and its warm-up, all at their median:
what the harness costs a run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from report import machine, spread
from taking_turns import both, ratio, request_of, turns_of

from edgekit.artifact import open_artifact
from edgekit.bench.effect import Paired
from edgekit.devices.runner_zip import runner_zip

OPEN = """
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=model, num_threads=1)
interpreter.allocate_tensors()
detail = interpreter.get_input_details()[0]
value = np.load(golden)[0]
if detail["dtype"] != value.dtype.type:
    scale, zero = detail["quantization"]
    value = np.clip(np.rint(value / scale) + zero, -128, 127).astype(detail["dtype"])
interpreter.set_tensor(detail["index"], value)
"""

BARE = f"""
import statistics, sys, time
model, golden, warm_up, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
{OPEN}
for _ in range(warm_up):
    interpreter.invoke()
samples = []
for _ in range(count):
    start = time.perf_counter_ns()
    interpreter.invoke()
    samples.append(time.perf_counter_ns() - start)
print(statistics.median(samples))
"""

IN_TURNS = f"""
import json, os, sys, time
model, golden, take, give = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
os.read(take, 1)
{OPEN}
end = time.perf_counter_ns() + 500_000_000
while time.perf_counter_ns() < end:
    interpreter.invoke()
os.write(give, b"m")
turns = []
while os.read(take, 1) == b"m":
    interpreter.invoke()
    samples, end = [], time.perf_counter_ns() + 20_000_000
    while not samples or time.perf_counter_ns() < end:
        start = time.perf_counter_ns()
        interpreter.invoke()
        samples.append(time.perf_counter_ns() - start)
    turns.append(samples)
    os.write(give, b"e")
print(json.dumps(turns))
"""


@dataclass(frozen=True)
class Measured:
    """What `edgekit bench` printed: p50 in ns, its invokes, and the seconds that the call took beside them."""

    p50_ns: float
    warm_up: int
    count: int
    overhead_s: float


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--turns", action="store_true")
    options = parser.parse_args()
    print(machine("ai-edge-litert", "numpy"))
    if options.turns:
        for path in options.artifacts:
            _print_in_turns(path, options.pairs)
        return
    print(
        f"\n{'':24} {'bare p50':>11} {'bench p50':>11}   {'bench/bare: median (min to max)':32}   {'bare/bare':25}   "
        f"{'LiteRT tool/bare':25}   seconds"
    )
    for path in options.artifacts:
        artifact = open_artifact(path)
        last = _bench(artifact.path)
        bare: list[float] = []
        ours: list[Measured] = []
        peer: list[float] = []
        for pair in range(options.pairs):
            if pair % 2 == 0:
                bare.append(_bare(artifact.path, last))
            last = _bench(artifact.path)
            ours.append(last)
            if pair % 2 == 1:
                bare.append(_bare(artifact.path, last))
            peer.append(_peer(artifact.path))
        p50s = [each.p50_ns for each in ours]
        ratios = [mine / plain for mine, plain in zip(p50s, bare, strict=True)]
        theirs = [other / plain for other, plain in zip(peer, bare, strict=True)]
        itself = [b / a for a, b in itertools.pairwise(bare)]
        print(
            f"{artifact.title:24} {statistics.median(bare) / 1e6:8.4f} ms {statistics.median(p50s) / 1e6:8.4f} ms   "
            f"{spread(ratios):32}   {spread(itself):25}   {spread(theirs):25}   "
            f"{spread([each.overhead_s for each in ours])}",
            flush=True,
        )


def _print_in_turns(path: Path, pairs: int) -> None:
    found = [_ratio_in_turns(path) for _ in range(pairs)]
    effect = Paired(tuple(math.log(ratio) for ratio, _ in found)).interval(0.95)
    print(
        f"{open_artifact(path).title:24} bare {statistics.median([ms for _, ms in found]):8.4f} ms   bench/bare "
        f"{spread([ratio for ratio, _ in found], 4)}   mean {effect.ratio:.4f}, 95 % interval {effect.low:.4f} to "
        f"{effect.high:.4f}",
        flush=True,
    )


def _ratio_in_turns(path: Path) -> tuple[float, float]:
    """The runner over a bare loop that it takes turns with, and the bare loop's p50 in ms."""
    artifact = open_artifact(path)
    manifest = artifact.manifest
    files = [str(path / manifest.payload), str(path / manifest.golden.inputs[0])]
    request = request_of(artifact)
    bare, runner = both(
        lambda take, give: [sys.executable, "-c", IN_TURNS, *files, str(take), str(give)],
        lambda take, give: [sys.executable, str(runner_zip()[0]), request, f"second,{take},{give}"],
    )
    turns = json.loads(bare)
    return ratio(turns_of(runner), turns), statistics.median([ns for turn in turns for ns in turn]) / 1e6


def _bare(path: Path, like: Measured) -> float:
    manifest = open_artifact(path).manifest
    files = [str(path / manifest.payload), str(path / manifest.golden.inputs[0])]
    command = [sys.executable, "-c", BARE, *files, str(like.warm_up), str(like.count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peer(path: Path) -> float:
    """The median of LiteRT's own tool, in ns."""
    model = path / open_artifact(path).manifest.payload
    with tempfile.TemporaryDirectory() as out:
        written = Path(out, "result.json")
        command = [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model", f"--model={model}",
                   f"--result_json={written}"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        return float(json.loads(written.read_text(encoding="utf-8"))["latency"]["median_ms"]) * 1e6


def _bench(path: Path) -> Measured:
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "edgekit", "bench", str(path), "--on", "local", "--threads", "1",
                   "--blocks", "1", "--json", "--out", out]  # fmt: skip
        start = time.perf_counter()
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds = time.perf_counter() - start
    run = json.loads(answer)["runs"][0]["run"]
    (block,) = run["blocks"]
    p50, warm_up, count = run["summary"]["p50"]["value_ns"], block["warmup"]["n"], block["samples"]["n"]
    return Measured(p50, warm_up, count, seconds - (warm_up + count) * p50 / 1e9)


if __name__ == "__main__":
    main()
