"""Counting: rows of numbers into cells, at the cost that the program's inference can bear.

There are three ways that give the same counts, and `counter_of` takes the fastest that is there:

    counting_native   C, built on demand (`python -m edgekit.telemetry.reporter.build`): counts each row at once
    counting_numpy    where the program has imported NumPy: keeps some hundred rows, and counts them by columns
    this module       standard library: the same, with sorted columns, so that an edge costs one search and not a value

A counter has `add`, which takes one row or a batch and tells how many rows that were; `rows`, how many there were since
the last `take`; and `take`, which gives the counts since then. These are for one thread at a time. `tick` is for any
thread at any time: it takes one row and tells whether something is due, which is when rows wait to be counted
(`settle`) or `rows` has come to `due`. A lock costs as much as the counting; `tick` needs none, because it rests on one
step that the interpreter does not divide (a list's append, or the call of a C function).

A row that is not of numbers, or of another length, raises and leaves nothing behind. State a feature: 4 bytes a cell
and the moments; beside it, up to 1,024 rows of 8 bytes a value wait for their turn (not in C).
"""

from __future__ import annotations

import math
import struct
from array import array
from bisect import bisect_left, bisect_right

from .records import TYPE_CHECKING
from .window import FeatureCounts, merge_moments

if TYPE_CHECKING:
    from typing import Any, Sequence

    from .reference import Feature

ROWS = 1024
"""Rows that wait: one search an edge is spread over as many values."""
MANY = 1 << 62
NAN = math.nan


def counter_of(features: Sequence[Feature], *, way: str | None = None) -> Any:
    """A counter for features of kind number; `way` is "native", "numpy", "stdlib", or None for the fastest there is."""
    from .summaries import loaded_numpy

    if way in (None, "native"):
        try:
            from ._native import Counter as Native  # type: ignore[import-not-found,unused-ignore] # built on demand
            from .counting_native import NativeCounter

            ranges = [(_or(feature.valid_min, -math.inf), _or(feature.valid_max, math.inf)) for feature in features]
            return NativeCounter(Native([array("d", feature.edges).tobytes() for feature in features], ranges))
        except ImportError:
            if way == "native":
                raise
    if way == "numpy" or (way is None and loaded_numpy() is not None):
        from .counting_numpy import NumpyCounter

        return NumpyCounter(features)
    return Counter(features)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


class Tally:
    """What one feature has seen so far; `infinite` counts those above and below, `n` those that the moments are of."""

    __slots__ = ("cells", "infinite", "m2", "max", "mean", "min", "missing", "n", "outside")

    def __init__(self, size: int) -> None:
        self.cells = array("I", bytes(4 * size))
        self.missing = self.outside = self.n = 0
        self.infinite = [0, 0]
        self.min, self.max = math.inf, -math.inf
        self.mean = self.m2 = 0.0

    def moments(self, n: int, low: float, high: float, mean: float, m2: float) -> None:
        """Adds those of n finite values."""
        self.mean, self.m2 = merge_moments((self.n, self.mean, self.m2), (n, mean, m2))
        self.n += n
        self.min, self.max = min(self.min, low), max(self.max, high)

    def counts(self) -> FeatureCounts:
        """As a value."""
        return FeatureCounts(
            tuple(self.cells),
            self.missing,
            self.infinite[0],
            self.infinite[1],
            self.outside,
            self.min,
            self.max,
            self.mean,
            self.m2,
        )


def numbers_of(row: Any) -> list[float]:
    """A row as floats; None is NaN.

    Raises:
        TypeError: texts, which Python would read as numbers, or anything else that is none.
    """
    if hasattr(row, "tolist"):
        row = row.tolist()
    numbers = []
    for value in row:
        if isinstance(value, (str, bytes, bytearray)):
            raise TypeError("a text where a number belongs: %.20r" % (value,))
        numbers.append(NAN if value is None else float(value))
    return numbers


class Counter:
    """The standard library's way."""

    way = "stdlib"

    def __init__(self, features: Sequence[Feature], rows: int = ROWS) -> None:
        self._features = list(features)
        self._width = len(self._features)
        self._most = rows
        self._pack = struct.Struct("%dd" % self._width).pack  # by far the fastest check that all of a row are numbers
        self._waiting: list[bytes] = []
        self._tallies = [Tally(feature.size) for feature in self._features]
        self._counted = 0
        self._due = MANY
        self._limit = rows

    @property
    def rows(self) -> int:
        """Rows since the last `take`."""
        return self._counted + len(self._waiting)

    @property
    def due(self) -> int:
        """At how many rows `tick` tells that something is due."""
        return self._due

    @due.setter
    def due(self, rows: int) -> None:
        self._due = rows
        self._limit = min(self._most, max(1, rows - self._counted))

    def tick(self, row: Any) -> bool:
        """Takes one row, of a list or tuple; whether something is due.

        Raises:
            Exception: it is anything else; nothing was counted, and `add` may know what it is.
        """
        waiting = self._waiting
        waiting.append(self._pack(*row))
        return len(waiting) >= self._limit

    def add(self, row: Any) -> int:
        """Counts one row (a sequence of as many numbers as there are features), or each row of nested ones.

        Raises:
            TypeError, ValueError, OverflowError: it is not of numbers, or of another length; nothing was counted.
        """
        try:
            rows = [self._pack(*row)] if type(row) in (list, tuple) else self._rows_in(row)
        except (struct.error, TypeError, OverflowError):
            rows = self._rows_in(row)
        self._waiting += rows
        if len(self._waiting) >= self._most:
            self.settle()
        return len(rows)

    def _rows_in(self, value: Any) -> list[bytes]:
        return [self._pack(*numbers) for numbers in rows_in(value, self._width)]

    def take(self) -> list[FeatureCounts]:
        """The counts since the last time, one entry a feature; begins anew."""
        self.settle()
        counts = [tally.counts() for tally in self._tallies]
        self._tallies = [Tally(feature.size) for feature in self._features]
        self._counted = 0
        self.due = self._due
        return counts

    def settle(self) -> None:
        """Counts the rows that wait."""
        n = len(self._waiting)
        values = array("d", b"".join(self._waiting[:n]))
        del self._waiting[:n]  # others may have been appended meanwhile
        for j, feature in enumerate(self._features):
            _count_column(self._tallies[j], feature, values[j :: self._width].tolist())
        self._counted += n
        self.due = self._due


def rows_in(value: Any, width: int) -> list[list[float]]:
    """The rows of a value, all of them checked.

    Raises:
        TypeError, ValueError: one is not of `width` numbers.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (str, bytes, bytearray, dict, set, frozenset)):
        raise TypeError("a row is a sequence of numbers, not a %s" % type(value).__name__)
    value = list(value)
    nested = bool(value) and (isinstance(value[0], (list, tuple)) or hasattr(value[0], "tolist"))
    rows = [numbers_of(row) for row in (value if nested and not _is_scalar(value[0]) else [value])]
    for row in rows:
        if len(row) != width:
            raise ValueError("a row of %d values for %d features" % (len(row), width))
    return rows


def _is_scalar(value: Any) -> bool:
    return getattr(value, "shape", None) == ()


def _count_column(tally: Tally, feature: Feature, column: list[float]) -> None:
    total = sum(column)
    if total - total != 0:  # NaN or infinities are in it, or it overflows
        whole = len(column)
        column = [value for value in column if value == value]
        tally.missing += whole - len(column)
    if not column:
        return
    column.sort()
    cells = tally.cells
    below = 0
    for i, edge in enumerate(feature.edges):
        at = bisect_left(column, edge, below)
        if at != below:
            cells[i] += at - below
            below = at
    cells[len(feature.edges)] += len(column) - below
    if feature.valid_min is not None:
        tally.outside += bisect_left(column, feature.valid_min)
    if feature.valid_max is not None:
        tally.outside += len(column) - bisect_right(column, feature.valid_max)
    if total - total != 0:
        first, end = bisect_right(column, -math.inf), bisect_left(column, math.inf)
        tally.infinite[0] += len(column) - end
        tally.infinite[1] += first
        column = column[first:end]
        if not column:
            return
        mean = math.fsum([value / len(column) for value in column])
    else:
        mean = total / len(column)
    norm = math.dist(column, [mean] * len(column))
    tally.moments(len(column), column[0], column[-1], mean, norm * norm)


class CategoryCounter:
    """Counts values of one category."""

    def __init__(self, feature: Feature) -> None:
        self._index = {category: i for i, category in enumerate(feature.categories)}
        self._unseen = len(self._index)
        self._cells = [0] * feature.size
        self._missing = 0

    def add(self, value: Any) -> None:
        """Counts one value; None and NaN are missing.

        Raises:
            TypeError: it cannot be compared with categories (a list, an array).
        """
        if value is None or value != value:
            self._missing += 1
        else:
            self._cells[self._index.get(value, self._unseen)] += 1

    def take(self) -> FeatureCounts:
        """As `Counter.take`, for its one feature."""
        counts = FeatureCounts(tuple(self._cells), self._missing)
        self._cells = [0] * len(self._cells)
        self._missing = 0
        return counts
