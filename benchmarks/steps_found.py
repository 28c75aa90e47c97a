"""How soon `edgekit history` sees a step, and how often it sees one that is not there. Simulated: it needs no device.

    python benchmarks/steps_found.py [--series 300]

Series of runs with normal noise. First the false steps: quiet series of several lengths. Then 30 quiet runs and some
more on another level, a number of deviations (of the scatter among runs) away; a step counts as seen if it is found
within one run of where it is. Series that are asked for together share one error rate, so with more it takes longer.
Goal: no more than 5 % false steps.
"""

from __future__ import annotations

import argparse

import numpy as np

from edgekit.bench.aa_test import rate
from edgekit.bench.steps import ALPHA, find_steps
from edgekit.cli.aa_tests import share

BEFORE = 30
AFTER = (1, 2, 3, 4, 6, 10)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=300)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    print("| runs of a quiet series | with a step |\n|---|---|")
    for n in (8, 20, 60, 200):
        print(
            f"| {n} | {share(rate([bool(find_steps(draw.normal(0, 1, n).tolist())) for _ in range(options.series)]))} |"
        )
    print(f"\n| series together | deviations | {' | '.join(f'after {k}' for k in AFTER)} |")
    print("|---" * (2 + len(AFTER)) + "|")
    for together in (1, 10, 40):
        for size in (2, 3, 5):
            seen = [share(rate([_seen(draw, size, k, ALPHA / together) for _ in range(options.series)])) for k in AFTER]
            print(f"| {together} | {size} | {' | '.join(text.split(' (')[0] for text in seen)} |", flush=True)


def _seen(draw: np.random.Generator, size: float, after: int, alpha: float) -> bool:
    values = draw.normal(0, 1, BEFORE + after)
    values[BEFORE:] += size
    return any(abs(step - BEFORE) <= 1 for step in find_steps(values.tolist(), alpha))


if __name__ == "__main__":
    main()
