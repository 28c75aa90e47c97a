"""How long a check of 50 features takes: EdgeKit from counts, SciPy and Evidently from 10,000 raw rows, in turn.

    python benchmarks/drift_check_time.py [--evidently PYTHON]

EdgeKit: distances and thresholds from count arrays; the whole `judge` (rules, distances, thresholds, verdicts as
values) from the windows that a collector adds up; and the counting itself, which devices do. CPU time, median and range
of the runs. Beside it the KS distance over cells against SciPy's on the raw values, on five distributions.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from edgekit.telemetry.drift.distances import distances
from edgekit.telemetry.drift.judge import judge
from edgekit.telemetry.drift.layout import Layout
from edgekit.telemetry.references.columns import Column, counts_of, features_of
from edgekit.telemetry.reporter.distance import ks_of_cells

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, FEATURES = 10_000, 50


def timed(label: str, call: Callable[[], object], runs: int) -> float:
    """Prints and returns the median CPU time in ms."""
    call()
    took = []
    for _ in range(runs):
        began = time.process_time_ns()
        call()
        took.append((time.process_time_ns() - began) / 1e6)
    middle = statistics.median(took)
    print(f"{label:62s}{middle:12.3f} ms   {min(took):.3f}–{max(took):.3f}   {runs} runs", flush=True)
    return middle


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
took = sorted(took[1:])
print(f"{{took[1]:.0f}} ms   {{took[0]:.0f}}–{{took[2]:.0f}}   3 runs")
"""


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--evidently", help="an interpreter that has Evidently")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    rng = np.random.default_rng(0)
    reference, window = rng.normal(size=(ROWS, FEATURES)), rng.normal(size=(ROWS, FEATURES))
    layout = Layout(features_of([Column(f"f{i}", "number", reference[:, i]) for i in range(FEATURES)]))
    counts = [counts_of(feature, window[:, i]) for i, feature in enumerate(layout.features)]
    flat = layout.flat([of.cells for of in counts])
    low, high = np.array([c.min for c in counts]), np.array([c.max for c in counts])

    def decide() -> np.ndarray:
        found = distances(layout, flat, low, high)
        return np.asarray(found.ks > layout.thresholds(found.n, 0.05))

    ours = timed("EdgeKit: all distances and decisions from count arrays", decide, 200)
    timed("EdgeKit: judge, from windows to verdicts with rules", lambda: judge(layout, counts), 200)
    timed("EdgeKit: counting 10,000 rows (devices do it)", lambda: [
        counts_of(f, window[:, i]) for i, f in enumerate(layout.features)], 5)  # fmt: skip
    scipy = timed("SciPy: ks_2samp on raw values, asymptotic", lambda: [
        stats.ks_2samp(reference[:, i], window[:, i], method="asymp") for i in range(FEATURES)], 5)  # fmt: skip
    print(f"{'':62s}{scipy / ours:12.0f} times as long as EdgeKit")
    if options.evidently:
        done = subprocess.run(
            [options.evidently, "-c", _PEER], capture_output=True, text=True, timeout=600, check=False
        )
        print(f"{'Evidently: DataDriftPreset() on raw values':62s}{done.stdout.strip() or done.stderr[-200:]:>12s}")

    print("\nKS over cells below SciPy's on raw values (reference 100,000, windows of 10,000), the largest of 20")
    print(f"  {'':20s}{'same':>8s}{'moved':>8s}{'heaviest cell':>16s}")
    draws: dict[str, Callable[[int], np.ndarray]] = {
        "normal": lambda n: rng.normal(size=n),
        "lognormal": lambda n: rng.lognormal(0, 1.5, n),
        "two modes": lambda n: np.where(rng.random(n) < 0.5, rng.normal(-3, 1, n), rng.normal(3, 1, n)),
        "gamma": lambda n: rng.gamma(0.5, 2, n),
        "far from zero": lambda n: 1e6 + rng.normal(size=n),
    }
    for name, draw in draws.items():
        values = draw(100_000)
        (feature,) = features_of([Column("x", "number", values)])
        worst = []
        for step in (0.0, 0.02):
            below = []
            for i in range(20):
                seen = draw(10_000) + step * i * values.std()
                exact = stats.ks_2samp(values, seen, method="asymp").statistic
                below.append(exact - ks_of_cells(feature.cells, counts_of(feature, seen).cells))
            worst.append(max(below))
        print(f"  {name:20s}{worst[0]:8.4f}{worst[1]:8.4f}{max(feature.cells) / feature.n:16.4f}")


if __name__ == "__main__":
    main()
