"""Keeps processors busy in bursts, as others on a shared machine do: for seeing what a measurement makes of that.

    python benchmarks/bursts.py --seconds 600 [--mean 0.5] [--processes 2]

Each process works and rests in turn, for times that are exponentially distributed around the mean. It ends by itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time


def bursts(seed: int, seconds: float, mean_s: float) -> None:
    """Works and rests until the time is over."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        busy_until = now + chance.expovariate(1 / mean_s)
        while time.monotonic() < busy_until:
            sum(range(10_000))
        time.sleep(chance.expovariate(1 / mean_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--mean", type=float, default=0.5)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    started = [
        multiprocessing.Process(target=bursts, args=(seed, given.seconds, given.mean))
        for seed in range(given.processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()


if __name__ == "__main__":
    main()
