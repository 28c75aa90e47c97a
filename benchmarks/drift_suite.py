"""False alarms and power of the drift check, beside the peers: quiet windows of ten features, and moved ones.

    python benchmarks/drift_suite.py [--scale 1] [--evidently PYTHON]

Windows of n values a feature are drawn: as the reference; with a mean that wanders by .02 standard deviations; from an
AR(1) process of .9 against a reference of the same; and moved by known amounts. Each is judged by EdgeKit's check and
by what is usual: SciPy's KS p-value at .05, the same by Bonferroni, PSI above .1 over deciles, Evidently's default (its
normed Wasserstein distance above .1 for more than 1,000 rows, a KS p-value at .05 for fewer) computed as its
documentation says, and Evidently itself for a part of the windows with --evidently, an interpreter that has it.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.signal import lfilter

from edgekit.telemetry.drift.judge import judge
from edgekit.telemetry.drift.layout import Layout
from edgekit.telemetry.references.columns import Column, counts_of, features_of

FEATURES, REFERENCE = 10, 100_000
SIZES = (100, 200, 1000, 2000, 10_000, 100_000)
Draw = Callable[[np.random.Generator, int], np.ndarray]


def stream(rng: np.random.Generator, n: int) -> np.ndarray:
    """AR(1) of .9, `(n, FEATURES)`, standard deviation 1."""
    noise = rng.normal(size=(n + 300, FEATURES)) * np.sqrt(1 - 0.81)
    return np.asarray(lfilter([1], [1, -0.9], noise, axis=0)[300:])


def normal(mean: float = 0.0, sd: float = 1.0, wander: float = 0.0) -> Draw:
    """Independent normal values; `wander` is the standard deviation of each window's mean."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.normal(mean + rng.normal(0, wander, FEATURES) * (wander > 0), sd, (n, FEATURES))

    return draw


class Rules:
    """All rules against one reference of `(REFERENCE, FEATURES)` values."""

    def __init__(self, reference: np.ndarray) -> None:
        self.sorted = np.sort(reference, axis=0)
        self.sd = reference.std(axis=0)
        self.deciles = np.quantile(reference, np.linspace(0, 1, 11)[1:-1], axis=0)
        columns = [Column(f"f{i}", "number", reference[:, i]) for i in range(FEATURES)]
        self.layout = Layout(features_of(columns))
        self.grid = np.linspace(0.0005, 0.9995, 1000)
        self.quantiles = np.quantile(reference, self.grid, axis=0)

    def alarms(self, window: np.ndarray) -> dict[str, np.ndarray]:
        """(FEATURES,) bool by rule."""
        n = len(window)
        ordered = np.sort(window, axis=0)
        ks = np.zeros(FEATURES)
        psi = np.zeros(FEATURES)
        for f in range(FEATURES):
            below = np.searchsorted(self.sorted[:, f], ordered[:, f], side="right") / REFERENCE
            at = np.arange(1, n + 1) / n
            ks[f] = max(np.abs(at - below).max(), np.abs(at - 1 / n - below).max())
            shares = np.bincount(np.searchsorted(self.deciles[:, f], window[:, f]), minlength=10) / n + 1e-4
            psi[f] = ((shares - 0.1) * np.log(shares / 0.1)).sum()
        p = stats.kstwobign.sf(np.sqrt(n * REFERENCE / (n + REFERENCE)) * ks)
        way = np.abs(np.quantile(ordered, self.grid, axis=0) - self.quantiles).mean(axis=0) / self.sd
        windows = [counts_of(feature, window[:, i]) for i, feature in enumerate(self.layout.features)]
        ours = judge(self.layout, windows)
        return {
            "EdgeKit": np.array([verdict.outcome == "drift" for verdict in ours]),
            "KS p < .05": p < 0.05,
            "KS p < .05 / 10": p < 0.005,
            "PSI > .1": psi > 0.1,
            "Evidently's default": way > 0.1 if n > 1000 else p < 0.05,
        }


def row(
    rules: Rules, draw: Draw, n: int, windows: int, rng: np.random.Generator, *, any_of_ten: bool
) -> dict[str, float]:
    """Share of windows (any feature) or of features that alarm, by rule."""
    found: dict[str, list[np.ndarray]] = {}
    for _ in range(windows):
        for name, alarms in rules.alarms(draw(rng, n)).items():
            found.setdefault(name, []).append(alarms)
    return {
        name: float(np.mean([a.any() for a in alarms]) if any_of_ten else np.mean(alarms))
        for name, alarms in found.items()
    }


def main() -> None:
    """Prints one table a question."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scale", type=float, default=1.0, help="times as many windows")
    parser.add_argument("--evidently", help="an interpreter that has Evidently")
    options = parser.parse_args()
    rng = np.random.default_rng(20261127)
    independent, dependent = Rules(normal()(rng, REFERENCE)), Rules(stream(rng, REFERENCE))
    quiet: dict[str, tuple[Rules, Draw]] = {
        "quiet": (independent, normal()),
        "quiet, mean wanders by .02 sd": (independent, normal(wander=0.02)),
        "quiet, AR(1) of .9": (dependent, stream),
    }
    moved: dict[str, tuple[Rules, Draw]] = {
        "mean + .1 sd": (independent, normal(0.1)),
        "mean + .25 sd": (independent, normal(0.25)),
        "mean + .5 sd": (independent, normal(0.5)),
        "sd × 1.5": (independent, normal(0, 1.5)),
    }
    for title, questions, any_of_ten in (
        ("false alarms: share of windows with an alarm in any of ten features", quiet, True),
        ("power: share of features that are named", moved, False),
    ):
        print(f"\n{title}")
        for name, (rules, draw) in questions.items():
            header = True
            for n in SIZES:
                windows = max(10, int(options.scale * min(1000, 1_000_000 / n))) // (1 if any_of_ten else 5)
                cells = row(rules, draw, n, windows, rng, any_of_ten=any_of_ten)
                if header:
                    print(f"\n{name:32s}{'n':>8s}{'windows':>9s}" + "".join(f"{rule:>21s}" for rule in cells))
                    header = False
                print(f"{'':32s}{n:8d}{windows:9d}" + "".join(f"{share:21.3f}" for share in cells.values()), flush=True)
    if options.evidently:
        print("\nEvidently itself, DataDriftPreset(): windows with an alarm, and features named")
        for what, n, windows, alarms, named in evidently_rows(options.evidently, rng):
            print(f"{what:32s}{n:8d}{windows:9d}{alarms:21.3f}{named:21.3f}", flush=True)


_PEER = """
import sys, warnings, logging
warnings.filterwarnings("ignore"); logging.disable(logging.CRITICAL)
import numpy as np, pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
reference = pd.DataFrame(np.load(sys.argv[1])["reference"]); alarms = []
reference.columns = [f"f{i}" for i in range(reference.shape[1])]
windows = np.load(sys.argv[1])["windows"]
for values in windows:
    window = pd.DataFrame(values, columns=reference.columns)
    found = Report([DataDriftPreset()]).run(window, reference).dict()["metrics"][0]["value"]["count"]
    alarms.append(found)
print(*alarms)
"""


def evidently(
    python: str, draw: Draw, n: int, windows: int, rng: np.random.Generator, reference: int = 20_000
) -> tuple[float, float]:
    """Evidently itself: (share of windows with an alarm, share of features that it names), against normal values."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        drawn = np.stack([draw(rng, n) for _ in range(windows)])
        np.savez(path, reference=normal()(rng, reference), windows=drawn)
        done = subprocess.run([python, "-c", _PEER, path], capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise RuntimeError(f"Evidently: {done.stderr.strip().splitlines()[-1:]}")
    counts = [float(each) for each in done.stdout.split()]
    return float(np.mean([count > 0 for count in counts])), float(np.mean(counts)) / FEATURES


def evidently_rows(
    python: str, rng: np.random.Generator, windows: int = 12
) -> list[tuple[str, int, int, float, float]]:
    """(what, n, windows, alarms, named) of a part of the questions: it takes seconds for each window."""
    questions: dict[str, Draw] = {
        "quiet": normal(), "quiet, mean wanders by .02 sd": normal(wander=0.02), "mean + .25 sd": normal(0.25),
        "sd × 1.5": normal(0, 1.5),
    }  # fmt: skip
    found = []
    for what, draw in questions.items():
        for n in (1000, 5000):
            alarms, named = evidently(python, draw, n, windows, rng)
            found.append((what, n, windows, alarms, named))
    return found


if __name__ == "__main__":
    main()
