"""The native runner against the Python one, on this machine: latency, start-up, memory, size.

    edgekit convert models/NAME --to tflite:float32 --to tflite:int8
    python benchmarks/native_runner.py ARTIFACT... --pairs 10

Both measure in turn, in an order drawn anew for each pair, each in a fresh process as `edgekit bench` starts it; a
ratio is taken within a pair. Goal: the median ratio of p50 within 2 % where an inference takes 1 ms or more. Below that
the two differ by what surrounds an inference: the runtime's C interface and its Python binding.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec
from report import machine, spread

from edgekit.artifact import open_artifact
from edgekit.bench.measure import measure, prepare
from edgekit.devices import connect, load_target

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.bench.run import Block
    from edgekit.devices import Device

KINDS = ("native", "python")


def measured(devices: dict[str, Device], artifact: Artifact, pairs: int, threads: int) -> dict[str, list[Block]]:
    """Blocks of both, in turn."""
    prepared = {kind: prepare(devices[kind], artifact, threads=threads) for kind in KINDS}
    blocks: dict[str, list[Block]] = {kind: [] for kind in KINDS}
    order = random.Random(0)
    for _ in range(pairs):
        for kind in order.sample(KINDS, 2):
            blocks[kind].append(measure(devices[kind], prepared[kind]).block)
    return blocks


def ratios(native: list[float], python: list[float]) -> list[float]:
    """native / python in each pair."""
    return [a / b for a, b in zip(native, python, strict=True)]


def start_up(device: Device, count: int) -> list[float]:
    """Seconds from starting the runner to the end of an `info` request that looks for LiteRT."""
    found = []
    runner = device.runner
    assert runner is not None
    path = device.path("runner", f"{runner.sha256}{runner.path.suffix}")
    request = msgspec.json.encode({"schema": 1, "do": "info", "runtimes": ["litert"], **runner.fields}).decode()
    for _ in range(count):
        began = time.perf_counter()
        subprocess.run(runner.command(device, path, request), capture_output=True, check=True)
        found.append(time.perf_counter() - began)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="least time of sampling in a block")
    arguments = parser.parse_args()
    base = load_target("local")
    settings = msgspec.structs.replace(
        base.bench, min_s=arguments.seconds, max_s=10 * arguments.seconds, max_warmup_s=2.0
    )
    targets = {kind: msgspec.structs.replace(base, runner=kind, bench=settings) for kind in KINDS}
    with connect(targets["native"]) as native, connect(targets["python"]) as python:
        devices = {"native": native, "python": python}
        print(machine("ai-edge-litert", "onnxruntime", "ziglang"))
        print(f"\n{'':26} {'p50 native':>11} {'p50 python':>11}  {'ratio of p50 in a pair':24} {'ratio of minima':24} "
              "peak memory")  # fmt: skip
        for path in arguments.artifacts:
            artifact = open_artifact(path)
            print_line(artifact.title, measured(devices, artifact, arguments.pairs, arguments.threads))
        print(f"\n{'':12} {'file':>8}   start, facts, and finding LiteRT")
        for kind, device in devices.items():
            assert device.runner is not None
            size = device.runner.path.stat().st_size / 1e3
            print(
                f"{kind:12} {size:5.0f} kB   {spread([1e3 * s for s in start_up(device, 2 * arguments.pairs)], 0)} ms"
            )


def print_line(title: str, blocks: dict[str, list[Block]]) -> None:
    """One artifact's line."""
    p50 = {kind: [block.median_ns / 1e6 for block in blocks[kind]] for kind in KINDS}
    least = {kind: [float(block.samples.unpack().min()) for block in blocks[kind]] for kind in KINDS}
    peak = {kind: median((block.peak_rss_bytes or 0) / 1e6 for block in blocks[kind]) for kind in KINDS}
    same = all(output.exact for kind in KINDS for block in blocks[kind] for output in block.golden)
    print(
        f"{title:26} {median(p50['native']):8.4f} ms {median(p50['python']):8.4f} ms  "
        f"{spread(ratios(p50['native'], p50['python'])):24} {spread(ratios(least['native'], least['python'])):24} "
        f"{peak['native']:.0f} against {peak['python']:.0f} MB{'' if same else '; golden answers differ'}"
    )


if __name__ == "__main__":
    main()
