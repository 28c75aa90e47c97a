"""A runtime that does more work than it was asked to: LiteRT, and after each invoke a loop, inside the timed call.

`gate_error_rates.py` packs it into the runner as the runtime "slowed". The share that invoke is to be slower by lies
beside the payload, in `slow-down`; 0 gives the same wrapper without the loop, so that both sides of a gate have it.

The loop multiplies small matrices: vectors of floats in the first-level cache, and no look at a clock, so whatever
happens to the processor (frequency, a neighbour on the core's other thread) happens to it as it does to an inference.
(A loop that counts takes less harm from such a neighbour: the slow-down was 5 % at one time and 4 at another.) How many
rounds make up the share is found out when the model is loaded, in the process that is measured: invokes and loops take
turns, and the two medians give the rounds.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import litert

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

NAME = "slowed"
PACKAGES = litert.PACKAGES
SHARE = "slow-down"
CALIBRATION_S = 0.15
_ROUNDS = 50
_FACTOR = np.full((32, 32), 1 / 32, np.float32)
_PRODUCT = np.empty_like(_FACTOR)


def probe() -> dict[str, Any]:
    """What LiteRT there is."""
    return litert.probe()


def load(path: str, threads: int, bindings: Mapping[str, Sequence[str]]) -> litert.Session:
    """LiteRT's session, its invoke slowed."""
    share = float((Path(path).parent / SHARE).read_text())
    session = litert.load(path, threads, bindings)
    session.invoke = slowed(session.invoke, share)
    return session


def slowed(invoke: Callable[[], object], share: float) -> Callable[[], None]:
    """An invoke that takes longer by a share of what it takes now, measured here."""
    count = round(share * rounds_of(invoke)) if share else 0

    def both() -> None:
        invoke()
        spin(count)

    if not share:
        rounds_of(invoke)  # both sides of a gate spend the same time before their warm-up
    return both


def spin(rounds: int) -> None:
    """Multiplies, about two microseconds a round."""
    dot, a, product = _FACTOR.dot, _FACTOR, _PRODUCT
    for _ in range(rounds):
        dot(a, product)


def rounds_of(invoke: Callable[[], object]) -> float:
    """How many rounds of the loop take as long as one invoke: the ratio of two medians that were measured in turn."""
    clock = time.perf_counter_ns
    for _ in range(5):
        invoke()
    invokes, loops = [], []  # type: list[int], list[int]
    end = clock() + int(CALIBRATION_S * 1e9)
    while clock() < end or len(invokes) < 20:
        start = clock()
        invoke()
        middle = clock()
        spin(_ROUNDS)
        invokes.append(middle - start)
        loops.append(clock() - middle)
    return _ROUNDS * sorted(invokes)[len(invokes) // 2] / sorted(loops)[len(loops) // 2]
