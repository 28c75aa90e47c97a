"""How long the collector takes to add up 10,000 stored windows of ten features, from disk, bit-exactly.

The windows are one per span, so that every one is a row of its own. The question is asked of a database that was just
opened; the file is in the page cache unless `--cold` asks the kernel to drop it. Goal: 50 ms or less.

    python benchmarks/collector_merge.py --rounds 15
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from report import machine, spread

from edgekit.telemetry.collector.layout import Layout
from edgekit.telemetry.collector.reading import open_store
from edgekit.telemetry.collector.rollups import Cell, add_to_rollup, open_stream
from edgekit.telemetry.collector.uploads import StreamName
from edgekit.telemetry.reporter.reference import LATENCY
from tests.telemetry.collector.fleet import Fleet, a_reference

TEMPLATES = 500


def measure(windows: int = 10_000, rounds: int = 15, *, cold: bool = False) -> tuple[list[float], list[float], float]:
    """Fills a database, and asks it again and again: (wall ms, CPU ms, MB), every cell compared with the exact sum."""
    reference = a_reference("bench", numbers=9, cells=136)
    layout = Layout.of(reference, LATENCY.size)
    fleet = Fleet(reference, seed=1)
    found = [fleet.window("d", n=1000) for _ in range(TEMPLATES)]
    vectors = [layout.vector(window) for window in found]
    moments = [layout.moments(window) for window in found]
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:
        path = Path(name) / "telemetry.db"
        store = open_store(str(path))
        store.register(reference)
        with store.database.write() as cursor:
            stream = open_stream(cursor, StreamName(reference.model, reference.id), bootstrapped=False)
            for i in range(windows):
                add_to_rollup(cursor, Cell(stream, i * 3600, ""), vectors[i % TEMPLATES], moments[i % TEMPLATES])
        store.close()
        expected = sum(vectors[i % TEMPLATES] for i in range(windows))
        wall, cpu = [], []
        for _ in range(rounds):
            if cold:
                descriptor = os.open(path, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)
            store = open_store(str(path))
            store.references()
            began, cpu_began = time.perf_counter(), time.process_time()
            totals = store.totals(reference.model, reference.id, 0, 1 << 40)
            cells = {feature: counts.cells for feature, counts in totals.features.items()}
            wall.append((time.perf_counter() - began) * 1e3)
            cpu.append((time.process_time() - cpu_began) * 1e3)
            store.close()
        for index, feature in enumerate(layout.names):
            at = layout.offsets[index]
            exact = np.asarray(expected)[at : at + layout.sizes[index]].tolist()
            if list(cells[feature]) != exact:
                raise SystemExit(f"{feature} is not exact")
        size = path.stat().st_size / 1e6
    return wall, cpu, size


def main() -> None:
    """Prints what `measure` found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cold", action="store_true", help="have the kernel forget the file before each round")
    options = parser.parse_args()
    wall, cpu, size = measure(options.windows, options.rounds, cold=options.cold)
    print(machine("numpy"))
    print(f"{options.windows:,} windows of ten features, {size:.0f} MB, all cells exact")
    how = ", cold" if options.cold else ""
    print(f"{options.rounds} rounds{how}: wall ms {spread(wall, 1)}, CPU ms {spread(cpu, 1)}")


if __name__ == "__main__":
    main()
