"""Counting rows and, of some of them, how their values go together (`joint`).

A row's vector costs several times what its counts do: 128 frequencies. So only one row in so many is taken into it,
without looking at the values; the vector says how many rows it is of. Which one of so many differs from time to time:
a program that takes turns with four cameras would otherwise have one of them watched, and so would one whose every call
is tried twice (as a row, then as a batch). With NumPy the rows that wait are summed in one product.
"""

from __future__ import annotations

import struct
from itertools import compress, count

from .counting import numbers_of, rows_in
from .joint import NumpySums, Sums
from .records import TYPE_CHECKING
from .summaries import loaded_numpy
from .window import FeatureCounts

if TYPE_CHECKING:
    from typing import Any, Sequence

    from .reference import Feature

EVERY = 4
"""One row in so many: what keeps the whole at about twice of what counting alone costs (benchmarks/README.md)."""
WAITING = 256
PERIOD = 4096
"""Rows after which the choice of rows begins anew."""


def _chosen() -> bytes:
    """For each row of a period whether it is taken: one of every `EVERY`, at places as if by chance."""
    state = 41
    taken = bytearray(PERIOD)
    for first in range(0, PERIOD, EVERY):
        state = (state * 1664525 + 1013904223) % (1 << 32)  # Knuth and Lewis's generator; its high bits are good
        taken[first + (state >> 16) % EVERY] = 1
    return bytes(taken)


CHOSEN = _chosen()


class JointCounter:
    """A counter (`counting`) that also sums the vector of a joint; its counts come last in `take`."""

    def __init__(self, counter: Any, features: Sequence[Feature], joint: Feature) -> None:
        self._counter = counter
        self.way = counter.way
        assert joint.joint is not None
        at = {feature.name: i for i, feature in enumerate(features)}
        self._columns = [at[name] for name in joint.joint.members]
        edges = [features[i].edges for i in self._columns]
        numpy: Any = loaded_numpy() if counter.way != "stdlib" else None
        self._numpy: Any = numpy
        self._sums: Any = Sums(joint.joint, edges) if numpy is None else NumpySums(numpy, joint.joint, edges)
        self._width = len(features)
        self._pack = struct.Struct("%dd" % self._width).pack
        self._unpack = struct.Struct("%dd" % self._width).unpack
        self._number = count()
        self._waiting: list[bytes] = []
        self._vector = [0] * joint.size

    @property
    def rows(self) -> int:
        """As `Counter.rows`."""
        return int(self._counter.rows)

    @property
    def due(self) -> int:
        """As `Counter.due`."""
        return int(self._counter.due)

    @due.setter
    def due(self, rows: int) -> None:
        self._counter.due = rows

    def tick(self, row: Any) -> bool:
        """As `Counter.tick`."""
        if not CHOSEN[next(self._number) % PERIOD]:
            if len(row) != self._width or hasattr(row[0], "__len__"):
                raise TypeError("a batch: `add` knows which of its rows are taken")  # C's `tick` would count it
            return bool(self._counter.tick(row))
        values = row.tolist() if hasattr(row, "tolist") else row  # before anything was counted
        try:
            packed = self._pack(*values)
        except struct.error:
            packed = self._pack(*numbers_of(values))  # C's `tick` takes None as well
        due = self._counter.tick(row)
        self._waiting.append(packed)
        return due or len(self._waiting) >= WAITING

    def add(self, row: Any) -> int:
        """As `Counter.add`."""
        added = int(self._counter.add(row))
        number = next(self._number)
        if added > 1:
            self._number = count(number + added)
        begin = number % PERIOD
        taken = list(compress(range(added), (CHOSEN * (1 + (begin + added) // PERIOD))[begin:]))
        if taken:
            # Rows of a batch of arrays are taken before they are lists: most of them are not needed.
            nested = getattr(row, "ndim", 1) == 2 or (added > 1 and isinstance(row, (list, tuple)))
            if not nested:
                chosen = row
            elif self._numpy is not None and isinstance(row, self._numpy.ndarray):
                chosen = row[taken]
            else:
                chosen = [row[i] for i in taken]
            self._waiting += [self._pack(*values) for values in rows_in(chosen, self._width)]
            if len(self._waiting) >= WAITING:
                self.settle()
        return added

    def settle(self) -> None:
        """As `Counter.settle`."""
        self._counter.settle()
        n = len(self._waiting)
        if not n:
            return
        packed = self._waiting[:n]
        del self._waiting[:n]
        if self._numpy is not None:
            values = self._numpy.frombuffer(b"".join(packed)).reshape(n, self._width)
            found = self._sums(values[:, self._columns].T)
        else:
            rows = [self._unpack(each) for each in packed]
            found = self._sums([[row[i] for i in self._columns] for row in rows])
        self._vector = [a + b for a, b in zip(self._vector, found)]

    def take(self) -> list[FeatureCounts]:
        """As `Counter.take`, the joint's vector last."""
        self.settle()
        counts = list(self._counter.take())
        counts.append(FeatureCounts(tuple(self._vector)))
        self._vector = [0] * len(self._vector)
        return counts
