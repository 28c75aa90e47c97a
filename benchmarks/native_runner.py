"""The native runner against the Python one, on this machine: latency, start-up, memory, size.

    edgekit convert models/NAME --to tflite:float32 --to tflite:int8
    python benchmarks/native_runner.py ARTIFACT... --pairs 10 [--turns] [--glibc FOLDER]

Both measure in turn, in an order drawn anew for each pair, each in a fresh process as `edgekit bench` starts it; a
ratio is taken within a pair. Goal: the median ratio of p50 within 2 % where an inference takes 1 ms or more. Below that
the two differ by what surrounds an inference: the runtime's C interface and its Python binding.

With `--turns` both are alive at once and take turns of 20 ms on one processor, as the two sides of a gate do: for
machines whose speed changes from one process to the next. A pair is the median of its turns' ratios. `--glibc FOLDER`
(with `--turns`) then compares the native runner with itself: linked with the loader in that folder, as phones get it
(`site/glibc` of an environment that `edgekit provision` made), against the one with this machine's own C library.
"""

from __future__ import annotations

import argparse
import math
import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec
from report import machine, spread
from taking_turns import both, ratio, request_of, turns_of

from edgekit.artifact import open_artifact
from edgekit.bench.effect import Paired
from edgekit.bench.measure import measure, prepare
from edgekit.devices import connect, load_target
from edgekit.devices.environment import ask_platform
from edgekit.devices.native_runner import native_runner, native_triple
from edgekit.devices.runner_zip import runner_zip
from edgekit.devices.runners import runner_for

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
    runner = runner_for(device)
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
    parser.add_argument("--turns", action="store_true")
    parser.add_argument("--glibc", type=Path, help="a folder with a loader and its libraries")
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
        if arguments.turns:
            for path in arguments.artifacts:
                print_in_turns(native, open_artifact(path), arguments.pairs, arguments.glibc)
            return
        print(f"\n{'':26} {'p50 native':>11} {'p50 python':>11}  {'ratio of p50 in a pair':24} {'ratio of minima':24} "
              "peak memory")  # fmt: skip
        for path in arguments.artifacts:
            artifact = open_artifact(path)
            print_line(artifact.title, measured(devices, artifact, arguments.pairs, arguments.threads))
        print(f"\n{'':12} {'file':>8}   start, facts, and finding LiteRT")
        for kind, device in devices.items():
            size = runner_for(device).path.stat().st_size / 1e3
            print(
                f"{kind:12} {size:5.0f} kB   {spread([1e3 * s for s in start_up(device, 2 * arguments.pairs)], 0)} ms"
            )


def print_in_turns(device: Device, artifact: Artifact, pairs: int, glibc: Path | None) -> None:
    """One artifact's line: the native runner over the Python one, or, brought a glibc, over itself without."""
    runner = runner_for(device, artifact.manifest.runtime)
    asked = request_of(artifact, **runner.fields)
    runner.path.chmod(0o755)
    native = [str(runner.path), asked]
    if glibc is None:
        sides, names = (native, [sys.executable, str(runner_zip()[0]), request_of(artifact)]), "native/python"
    else:
        (loader,) = glibc.glob("ld-linux-*")
        loader.chmod(0o755)
        path, _ = native_runner(native_triple(ask_platform(device)), str(loader))
        path.chmod(0o755)
        brought = ["env", f"LD_LIBRARY_PATH={glibc}", str(path), asked]
        sides, names = (brought, native), "glibc brought/own"
    found, p50 = [], []
    for pair in range(pairs):
        order = (0, 1) if pair % 2 == 0 else (1, 0)
        commands = [
            partial(_with_role, sides[side], name) for side, name in zip(order, ("first", "second"), strict=True)
        ]
        taken = dict(zip(order, map(turns_of, both(*commands)), strict=True))
        found.append(ratio(taken[0], taken[1]))
        p50.append(median(ns for turn in taken[1] for ns in turn) / 1e6)
    effect = Paired(tuple(math.log(one) for one in found)).interval(0.95)
    print(
        f"{artifact.title:26} {median(p50):8.4f} ms  {names} {spread(found, 4)}   mean {effect.ratio:.4f}, "
        f"95 % interval {effect.low:.4f} to {effect.high:.4f}",
        flush=True,
    )


def _with_role(argv: list[str], name: str, take: int, give: int) -> list[str]:
    return [*argv, f"{name},{take},{give}"]


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
