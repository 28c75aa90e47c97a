"""Every target of telemetry, measured in one run beside the peers: goal, ours, best peer, met or missed.

    python benchmarks/telemetry_targets.py --peers FOLDER [--only crash,check] [--points 1000] [--scale 1]

FOLDER holds two environments for the peers, which do not get along with each other; they are made where they are
missing. Each row is one function here, over the functions of the script that has the whole story (`Row.script`). A row
that cannot be measured says why, and is neither met nor missed. Give it a quiet machine: times are of the CPU where
that is possible, but rates and waits are not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from report import machine

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENTS = {
    "sketches": ("numpy", "pandas", "datasketches", "ddsketch", "tdigest", "fastdigest", "crick", "whylogs"),
    "evidently": ("evidently", "pandas<3"),
}


@dataclass(frozen=True)
class Row:
    """One line of the table; `met` is None where there is nothing to hold it against."""

    what: str
    goal: str
    ours: str
    peer: str
    met: bool | None
    script: str


class Targets:
    """The rows, in the order of the table; each method measures what its name says, when it is called."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._rng = np.random.default_rng(20261127)
        self._cost: dict[str, list[dict[str, Any]]] | None = None

    def _python(self, name: str) -> str:
        """An environment's interpreter; made on the first use."""
        folder = Path(self._options.peers) / name
        python = folder / "bin" / "python"
        if not python.exists():
            venv.create(folder, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *ENVIRONMENTS[name]], check=True, timeout=1800)
        return str(python)

    def _costs(self) -> dict[str, list[dict[str, Any]]]:
        from reporter_cost import measure

        if self._cost is None:
            self._cost = measure(self._python("sketches"), rounds=self._options.rounds)
        return self._cost

    def observe(self) -> list[Row]:
        """Nanoseconds a value."""
        costs = self._costs()
        times = {name: [each["ns"] for each in found] for name, found in costs.items()}
        peer = ", ".join(
            f"{name} {min(times[name]):,.0f}"
            for name in ("fastdigest", "crick", "ddsketch", "whylogs")
            if name in times
        )
        rows = []
        for way, kind, goal in (("native", "lists", 45), ("numpy", "lists", 150), ("stdlib", "lists", 300)):
            took = times[f"ours {way}/{kind}"]
            ours = f"{min(took):,.0f} (median {statistics.median(took):,.0f})"
            what = f"observe, ns a value, 10-feature rows: {'C' if way == 'native' else way}"
            rows.append(Row(what, f"≤ {goal}", ours, peer, min(took) <= goal, "reporter_cost.py"))
        return rows

    def sizes(self) -> list[Row]:
        """Bytes a feature."""
        costs = self._costs()
        state = costs["ours native/lists"][0]["state_bytes"]
        rows = [Row("memory a feature, bytes", "≤ 640", f"{state:,.0f}", "", state <= 640, "reporter_cost.py")]
        for n, goal in ((1000, 175), (100_000, 310)):
            ours = costs["ours native/lists"][0][f"wire_{n}"]
            peers = ", ".join(
                f"{name} {found[0][f'wire_{n}'][0]:,.0f}"
                for name, found in costs.items()
                if name in ("crick", "kll 200", "whylogs") and f"wire_{n}" in found[0]
            )
            told = f"{ours[0]:,.0f} ({ours[1]:,.0f} compressed)"
            met = ours[0] <= goal
            rows.append(Row(f"wire a feature, bytes, n = {n:,}", f"≤ {goal}", told, peers, met, "reporter_cost.py"))
        return rows

    def package(self) -> list[Row]:
        """What is installed and imported."""
        from reporter_cost import packaging

        found = packaging(self._python("sketches"))
        peer = f"ddsketch {found['ddsketch']:.0f}, whylogs {found['whylogs']:,.0f}"
        ms, wheel = found["edgekit_reporter"], found["wheel_kb"]
        return [
            Row("reporter: import, ms of CPU", "≤ 30", f"{ms:.0f}", peer, ms <= 30, "reporter_cost.py"),
            Row(
                "reporter: wheel, KB; dependencies", "≤ 150; 0", f"{wheel:.0f}; 0", "", wheel <= 150, "reporter_cost.py"
            ),
        ]

    def crash(self) -> list[Row]:
        """Killed and torn."""
        from reporter_crash import main

        points = self._options.points
        main(points, points)  # fails with what was lost
        told = f"{points:,} kills and {points:,} tears: 0"
        return [Row("sealed windows lost or doubled by kill -9 and torn writes at 1,000 points", "0", told, "–",
                    points >= 1000 or None, "reporter_crash.py")]  # fmt: skip

    def offline(self) -> list[Row]:
        """Thirty days, 256 KB."""
        from tests.telemetry.reporter.test_crash import test_thirty_days_offline_are_accounted_for as thirty_days

        with tempfile.TemporaryDirectory() as folder:
            thirty_days(Path(folder))
        return [Row("30 days offline, 256 KB queue: observations not accounted for", "0", "0",
                    "queues that drop the oldest", True, "tests/telemetry/reporter/test_crash.py")]  # fmt: skip

    def acks(self) -> list[Row]:
        """Durable uploads a second."""
        from collector_ingest import measure

        pinned = os.sched_getaffinity(0)
        try:
            found = measure(
                ("ours", "starlette", "fastapi"), rounds=self._options.rounds, seconds=self._options.seconds,
                most=int(6000 * self._options.seconds), server_core=self._options.server_core,
                client_core=self._options.client_core,
            )  # fmt: skip
        finally:
            os.sched_setaffinity(0, pinned)
        rate = {name: statistics.median(each.acks_per_s for each in runs) for name, runs in found.items()}
        cpu = {name: statistics.median(each.acks_per_cpu_s for each in runs) for name, runs in found.items()}
        p99 = statistics.median(each.p99_ms for each in found["ours"])
        ours = f"{rate['ours']:,.0f} ({cpu['ours']:,.0f} a CPU second), p99 {p99:.0f} ms"
        peer = ", ".join(f"{name} {rate[name]:,.0f} ({cpu[name]:,.0f})" for name in ("starlette", "fastapi"))
        met = rate["ours"] >= 5000 and p99 <= 100
        return [Row("durable acks a second and core, 64 connections", "≥ 5,000, p99 ≤ 100 ms", ours, peer, met,
                    "collector_ingest.py")]  # fmt: skip

    def merge(self) -> list[Row]:
        """10,000 windows."""
        from collector_merge import measure

        wall, cpu, _ = measure(10_000, 5 * self._options.rounds)
        done = subprocess.run([self._python("sketches"), "-c", _MERGE], capture_output=True, text=True, check=False)
        kll, why = done.stdout.split() if not done.returncode else ("–", done.stderr.strip()[-80:])
        middle = statistics.median(cpu)
        ours = f"{middle:.0f} of CPU ({statistics.median(wall):.0f} by the clock), every cell exact"
        peer = f"KLL {kll}, whylogs {why} (of 100 windows, times 100), from memory"
        return [Row("merge 10,000 windows × 10 features from disk, ms", "≤ 50, bit-exact", ours, peer, middle <= 50,
                    "collector_merge.py")]  # fmt: skip

    def check(self) -> list[Row]:
        """50 features."""
        from drift_check_time import EVIDENTLY, MOVED, QUIET, SCIPY, check_times

        took = {name: statistics.median(each) for name, each in check_times(self._python("evidently")).items()}
        ours = f"{took[QUIET]:.2f} quiet, {took[MOVED]:.2f} with all 50 moved"
        peer = f"SciPy {took[SCIPY]:,.0f}, Evidently {took[EVIDENTLY]:,.0f}"
        met = max(took[QUIET], took[MOVED]) <= 1
        return [Row("check 50 features, ms of CPU", "≤ 1", ours, peer, met, "drift_check_time.py")]

    def alarms(self) -> list[Row]:
        """False alarms and power, Evidently itself beside the usual rules."""
        from drift_suite import SIZES, Rules, evidently, normal, row

        rules = Rules(normal()(self._rng, 100_000))
        python, scale, rng = self._python("evidently"), self._options.scale, self._rng
        worst: dict[str, float] = {}
        for draw in (normal(), normal(wander=0.02)):
            for n in SIZES:
                windows = max(10, int(scale * min(1000, 500_000 / n)))
                for name, share in row(rules, draw, n, windows, rng, any_of_ten=True).items():
                    worst[name] = max(worst.get(name, 0.0), share)
        few = max(6, int(20 * scale))
        alarmed = max(evidently(python, normal(wander=0.02), n, few, rng)[0] for n in (1000, 5000))
        rest = ", ".join(f"{name} {worst[name]:.0%}" for name in ("KS p < .05", "KS p < .05 / 10", "PSI > .1"))
        peer = f"{rest}, Evidently {alarmed:.0%} (of {few} at n = 1,000 or 5,000)"
        quiet = Row("false alarms per quiet 10-feature window, n = 100 … 100k, also .02 sd jitter: the worst", "≤ 1 %",
                    f"{worst['EdgeKit']:.1%}", peer, worst["EdgeKit"] <= 0.01, "drift_suite.py")  # fmt: skip
        least, named = 1.0, 1.0
        for draw in (normal(0.25), normal(0, 1.5)):
            for n in (1000, 2000, 10_000):
                windows = max(5, int(scale * min(200, 200_000 / n)))
                least = min(least, row(rules, draw, n, windows, rng, any_of_ten=False)["EdgeKit"])
            named = min(named, evidently(python, draw, 1000, few, rng)[1])
        power = Row("power at +.25 sd or sd × 1.5, n ≥ 1,000: the least", "≥ .99", f"{least:.3f}",
                    f"Evidently {named:.2f} at n = 1,000", least >= 0.99, "drift_suite.py")  # fmt: skip
        return [quiet, power]

    def ks(self) -> list[Row]:
        """The distance against SciPy's."""
        from drift_check_time import ks_errors

        found = ks_errors()
        off, above = max(each.off for each in found), max(each.above for each in found)
        heaviest = max(each.heaviest for each in found)
        inside = all(each.outside < 1e-9 for each in found)
        told = f"{off:.4f} (middle); never outside of both ends" if inside else "outside of its ends"
        told += f"; lower end alone {above:.4f}, heaviest cell {heaviest:.4f}"
        met = inside and off <= 0.004 and above <= heaviest
        done = subprocess.run([self._python("sketches"), "-c", _KLL], capture_output=True, text=True, check=False)
        kll = done.stdout.strip() or done.stderr.strip()[-80:]
        return [Row("KS off SciPy's on raw values, five distributions, n = 300 … 100k, moved and scaled", "≤ .004",
                    told, f"KLL, k = 200: {kll}", met, "drift_check_time.py")]  # fmt: skip

    def joint(self) -> list[Row]:
        """How features go together: no goal but those of all others."""
        from joint_cost import measured

        found = measured()
        shares = []
        for way, called in (("native", "C"), ("numpy", "numpy"), ("stdlib", "stdlib")):
            pair = [min(found["times"][way, name]) for name in ("without", "with")]
            shares.append(f"{called} {pair[0] / 10:,.0f} → {pair[1] / 10:,.0f}")
        extra = found["wire"]["with"][0] - found["wire"]["without"][0]
        told = f"{', '.join(shares)} ns a value; {extra:,} bytes a window"
        return [
            Row(
                "a joint of ten features (optional): observe and wire",
                "about 1 KB",
                told,
                "–",
                extra <= 1100,
                "joint_cost.py",
            )
        ]


_MERGE = """
import time, datasketches, numpy as np
rng = np.random.default_rng(0)
frames = []
for _ in range(200):
    sketch = datasketches.kll_floats_sketch(200)
    sketch.update(rng.normal(size=1000).astype(np.float32))
    frames.append(sketch.serialize())
began = time.process_time()
for _ in range(10):
    whole = datasketches.kll_floats_sketch(200)
    for i in range(10_000):
        whole.merge(datasketches.kll_floats_sketch.deserialize(frames[i % 200]))
kll = (time.process_time() - began) * 1e3
import pandas as pd
from whylogs.core import DatasetProfile, DatasetProfileView
profile = DatasetProfile()
profile.track(pd.DataFrame(rng.normal(size=(1000, 10)), columns=list("abcdefghij")))
frame, whole = profile.view().serialize(), profile.view()
began = time.process_time()
for _ in range(100):
    whole = whole.merge(DatasetProfileView.deserialize(frame))
print(f"{kll:,.0f} {(time.process_time() - began) * 1e5:,.0f}")
"""
_KLL = """
import datasketches, numpy as np
rng = np.random.default_rng(0)
draws = [
    lambda n: rng.normal(size=n), lambda n: rng.lognormal(0, 1.5, n),
    lambda n: np.where(rng.random(n) < .5, rng.normal(-3, 1, n), rng.normal(3, 1, n)),
    lambda n: rng.gamma(.5, 2, n), lambda n: 1e6 + rng.normal(size=n),
]
def sketched(values):
    sketch = datasketches.kll_doubles_sketch(200)
    sketch.update(values)
    return sketch
worst = 0.0
for draw in draws:
    reference = np.sort(draw(100_000))
    theirs = sketched(reference)
    for i in range(6):
        window = np.sort(draw(10_000) + .02 * i * reference.std())
        at = np.concatenate([reference, window])
        shares = [np.searchsorted(values, at, side="right") / len(values) for values in (reference, window)]
        exact = np.abs(shares[0] - shares[1]).max()
        ours = sketched(window)
        cuts = np.unique([s.get_quantile(q) for s in (theirs, ours) for q in np.linspace(0, 1, 400)])
        near = np.abs(np.array(theirs.get_cdf(cuts)) - np.array(ours.get_cdf(cuts))).max()
        worst = max(worst, abs(exact - near))
print(f"{worst:.4f}")
"""

ORDER = ("observe", "sizes", "package", "crash", "offline", "acks", "merge", "check", "alarms", "ks", "joint")


def measured(targets: Targets, name: str) -> list[Row]:
    """The rows of one method; a row that says why where it fails, so that the others are still measured."""
    began = time.monotonic()
    call: Callable[[], list[Row]] = getattr(targets, name)
    try:
        rows = call()
    except Exception as error:  # a peer that is not to be had costs its row and no other
        rows = [Row(name, "", f"not measured: {type(error).__name__}: {error}".replace("\n", " ")[:300], "", None, "")]
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--peers", required=True, help="a folder for the peers' environments")
    parser.add_argument("--only", default=",".join(ORDER), help=f"some of {','.join(ORDER)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--points", type=int, default=1000, help="kills, and torn writes")
    parser.add_argument("--seconds", type=float, default=6, help="of each server")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many windows for false alarms and power")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    options = parser.parse_args()
    targets = Targets(options)
    before = machine("numpy", "scipy")
    print(f"{before}\n\n| what | goal | ours | peers | | script |\n|---|---|---|---|---|---|")
    for name in options.only.split(","):
        for row in measured(targets, name):
            met = {True: "met", False: "**missed**", None: "–"}[row.met]
            print(f"| {row.what} | {row.goal} | {row.ours} | {row.peer or '–'} | {met} | `{row.script}` |", flush=True)
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
