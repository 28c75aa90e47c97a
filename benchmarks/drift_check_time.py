"""How long a check of 50 features takes: EdgeKit from counts, SciPy and Evidently from 10,000 raw rows, in turn.

    python benchmarks/drift_check_time.py [--evidently PYTHON]

EdgeKit: distances and thresholds from count arrays; the whole `judge` (rules, distances, thresholds, verdicts as
values with their texts) from the windows that a collector adds up, once where all is quiet and once where all 50 moved;
and the counting itself, which devices do. CPU time, median and range of the runs. Beside it the distance of raw values
as SciPy computes it, against both ends that counts give, and their middle.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from edgekit.telemetry.drift.distances import distances
from edgekit.telemetry.drift.judge import judge
from edgekit.telemetry.drift.layout import Layout
from edgekit.telemetry.references.columns import Column, counts_of, features_of

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, FEATURES = 10_000, 50
DECISIONS, QUIET, MOVED, COUNTING, SCIPY, EVIDENTLY = (
    "EdgeKit: all distances and decisions from count arrays",
    "EdgeKit: judge, from windows to verdicts, all quiet",
    "EdgeKit: judge, from windows to verdicts with texts, all moved",
    "EdgeKit: counting 10,000 rows (devices do it)",
    "SciPy: ks_2samp on raw values, asymptotic",
    "Evidently: DataDriftPreset() on raw values",
)


def check_times(evidently: str | None = None, *, rounds: int = 40) -> dict[str, list[float]]:
    """CPU ms of each way, in turn; `evidently` is an interpreter that has it."""
    rng = np.random.default_rng(0)
    reference, window = rng.normal(size=(ROWS, FEATURES)), rng.normal(size=(ROWS, FEATURES))
    layout = Layout(features_of([Column(f"f{i}", "number", reference[:, i]) for i in range(FEATURES)]))
    quiet = [counts_of(feature, window[:, i]) for i, feature in enumerate(layout.features)]
    moved = [counts_of(feature, 1.4 * window[:, i] + 0.5) for i, feature in enumerate(layout.features)]
    flat = layout.flat([of.cells for of in quiet])
    low, high = np.array([c.min for c in quiet]), np.array([c.max for c in quiet])

    def decide() -> object:
        found = distances(layout, flat, low, high)
        return found.ks > layout.thresholds(found.n, 0.05)

    often: dict[str, Callable[[], object]] = {
        DECISIONS: decide, QUIET: lambda: judge(layout, quiet), MOVED: lambda: judge(layout, moved),
    }  # fmt: skip
    seldom: dict[str, Callable[[], object]] = {
        COUNTING: lambda: [counts_of(f, window[:, i]) for i, f in enumerate(layout.features)],
        SCIPY: lambda: [
            stats.ks_2samp(reference[:, i], window[:, i], method="asymp") for i in range(FEATURES)
        ],
    }  # fmt: skip
    took: dict[str, list[float]] = {}
    for number in range(rounds):
        ways = {**often, **(seldom if number % 8 == 0 else {})}
        for name, call in ways.items():
            for _ in range(5 if name in often else 1):
                began = time.process_time_ns()
                call()
                took.setdefault(name, []).append((time.process_time_ns() - began) / 1e6)
    if evidently:
        done = subprocess.run([evidently, "-c", _PEER], capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise RuntimeError(f"Evidently: {done.stderr.strip().splitlines()[-1:]}")
        took[EVIDENTLY] = [float(each) for each in done.stdout.split()]
    return took


_PEER = f"""
import time, warnings, logging
warnings.filterwarnings("ignore"); logging.disable(logging.CRITICAL)
import numpy as np, pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
rng = np.random.default_rng(0)
columns = [f"f{{i}}" for i in range({FEATURES})]
reference, window = (pd.DataFrame(rng.normal(size=({ROWS}, {FEATURES})), columns=columns) for _ in range(2))
took = []
for _ in range(4):
    began = time.process_time()
    Report([DataDriftPreset()]).run(window, reference).dict()
    took.append((time.process_time() - began) * 1e3)
print(*took[1:])
"""


class KsError(NamedTuple):
    """Of SciPy's KS on raw values, the largest over all windows.

    `above` is how far it is above the lower end, `outside` of both ends (negative where it never is), `off` their
    middle; `heaviest` is the mass of the heaviest cell.
    """

    name: str
    n: int
    above: float
    outside: float
    off: float
    heaviest: float


DRAWS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1.5, n),
    "two modes": lambda rng, n: np.where(rng.random(n) < 0.5, rng.normal(-3, 1, n), rng.normal(3, 1, n)),
    "gamma": lambda rng, n: rng.gamma(0.5, 2, n),
    "far from zero": lambda rng, n: 1e6 + rng.normal(size=n),
}


def ks_errors(sizes: tuple[int, ...] = (300, 1000, 10_000, 100_000), windows: int = 12) -> list[KsError]:
    """For windows drawn as the reference, moved up and down by up to .22 standard deviations, and made wider."""
    rng = np.random.default_rng(0)
    rows: list[KsError] = []
    for (name, draw), n in itertools.product(DRAWS.items(), sizes):
        values = draw(rng, 100_000)
        layout = Layout(features_of([Column("x", "number", values)]))
        sd, middle = values.std(), values.mean()
        above, outside, off = [], [], []
        for i in range(windows if n < 100_000 else max(4, windows // 4)):
            for scale, shift in ((1.0, 0.0), (1.0, 0.02 * i), (1.0, -0.02 * i), (1 + 0.05 * i, 0.0)):
                seen = (draw(rng, n) - middle) * scale + middle + shift * sd
                exact = float(stats.ks_2samp(values, seen, method="asymp").statistic)
                found = distances(layout, layout.flat([counts_of(layout.features[0], seen).cells]))
                least, most = float(found.ks[0]), float(found.most[0])
                above.append(exact - least)
                outside.append(max(least - exact, exact - most))
                off.append(abs(exact - (least + most) / 2))
        heaviest = max(layout.features[0].cells) / layout.features[0].n
        rows.append(KsError(name, n, max(above), max(outside), max(off), heaviest))
    return rows


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--evidently", help="an interpreter that has Evidently")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| CPU ms | median | range | runs |\n|---|---:|---:|---:|")
    for name, took in check_times(options.evidently).items():
        middle = statistics.median(took)
        print(f"| {name} | {middle:,.2f} | {min(took):,.2f} to {max(took):,.2f} | {len(took)} |", flush=True)
    print("\nSciPy's KS of raw values (reference 100,000): above the lower end, and off the middle of both ends\n")
    print("| | n | above the lower end | off the middle | outside of both | heaviest cell |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, n, above, outside, off, heaviest in ks_errors():
        beyond = "never" if outside < 1e-9 else f"{outside:.4f}"
        print(f"| {name} | {n:,} | {above:.4f} | {off:.4f} | {beyond} | {heaviest:.4f} |")


if __name__ == "__main__":
    main()
