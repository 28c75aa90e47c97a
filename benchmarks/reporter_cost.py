"""What the reporter costs, side by side with its peers, in one run.

    python3 -m venv peers && peers/bin/pip install numpy datasketches ddsketch tdigest fastdigest crick whylogs
    python benchmarks/reporter_cost.py --peers peers/bin/python

Every figure is of rows with ten features, a third of them normal, a third lognormal, a third bimodal. Times are CPU
time of the thread that observes, the least of the rounds, so that what else runs on the machine disturbs little; the
rounds of ours and of the peers take turns. Bytes are counted. Goals: 45, 150 and 300 ns a value in C, with NumPy and
with the standard library; 640 bytes of state a feature; 175 and 310 bytes a feature on the wire; 30 ms to import; 150
KB of wheel.
"""

from __future__ import annotations

import argparse
import compileall
import gc
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

FEATURES = 10
ROWS = 20_000
ROUNDS = 3


def draws(n: int, seed: int) -> list[list[float]]:
    """Rows of ten features."""
    draw = random.Random(seed)
    kinds = (
        lambda: draw.gauss(0, 1),
        lambda: draw.lognormvariate(0, 1),
        lambda: draw.gauss(draw.choice((-3, 3)), 1),
    )
    return [[kinds[j % 3]() for j in range(FEATURES)] for _ in range(n)]


def ns_per_value(observe: Any, rows: list[Any]) -> float:
    """CPU time of this thread over the values."""
    gc.collect()
    gc.disable()
    begun = time.thread_time()
    for row in rows:
        observe(row)
    spent = time.thread_time() - begun
    gc.enable()
    return spent * 1e9 / (len(rows) * FEATURES)


def ours(way: str, kind: str, *, sizes: bool) -> dict[str, Any]:
    """One round of `Reporter.observe`, and the sizes of its windows."""
    if kind != "lists" or way == "numpy":
        import numpy as np
    from edgekit.telemetry.reporter import Reporter, wire
    from edgekit.telemetry.reporter.cells import count_sorted, edges_of
    from edgekit.telemetry.reporter.outbox import Outbox
    from edgekit.telemetry.reporter.reference import Feature, Reference, Tensor

    features = []
    for j, column in enumerate(zip(*draws(20_000, 1), strict=True)):
        ordered = sorted(column)
        edges = edges_of(ordered)
        cells = tuple(count_sorted(ordered, edges))
        features.append(Feature(f"f{j}", "number", "input", "row", f"column:{j}", edges, (), cells))
    reference = Reference.of("cost", features, tensors=[Tensor("row", "input", "row")])
    rows: list[Any] = draws(ROWS, 2)
    if kind == "numpy rows":
        rows = list(np.array(rows, np.float32))
    with tempfile.TemporaryDirectory() as state:
        reporter = Reporter.open(reference, state=state, way=way, window_s=1e9)
        reporter.observe(rows[0])
        time.sleep(0.3)  # the first checkpoint
        found = {"ns": ns_per_value(reporter.observe, rows)}
        if kind == "batch":
            batches = [np.array(rows[i : i + 1000]) for i in range(0, ROWS, 1000)]
            found["ns"] = ns_per_value(reporter.observe, batches) / 1000
        full = [{"row": row} for row in rows[:2000]]
        begun = time.thread_time()
        for each in full:
            reporter.observe(each["row"], latency_ns=1e6)
        found["with_latency_ns_per_call"] = (time.thread_time() - begun) * 1e9 / len(full)
        reporter.close(0)
        found["state_bytes"] = statistics.mean(4 * feature.size for feature in features) + 10 * 8
        if not sizes:
            return found
        counters = Reporter.open(reference, state=state + "/2", way=way, background=False)
        for n in (1000, 100_000):
            for row in draws(n, 3):
                counters.observe(row)
            counters.flush(0, seal=True)
        left = Outbox.left_in(state + "/2/0/journal")
        sealed = [wire.decode(frame) for _, frame in left]
        for window, n in zip(sealed, (1000, 100_000), strict=True):
            bare = window._replace(features=())
            lengths = [len(wire.encode(window)) - len(wire.encode(bare))]
            lengths.append(len(zlib.compress(wire.encode(window), 6)) - len(zlib.compress(wire.encode(bare), 6)))
            found[f"wire_{n}"] = [length / FEATURES for length in lengths]
        counters.close(0)
    return found


def peer(name: str, *, sizes: bool) -> dict[str, Any]:
    """One round of a peer: a sketch a feature, fed row by row, and its bytes."""
    rows = draws(ROWS if name not in ("whylogs", "tdigest") else 300, 2)
    found: dict[str, Any] = {}
    if name == "whylogs":
        from whylogs.core import DatasetProfile

        names = [f"f{j}" for j in range(FEATURES)]
        profile = DatasetProfile()
        found["ns"] = ns_per_value(lambda row: profile.track(row=dict(zip(names, row, strict=True))), rows)
        import pandas as pd

        for n in (1000, 100_000) if sizes else ():
            whole = DatasetProfile()
            whole.track(pd.DataFrame(draws(n, 3), columns=names))
            found[f"wire_{n}"] = [len(whole.view().serialize()) / FEATURES, None]
        return found
    make, add, dump = _sketch(name)
    sketches = [make() for _ in range(FEATURES)]

    def observe(row: list[float]) -> None:
        for sketch, value in zip(sketches, row, strict=True):
            add(sketch, value)

    found["ns"] = ns_per_value(observe, rows)
    for n in ((1000, 100_000) if name != "tdigest" else (1000,)) if sizes else ():
        single = [make() for _ in range(FEATURES)]
        for row in draws(n, 3):
            for sketch, value in zip(single, row, strict=True):
                add(sketch, value)
        raw = [dump(sketch) for sketch in single]
        found[f"wire_{n}"] = [sum(map(len, raw)) / FEATURES, len(zlib.compress(b"".join(raw), 6)) / FEATURES]
    return found


def _sketch(name: str) -> tuple[Any, Any, Any]:
    if name.startswith("kll"):
        import datasketches

        size = int(name.split()[1])
        return (
            lambda: datasketches.kll_floats_sketch(size),
            lambda sketch, value: sketch.update(value),
            lambda s: s.serialize(),
        )
    if name == "ddsketch":
        from ddsketch import DDSketch
        from ddsketch.pb.proto import DDSketchProto

        return (
            lambda: DDSketch(0.01),
            lambda sketch, value: sketch.add(value),
            lambda sketch: DDSketchProto.to_proto(sketch).SerializeToString(),
        )
    if name == "fastdigest":
        from fastdigest import TDigest as Fast

        return Fast, lambda sketch, value: sketch.update(value), lambda sketch: json.dumps(sketch.to_dict()).encode()
    if name == "crick":
        import pickle

        from crick import TDigest as Crick

        return Crick, lambda sketch, value: sketch.add(value), lambda sketch: pickle.dumps(sketch, 5)
    from tdigest import TDigest

    return TDigest, lambda sketch, value: sketch.update(value), lambda sketch: json.dumps(sketch.to_dict()).encode()


def import_ms(python: str, statement: str, path: str = "") -> float:
    """Milliseconds of CPU that an import adds to a bare start: the least of seven of each."""
    environment = {**os.environ, "PYTHONPATH": path}
    spent: dict[str, list[float]] = {"pass": [], statement: []}
    for _ in range(7):
        for code, times in spent.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([python, "-c", code], check=True, env=environment)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return (min(spent[statement]) - min(spent["pass"])) * 1000


MINE = ("ours native/lists", "ours native/numpy rows", "ours native/batch", "ours numpy/numpy rows",
        "ours numpy/lists", "ours numpy/batch", "ours stdlib/lists")  # fmt: skip
PEERS = ("kll 200", "kll 1000", "ddsketch", "fastdigest", "crick", "tdigest", "whylogs")
IMPORTED = ("ddsketch", "datasketches", "whylogs")


def measure(peers: str, *, rounds: int = ROUNDS) -> dict[str, list[dict[str, Any]]]:
    """Every round of ours and of the peers, in a process each, in turn; `peers` is the Python that has them."""
    from edgekit.telemetry.reporter.build import build

    build()
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(rounds):
        for name in [*MINE, *PEERS]:
            command = [sys.executable if name in MINE else peers, __file__, "--round", name]
            command += ["--sizes"] if not number and name not in MINE[1:] else []
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
                continue
            found.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
    return found


def packaging(peers: str) -> dict[str, float]:
    """KB of what is installed, and ms of CPU that imports add, ours and the peers'."""
    from edgekit.telemetry.packaging import wheel, zipapp

    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = wheel(Path(folder))
        found["wheel_kb"] = made.stat().st_size / 1024
        found["zipapp_kb"] = zipapp(Path(folder) / "report.pyz").stat().st_size / 1024
        site = Path(folder) / "site"
        zipfile.ZipFile(made).extractall(site)
        compileall.compile_dir(site, quiet=1)
        found["edgekit_reporter"] = import_ms(peers, "from edgekit_reporter import Reporter; Reporter.open", str(site))
    for name in IMPORTED:
        found[name] = import_ms(peers, f"import {name}")
    return found


def main() -> None:
    """Runs every round in a process of its own, in turn, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default=sys.executable, help="the Python that has them")
    parser.add_argument("--round", help=argparse.SUPPRESS)
    parser.add_argument("--sizes", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.round:
        name, _, kind = given.round.partition("/")
        mine_too = name.startswith("ours")
        found = ours(name.split()[1], kind, sizes=given.sizes) if mine_too else peer(name, sizes=given.sizes)
        print(json.dumps(found))
        return
    rounds = measure(given.peers)
    print(f"load {os.getloadavg()[0]:.1f}; least (median) of the rounds\n")
    print("| | ns a value | bytes a feature at n = 1,000 | after zlib | at 100,000 | after zlib |")
    print("|---|---|---|---|---|---|")
    for name, found in rounds.items():
        times = [each["ns"] for each in found]
        sizes = [size for n in (1000, 100_000) for size in found[0].get(f"wire_{n}", [None, None])]
        cells = " | ".join("" if size is None else f"{size:,.0f}" for size in sizes)
        print(f"| {name} | {min(times):,.0f} ({statistics.median(times):,.0f}) | {cells} |")
    print(
        "\nwith a latency, ns a call:",
        {n: round(f[0]["with_latency_ns_per_call"]) for n, f in rounds.items() if n in MINE},
    )
    print("state, bytes a feature:", {name: round(rounds[name][0]["state_bytes"]) for name in MINE[:1]})
    packed = packaging(given.peers)
    print(f"wheel {packed['wheel_kb']:.0f} KB, one file {packed['zipapp_kb']:.0f} KB, dependencies 0")
    print(f"import edgekit_reporter adds {packed['edgekit_reporter']:.0f} ms of CPU")
    for name in IMPORTED:
        print(f"import {name} adds {packed[name]:.0f} ms")


if __name__ == "__main__":
    main()
