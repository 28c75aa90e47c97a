"""A thousand stored runs: what they take on disk, and what `compare`, `report` and `history` take to read them.

    edgekit bench artifacts/crepe_tiny/tflite-float32 --on local --blocks 10
    python benchmarks/stored_runs.py bench_results/local/....json [--runs 1000] [--rounds 5]

The runs are made of the blocks of the given one, which was really measured: 5 targets, 40 recipes each, a day apart,
the latencies of each run scaled by a noise of 1 %, so that no two files are alike. Half of them are the baseline.
Prints bytes a run as files, and packed by git; then wall and CPU seconds and the peak memory of each command as a
process of its own, its start included. Goals: seconds, and memory that does not grow with the samples.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import msgspec
import numpy as np
from report import machine, spread

from edgekit.bench.run import Block, Run, read_run, write_run
from edgekit.bench.samples import pack
from edgekit.bench.statistics import summarise
from edgekit.recipe import Recipe

TARGETS, RECIPES = 5, 40


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("like", type=Path)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    like = read_run(options.like)
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make(like, options.runs, folder)
        _print_storage(like, folder)
        commands = {
            "compare": ["compare", "old", "new"],
            "report --html": ["report", "new", "--against", "old", "--html", "page.html"],
            "history": ["history", "."],
        }
        print(
            f"\n| {options.runs} runs, {options.rounds} calls | wall s | CPU s | peak memory, MB |\n|---|---|---|---|"
        )
        for title, command in commands.items():
            taken = [_call(command, folder) for _ in range(options.rounds)]
            wall, cpu, memory = (spread([one[k] for one in taken], 2) for k in range(3))
            print(f"| `edgekit {title}` | {wall} | {cpu} | {memory} |", flush=True)
        print(f"page.html has {(folder / 'page.html').stat().st_size / 1e6:.1f} MB")


def _make(like: Run, count: int, folder: Path) -> None:
    draw = random.Random(0)
    for k in range(count):
        factor = draw.gauss(1, 0.01)
        blocks = tuple(_scaled(block, factor) for block in like.blocks)
        samples = np.concatenate([block.samples.unpack() for block in blocks]).tolist()
        run = msgspec.structs.replace(
            like,
            id=f"{draw.randrange(1 << 48):012x}",
            started_at=f"{date(2026, 1, 1) + timedelta(days=k // (TARGETS * RECIPES))}T{k % 24:02d}:00:00Z",
            recipe=Recipe("tflite", f"p{k // TARGETS % RECIPES}"),
            context=msgspec.structs.replace(like.context, target=f"board{k % TARGETS}"),
            blocks=blocks,
            summary=summarise(samples),
        )
        write_run(run, folder / ("old" if k < count // 2 else "new"))


def _scaled(block: Block, factor: float) -> Block:
    warmup, samples = (pack(np.rint(factor * s.unpack()).astype(int).tolist()) for s in (block.warmup, block.samples))
    return msgspec.structs.replace(block, warmup=warmup, samples=samples)


def _print_storage(like: Run, folder: Path) -> None:
    sizes = [path.stat().st_size for path in folder.rglob("*.json")]
    git = ["git", "-c", "user.name=x", "-c", "user.email=x", "-C", str(folder)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "runs"], ["gc", "-q"]):
        subprocess.run([*git, *command], check=True)
    packed = sum(path.stat().st_size for path in (folder / ".git" / "objects" / "pack").iterdir())
    n = sum(block.samples.n + block.warmup.n for block in like.blocks)
    print(f"a run of {len(like.blocks)} blocks, {n} latencies: {statistics.median(sizes) / 1e3:.1f} kB as a file, "
          f"{packed / len(sizes) / 1e3:.1f} kB in git")  # fmt: skip


def _call(command: list[str], folder: Path) -> tuple[float, float, float]:
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "edgekit", *command], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 3, 4):
        raise SystemExit(f"edgekit {' '.join(command)} ended with {code}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


if __name__ == "__main__":
    main()
