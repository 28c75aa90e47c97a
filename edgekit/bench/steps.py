"""Steps in a series: where its level changes, at an error rate that is said beforehand.

Seeded binary segmentation (Kovács, Bühlmann, Li and Munk 2023) with a permutation test in place of a threshold, as
Olshen and Venkatraman (2004) have one for DNA copy numbers. The series is looked at through windows of its whole
length, of half of it, of a quarter and so on, each overlapping the next by half, so that a step up and its way back
down are seen one at a time. The best split is the one between whose sides, within its window, most of the scatter lies.
If nothing ever changed, the order of the values says nothing, and shuffled series have splits as good as the real one.
So a split counts where a share of at most `alpha` of all shuffles has one as good; both sides are then looked at in the
same way. No distribution is assumed, so an outlier can hide a step but never make one. A series without any step gives
one with a chance of at most `alpha`.

Shuffling stops early where nothing will come of it (Besag and Clifford 1991). The shuffles are drawn with a fixed seed:
the same series always has the same steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

ALPHA = 0.05
SHORTEST = 2
"""Values of the shortest segment: a single one that differs is an outlier until a second one says the same."""
SEED = 20_261_127
_SHORTEST_WINDOW = 8
_FEWEST_SHUFFLES, _MOST_SHUFFLES = 999, 19_999
_ENOUGH = 20
"""Shuffles that split as well as the real order, after which it is clear that nothing will come of it."""
_BATCH_VALUES = 500_000


def find_steps(values: Sequence[float], alpha: float = ALPHA) -> list[int]:
    """The indexes at which a new level begins, ascending; none where the series is quiet.

    Args:
        values: in the order of time, one a run. Fewer than about eight can hardly show a step.
        alpha: the chance of a step in a series that has none.
    """
    import numpy as np

    draw = np.random.default_rng(SEED)
    found: list[int] = []
    waiting = [(0, len(values))]
    everything = np.asarray(values, dtype=np.float64)
    while waiting:
        begin, end = waiting.pop()
        if end - begin < 2 * SHORTEST:
            continue
        splits = _Splits.of(end - begin)
        part = everything[begin:end]
        scatter = splits.between(part[np.newaxis])[0]
        if _is_rare(part, float(scatter.max()), splits, alpha, draw):
            split = begin + int(splits.at[scatter.argmax()])
            found.append(split)
            waiting += [(begin, split), (split, end)]
    return sorted(found)


@dataclass(frozen=True)
class _Splits:
    """Every split of every window of a series: the window from `first` to `last` (not included), cut before `at`."""

    first: NDArray[np.int64]
    at: NDArray[np.int64]
    last: NDArray[np.int64]

    @staticmethod
    def of(n: int) -> _Splits:
        """Those of a series of n values."""
        import numpy as np

        every = [
            np.array([(begin, at, begin + length) for at in range(begin + SHORTEST, begin + length - SHORTEST + 1)])
            for begin, length in _windows(n)
        ]
        first, at, last = np.concatenate(every).T
        return _Splits(first, at, last)

    def between(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """For each row (a series) and split the sum of squares between its sides: shape (rows, splits)."""
        import numpy as np

        sums = np.cumsum(rows - rows.mean(axis=1, keepdims=True), axis=1)
        sums = np.concatenate([np.zeros((len(rows), 1)), sums], axis=1)
        left, size = self.at - self.first, self.last - self.first
        start = sums[:, self.first]
        excess = sums[:, self.at] - start - (sums[:, self.last] - start) * (left / size)
        scatter: NDArray[np.float64] = excess**2 * (size / (left * (size - left)))
        return scatter


def _windows(n: int) -> list[tuple[int, int]]:
    """(begin, length): the whole series, and windows of half, a quarter, ... of it that overlap by half."""
    found, length = [(0, n)], n / 2
    while length >= _SHORTEST_WINDOW:
        count = math.ceil((n - length) / (length / 2)) + 1
        size = math.ceil(length)
        found += [(round(k * (n - size) / (count - 1)), size) for k in range(count)]
        length /= 2
    return found


def _is_rare(part: NDArray[np.float64], best: float, splits: _Splits, alpha: float, draw: np.random.Generator) -> bool:
    """Whether at most a share of `alpha` of the shuffles has a split as good as `best`."""
    import numpy as np

    if best <= 1e-24 * float((part**2).sum()):  # all equal, but for rounding
        return False
    shuffles = min(_MOST_SHUFFLES, max(_FEWEST_SHUFFLES, math.ceil(_ENOUGH / alpha)))
    as_good, done = 0, 0
    while done < shuffles:
        count = min(shuffles - done, max(1, _BATCH_VALUES // len(splits.at)), max(100, done))
        rows = draw.permuted(np.tile(part, (count, 1)), axis=1)
        as_good += int((splits.between(rows).max(axis=1) >= best * (1 - 1e-9)).sum())
        done += count
        if as_good >= _ENOUGH and as_good / done > alpha:
            return False
    return (as_good + 1) / (done + 1) <= alpha
