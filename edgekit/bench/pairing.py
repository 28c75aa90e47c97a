"""One ratio from two blocks that were measured together: what a pair of a gate counts by.

Blocks that followed each other count by their medians. Blocks of processes that took turns have as many turns each, and
the k-th turn of the one was next to the k-th of the other: each gives a ratio of medians, and the pair counts by the
median of these. So a change of the device's speed costs the turns in which it happened and no more; in the two blocks'
own medians it may stand for the whole difference.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING

from edgekit.bench.compare import middle
from edgekit.bench.effect import Paired, paired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.run import Block


def pairs_of(baseline: Sequence[Block], candidate: Sequence[Block]) -> Paired:
    """The log ratios of the pairs, candidate over baseline.

    Raises:
        ValueError: fewer than three pairs, lengths that differ, or a latency that is not positive.
    """
    paired([block.median_ns for block in baseline], [block.median_ns for block in candidate])  # raises, if it must
    return Paired(tuple(log_ratio(a, b) for a, b in zip(baseline, candidate, strict=True)))


def log_ratio(baseline: Block, candidate: Block) -> float:
    """What one pair counts by; both medians are positive."""
    if baseline.turns and len(baseline.turns) == len(candidate.turns):
        return middle([b - a for a, b in zip(_turns(baseline), _turns(candidate), strict=True)])
    return math.log(candidate.median_ns / baseline.median_ns)


def _turns(block: Block) -> list[float]:
    """The logarithm of each turn's median."""
    import numpy as np

    ends = list(accumulate(block.turns))
    pieces = np.split(block.samples.unpack(), ends[:-1])
    return [math.log(float(np.median(piece))) for piece in pieces]
