"""What it costs a device to watch how ten features go together: `observe` with and without a joint, in turn.

    python benchmarks/joint_cost.py

CPU time of the thread that observes 20,000 rows, the summing included; the least of five rounds, which take turns. Then
the bytes of a window with and without, and how long a reference's joint takes to make.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from report import machine

from edgekit.telemetry.references.columns import Column, features_of
from edgekit.telemetry.references.joint import joint_of
from edgekit.telemetry.reporter import Reporter, wire
from edgekit.telemetry.reporter.build import build
from edgekit.telemetry.reporter.outbox import Outbox
from edgekit.telemetry.reporter.reference import Reference, Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

FEATURES, ROWS, ROUNDS = 10, 20_000, 5


def references() -> tuple[dict[str, Reference], float]:
    """Without and with a joint, and the seconds that the joint took."""
    values = np.random.default_rng(0).normal(size=(20_000, FEATURES))
    columns = {f"f{i}": values[:, i] for i in range(FEATURES)}
    features = features_of([Column(name, "number", column) for name, column in columns.items()])
    began = time.process_time()
    joint = joint_of(features, columns)
    took = time.process_time() - began
    assert joint is not None
    tensors = [Tensor(name, "input", "number") for name in columns]
    return {
        "without": Reference.of("cost", features, tensors=tensors),
        "with": Reference.of("cost", [*features, joint], tensors=tensors),
    }, took


def ns_a_row(reference: Reference, way: str, rows: Sequence[list[float]]) -> float:
    """CPU time of this thread."""
    with tempfile.TemporaryDirectory() as state, Reporter.open(
        reference, state=state, way=way, window_s=1e9, checkpoint_s=1e9, checkpoint_count=1 << 30
    ) as reporter:  # fmt: skip
        reporter.observe(rows[0])
        time.sleep(0.3)  # the first checkpoint
        gc.collect()
        gc.disable()
        began = time.thread_time_ns()
        for row in rows:
            reporter.observe(row)
        reporter.drift()
        spent = time.thread_time_ns() - began
        gc.enable()
    return spent / len(rows)


def wire_bytes(reference: Reference, way: str, rows: Sequence[list[float]]) -> tuple[int, int]:
    """A window as it is, and after zlib."""
    with tempfile.TemporaryDirectory() as state:
        with Reporter.open(reference, state=state, way=way, background=False) as reporter:
            for row in rows:
                reporter.observe(row)
            reporter.flush(0, seal=True)
        frame = wire.encode(wire.decode(Outbox.left_in(state + "/0/journal")[0][1]))
    return len(frame), len(zlib.compress(frame, 6))


def measured() -> dict[str, Any]:
    """Nanoseconds a row by way, bytes by reference, seconds to make a joint."""
    build()
    made, took = references()
    rows = np.random.default_rng(1).normal(size=(ROWS, FEATURES)).tolist()
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for way in ("native", "numpy", "stdlib"):
            for name, reference in made.items():
                times.setdefault((way, name), []).append(ns_a_row(reference, way, rows))
    sizes = {name: wire_bytes(reference, "numpy", rows[:4000]) for name, reference in made.items()}
    json = {name: len(reference.to_json()) for name, reference in made.items()}
    return {"times": times, "wire": sizes, "json": json, "seconds": took}


def main() -> None:
    """Prints the table."""
    found = measured()
    print(machine("numpy"), end="\n\n")
    print("| way | ns a row without, least (median) | with a joint | times |")
    print("|---|---:|---:|---:|")
    for way in ("native", "numpy", "stdlib"):
        without, joint = found["times"][way, "without"], found["times"][way, "with"]
        cells = [f"{min(each):,.0f} ({statistics.median(each):,.0f})" for each in (without, joint)]
        print(f"| {way} | {cells[0]} | {cells[1]} | {min(joint) / min(without):.1f} |")
    print(f"\na window of 4,000 rows, bytes (after zlib): {found['wire']}")
    print(f"reference.json, bytes: {found['json']}; making the joint took {found['seconds']:.1f} s of CPU")


if __name__ == "__main__":
    main()
