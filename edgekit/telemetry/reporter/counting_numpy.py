"""Counting with NumPy: rows wait in one array and are counted column by column. See `counting`."""

from __future__ import annotations

import math
import sys

from .counting import ROWS, Counter, Tally
from .records import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Sequence

    from .reference import Feature

numpy: Any = sys.modules["numpy"]
BATCH_ROWS = 4096
"""Rows of a large batch that are counted at a time, so that the copies stay small."""
MOST_TYPES = 8
_DOUBLE = numpy.dtype(numpy.float64)


class NumpyCounter(Counter):
    """NumPy's way; `Counter` says what the methods do."""

    way = "numpy"

    def __init__(self, features: Sequence[Feature], rows: int = ROWS) -> None:
        super().__init__(features, rows)
        self._edges = [numpy.array(feature.edges, numpy.float64) for feature in self._features]
        self._ranged = [
            (j, _bound(feature.valid_min, -math.inf), _bound(feature.valid_max, math.inf))
            for j, feature in enumerate(self._features)
            if feature.valid_min is not None or feature.valid_max is not None
        ]
        self._shape = (self._width,)
        self._typed: tuple[Any, list[bytes]] = (None, [])
        """The type of arrays that came last, and those rows of it that wait."""
        self._others: list[tuple[Any, list[bytes]]] = []

    @property
    def rows(self) -> int:
        """As `Counter.rows`."""
        return super().rows + sum([len(waiting) for _, waiting in (self._typed, *self._others)])

    def tick(self, row: Any) -> bool:
        """As `Counter.tick`, also for arrays."""
        if type(row) is not numpy.ndarray:
            waiting = self._waiting
            waiting.append(self._pack(*row))
            return len(waiting) >= self._limit
        dtype, waiting = self._typed
        if row.dtype is not dtype or row.shape != self._shape:
            raise TypeError("not an array of the type and shape that the last one had")
        waiting.append(row.tobytes())
        return len(waiting) >= self._limit

    def add(self, row: Any) -> int:
        """As `Counter.add`."""
        if type(row) is not numpy.ndarray or row.dtype.kind not in "fiub":  # NumPy would read texts as numbers
            return super().add(row)
        if row.shape != self._shape and (row.ndim != 2 or row.shape[1] != self._width):
            raise ValueError("values of shape %r for %d features" % (row.shape, self._width))
        if row.dtype is not self._typed[0]:
            if len(self._others) >= MOST_TYPES:  # a program that alternates pays for it, in time and not in memory
                self.settle()
            self._others.append(self._typed)  # another thread may still append to it: it is looked at once more
            self._typed = (row.dtype, [])
        if row.shape == self._shape:
            self._typed[1].append(row.tobytes())
            if len(self._typed[1]) >= self._most:
                self.settle()
            return 1
        rows = row.reshape(-1, self._width)
        for start in range(0, len(rows), BATCH_ROWS):
            self._count_columns(rows[start : start + BATCH_ROWS])
        self._counted += len(rows)
        self.settle()
        return len(rows)

    def settle(self) -> None:
        """As `Counter.settle`."""
        for dtype, waiting in ((_DOUBLE, self._waiting), self._typed, *self._others):
            n = len(waiting)
            if n:
                self._count_columns(numpy.frombuffer(b"".join(waiting[:n]), dtype).reshape(n, self._width))
                del waiting[:n]
                self._counted += n
        del self._others[:-4]
        self.due = self._due

    def _count_columns(self, rows: Any) -> None:
        n = len(rows)
        columns = numpy.ascontiguousarray(rows.T, numpy.float64)
        with numpy.errstate(all="ignore"):
            totals = columns.sum(1)
        if not numpy.isfinite(totals).all():
            for j in range(self._width):
                self._count_one(j, columns[j])
            return
        for j, tally in enumerate(self._tallies):
            self._cells(tally, columns[j], j)
        for j, low, high in self._ranged:
            self._tallies[j].outside += int(((columns[j] < low) | (columns[j] > high)).sum())
        with numpy.errstate(all="ignore"):
            means = totals / n
            differences = columns - means[:, None]
            m2s = numpy.einsum("ij,ij->i", differences, differences).tolist()
        lows, highs = columns.min(1).tolist(), columns.max(1).tolist()
        for tally, low, high, mean, m2 in zip(self._tallies, lows, highs, means.tolist(), m2s):
            tally.moments(n, low, high, mean, m2)

    def _cells(self, tally: Tally, column: Any, j: int) -> None:
        cells = numpy.frombuffer(tally.cells, numpy.uint32)
        found = numpy.bincount(self._edges[j].searchsorted(column, side="right"), minlength=len(cells))
        numpy.add(cells, found, out=cells, casting="unsafe")

    def _count_one(self, j: int, column: Any) -> None:
        """A column with NaN or infinities in it, or one whose sum overflows."""
        tally, feature = self._tallies[j], self._features[j]
        seen = column[column == column]
        tally.missing += len(column) - len(seen)
        if not len(seen):
            return
        self._cells(tally, seen, j)
        low, high = _bound(feature.valid_min, -math.inf), _bound(feature.valid_max, math.inf)
        tally.outside += int(((seen < low) | (seen > high)).sum())
        tally.infinite[0] += int((seen == math.inf).sum())
        tally.infinite[1] += int((seen == -math.inf).sum())
        finite = seen[numpy.isfinite(seen)]
        if len(finite):
            with numpy.errstate(all="ignore"):
                mean = float((finite / len(finite)).sum())
                m2 = float(((finite - mean) ** 2).sum())
            tally.moments(len(finite), float(finite.min()), float(finite.max()), mean, m2)


def _bound(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
