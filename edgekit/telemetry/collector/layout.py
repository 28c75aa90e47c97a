"""A window as one vector of integers and one small matrix of moments, so that adding windows up is adding arrays.

For a reference with F features the vector is

    5 totals | for each feature, then for latency: its cells, missing, +inf, -inf, out of range

and the matrix has F + 1 rows of (finite values, min, max, mean, m2). Integers add up exactly in any order. The moments
are merged by Chan, Golub and LeVeque's formula and agree to rounding. A stored vector has the narrowest unsigned type
that holds its largest number, told by its width in bytes, little-endian.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.telemetry.reporter.window import FeatureCounts
from edgekit.telemetry.store import LATENCY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from edgekit.telemetry.reporter.reference import Reference
    from edgekit.telemetry.reporter.window import Window

    Vector = npt.NDArray[np.int64]
    Moments = npt.NDArray[np.float64]

TOTALS = ("windows", "inferences", "errors", "dropped", "coalesced")
_TAIL = 4  # missing, +inf, -inf, out of range
COLUMNS = 5  # finite values, min, max, mean, m2
_WIDTHS = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<i8"}
MAX_PER_WINDOW = 1 << 40
"""The largest count that one window may have: 2^23 such windows still fit a sum of 63 bits."""


@dataclass(frozen=True)
class Layout:
    """Where everything is in the vectors of one reference.

    Attributes:
        names: features, then `LATENCY`.
        sizes: cells of each.
        offsets: where each one's cells begin.
        length: of the vector.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    offsets: tuple[int, ...]
    length: int

    @classmethod
    def of(cls, reference: Reference, latency_cells: int) -> Layout:
        """The layout of a reference's windows."""
        sizes = (*(feature.size for feature in reference.features), latency_cells)
        offsets = []
        at = len(TOTALS)
        for size in sizes:
            offsets.append(at)
            at += size + _TAIL
        return cls((*(feature.name for feature in reference.features), LATENCY), sizes, tuple(offsets), at)

    def fits(self, window: Window) -> bool:
        """Whether a window counts exactly these cells, with numbers that can be added up."""
        counts = (*window.features, window.latency)
        return tuple(len(each.cells) for each in counts) == self.sizes

    def vector(self, window: Window) -> Vector:
        """The integers of a window that `fits`."""
        values = [1, window.inferences, window.errors, window.dropped, window.coalesced]
        for each in (*window.features, window.latency):
            values += each.cells
            values += each[1:5]
        return np.array(values, np.int64)

    def moments(self, window: Window) -> Moments:
        """The moments of a window that `fits`."""
        rows = [
            (each.finite if each.min <= each.max else 0, each.min, each.max, each.mean, each.m2)
            for each in (*window.features, window.latency)
        ]
        return np.array(rows, np.float64)

    def counts(self, vector: Vector, moments: Moments, index: int) -> FeatureCounts:
        """What one feature saw."""
        at = self.offsets[index]
        size = self.sizes[index]
        values = vector[at : at + size + _TAIL].tolist()
        finite, low, high, mean, m2 = moments[index].tolist()
        if not finite:
            low, high, mean, m2 = np.inf, -np.inf, 0.0, 0.0
        missing, positive, negative, outside = values[size:]
        return FeatureCounts(tuple(values[:size]), missing, positive, negative, outside, low, high, mean, m2)


def too_large(window: Window) -> bool:
    """Whether any number of the window is beyond `MAX_PER_WINDOW`.

    Cells count one by one: those of a joint add up to 32,513 times its rows, which months offline may bring there.
    """
    largest = max(window.inferences, window.errors, window.dropped, window.coalesced)
    return largest > MAX_PER_WINDOW or any(
        max(*each.cells, *each[1:5]) > MAX_PER_WINDOW for each in (*window.features, window.latency)
    )


def pack(vector: Vector) -> tuple[int, bytes]:
    """(width, bytes) of a vector."""
    largest = int(vector.max())
    width = 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4 if largest < 1 << 32 else 8
    return width, vector.astype(_WIDTHS[width]).tobytes()


def unpack(width: int, packed: bytes) -> Vector:
    """The vector again."""
    return np.frombuffer(packed, _WIDTHS[width]).astype(np.int64)


def pack_moments(moments: Moments) -> bytes:
    """Little-endian doubles, row after row."""
    return moments.astype("<f8").tobytes()


def unpack_moments(packed: bytes) -> Moments:
    """The matrix again."""
    return np.frombuffer(packed, "<f8").reshape(-1, COLUMNS)


def sum_packed(widths: Sequence[int], packed: Sequence[bytes], length: int) -> Vector:
    """The sum of packed vectors, exactly. Those of one width are added as one matrix."""
    total = np.zeros(length, np.int64)
    present = set(widths)
    for width in present:
        chosen = (
            packed if len(present) == 1 else [each for have, each in zip(widths, packed, strict=True) if have == width]
        )
        total += _column_sums(np.frombuffer(b"".join(chosen), _WIDTHS[width]).reshape(-1, length))
    return total


def _column_sums(block: npt.NDArray[Any]) -> Vector:
    """Sums of columns. A narrow type is added in the next wider one for as many rows as cannot overflow it."""
    wider = {1: (np.uint16, 257), 2: (np.uint32, 65537)}.get(block.dtype.itemsize)
    if wider is None:
        return block.sum(axis=0, dtype=np.int64)  # type: ignore[no-any-return] # numpy tells no more
    kind, rows = wider
    total = np.zeros(block.shape[1], np.int64)
    for at in range(0, len(block), rows):
        total += block[at : at + rows].sum(axis=0, dtype=kind)
    return total


def merge_moments(stack: Moments) -> Moments:
    """Many matrices (rows, features, 5) as one. A row without finite values is (0, inf, -inf, 0, 0).

    A sum of squares that overflows is inf, never NaN; a mean stays between min and max.
    """
    n, low, high, means, squares = stack.transpose(2, 0, 1)
    merged = np.empty(stack.shape[1:])
    total, lowest, highest, mean, m2 = merged.T
    np.add.reduce(n, axis=0, out=total)
    np.minimum.reduce(low, axis=0, out=lowest)
    np.maximum.reduce(high, axis=0, out=highest)
    with np.errstate(over="ignore", invalid="ignore"):
        np.add.reduce(n / np.maximum(total, 1) * means, axis=0, out=mean)
        np.minimum(np.maximum(mean, lowest), highest, out=mean, where=total > 0)
        apart = means - mean
        spread = n * apart  # first: a row without values adds nothing, and the square of its distance may overflow
        spread *= apart
        spread += squares
        np.add.reduce(spread, axis=0, out=m2)
    m2[np.isnan(m2)] = np.inf
    return merged


class CountsView(Mapping[str, FeatureCounts]):
    """Counts by feature, unpacked when looked at."""

    def __init__(self, layout: Layout, vector: Vector, moments: Moments, chosen: Sequence[int]) -> None:
        self._layout, self._vector, self._moments = layout, vector, moments
        self._index = {layout.names[i]: i for i in chosen}

    def __getitem__(self, name: str) -> FeatureCounts:
        return self._layout.counts(self._vector, self._moments, self._index[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def cells(self, name: str) -> Vector:
        """The cells of one feature as an array, without a copy."""
        index = self._index[name]
        at = self._layout.offsets[index]
        return self._vector[at : at + self._layout.sizes[index]]
