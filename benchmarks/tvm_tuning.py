"""What tuning gains: a tuned TVM artifact against the same one untuned, one thread each, in turn in one process.

    edgekit convert models/mobilenet_v2 --to tvm:float32 --out usual
    edgekit convert models/mobilenet_v2 --to tuned.toml --out tuned         options = { tune_minutes = 6 }
    python benchmarks/tvm_tuning.py usual/mobilenet_v2/tvm-float32 tuned/mobilenet_v2/tvm-float32 [--pairs 200]

A pair is a block of invokes of each, and the order alternates; a block's time is its fastest invoke, for a machine that
does other work besides. The ratio is the tuned one's time over the other's: median and quartiles of the pairs, and the
fastest of all over the fastest of all. Inputs are the artifact's golden ones; the two must agree on them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from report import machine

from edgekit.artifact import open_artifact
from edgekit.runner.runtimes import tvm as runtime

INVOKES = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("usual", type=Path)
    parser.add_argument("tuned", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    options = parser.parse_args()
    usual, tuned = _session(options.usual), _session(options.tuned)
    np.testing.assert_allclose(usual.get_output(0), tuned.get_output(0), rtol=1e-3, atol=1e-3)
    pairs = np.array([_pair(usual, tuned, number) for number in range(options.pairs)])
    low, median, high = np.percentile(pairs[:, 1] / pairs[:, 0], [25, 50, 75])
    fastest = pairs.min(0)
    print(machine("apache-tvm"))
    print(f"{usual.variant}, {options.pairs} pairs: {' and '.join(f'{ms:.2f}' for ms in np.median(pairs, 0) * 1e3)} ms")
    print(f"tuned / usual: {median:.3f} ({low:.3f} to {high:.3f}), fastest {fastest[1] / fastest[0]:.3f}")


def _session(folder: Path) -> Any:
    artifact = open_artifact(folder)
    session = runtime.load(str(artifact.path / artifact.manifest.payload), 1, {"inputs": [], "outputs": []})
    for i, name in enumerate(artifact.manifest.golden.inputs):
        session.set_input(i, np.load(artifact.path / name)[0])
    session.invoke()
    return session


def _pair(first: Any, second: Any, number: int) -> tuple[float, float]:
    """Seconds of the fastest invoke in a block of each."""
    if number % 2 == 0:
        return _block(first), _block(second)
    after = _block(second)
    return _block(first), after


def _block(session: Any) -> float:
    session.invoke()  # the other's data are in the caches
    samples = []
    for _ in range(INVOKES):
        start = time.perf_counter()
        session.invoke()
        samples.append(time.perf_counter() - start)
    return min(samples)


if __name__ == "__main__":
    main()
