"""Counting in C: `_native.c`, which `build` compiles on demand, behind the same methods as `counting.Counter`."""

from __future__ import annotations

from array import array

from .counting import MANY
from .records import TYPE_CHECKING
from .window import FeatureCounts

if TYPE_CHECKING:
    from typing import Any


class NativeCounter:
    """The C counter, with its counts as values."""

    way = "native"

    def __init__(self, native: Any) -> None:
        self._native = native
        self.add = native.add
        self.tick = native.tick
        self.due = MANY

    @property
    def rows(self) -> int:
        """As `Counter.rows`."""
        return int(self._native.rows)

    @property
    def due(self) -> int:
        """As `Counter.due`."""
        return int(self._native.due)

    @due.setter
    def due(self, rows: int) -> None:
        self._native.due = rows

    def settle(self) -> None:
        """As `Counter.settle`; nothing ever waits."""

    def take(self) -> list[FeatureCounts]:
        """As `Counter.take`."""
        return [FeatureCounts(array_tuple(cells), *rest) for cells, rest in self._native.take()]


def array_tuple(cells: bytes) -> tuple[int, ...]:
    """Counts of 4 bytes each."""
    counts = array("I")
    counts.frombytes(cells)
    return tuple(counts)
