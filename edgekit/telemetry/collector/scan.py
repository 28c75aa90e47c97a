"""The fast way from frames to rows of a matrix: without making a `Window`, a feature of the whole batch at a time.

`wire.decode` is what decides on a frame; it takes 18 µs a feature. This reader knows the reference that a frame should
fit and takes only frames of the ordinary kind: cells of 1, 2 or 4 bytes, names and labels that were seen before, every
number plausible. Whatever else comes gives None or False, and goes the slow way, where it is accepted or refused. So
this may be stricter than `wire`, and is never laxer; tests hold the two against each other.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgekit.telemetry.collector.layout import MAX_PER_WINDOW, TOTALS
from edgekit.telemetry.reporter import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from edgekit.telemetry.collector.layout import Layout, Moments, Vector

_PREFIX = 8  # a frame's header
_TIMES = struct.Struct("<qqQB")
_SEQ = struct.Struct("<Q")
_NO_MOMENTS = struct.pack("<dddd", np.inf, -np.inf, 0.0, 0.0)
_FLAGS = frozenset((0, 1, 3, 4, 5, 7))
_DIGEST = 32
_TYPES = {0: "", 1: "<u1", 2: "<u2", 4: "<u4"}
_COUNTS = struct.Struct("<BHBBBB")  # width and moments, cells, and the four of the tail where each takes one byte


class Head(NamedTuple):
    """What stands before a window's counts.

    Attributes:
        boot, seq, start_ns, end_ns, bootstrapped: as in `Window`; boot as 16 bytes.
        artifact, model, reference, labels: the bytes on the wire.
        at: where the totals begin.
    """

    boot: bytes
    seq: int
    model: bytes
    artifact: bytes
    reference: bytes
    start_ns: int
    end_ns: int
    bootstrapped: bool
    labels: bytes
    at: int


def head(frame: bytes, device: bytes) -> Head | None:
    """The head of a frame whose checksum is good; None if it is odd, or of another device than `device`."""
    size = len(device)
    at = _PREFIX + 1 + size
    if frame[_PREFIX] != size or frame[_PREFIX + 1 : at] != device:
        return None
    try:
        boot = frame[at : at + 16]
        (seq,) = _SEQ.unpack_from(frame, at + 16)
        at += 24
        model = frame[at + 1 : at + 1 + frame[at]]
        at += 1 + frame[at]
        artifact = frame[at : at + _DIGEST]
        reference = frame[at + _DIGEST : at + 2 * _DIGEST]
        at += 2 * _DIGEST
        start_ns, end_ns, span_ns, flags = _TIMES.unpack_from(frame, at)
        at += _TIMES.size
        begin = at
        count = frame[at]
        at += 1
        for _ in range(2 * min(count, wire.MAX_LABELS)):
            at += 1 + frame[at]
    except (struct.error, IndexError):
        return None
    if flags not in _FLAGS or seq > wire.MAX_COUNT or span_ns > wire.MAX_COUNT or count > wire.MAX_LABELS:
        return None
    return Head(boot, seq, model, artifact, reference, start_ns, end_ns, flags >= 4, frame[begin:at], at)


class Sections(NamedTuple):
    """One window's counts, of the features in the order of the layout.

    Attributes:
        totals: inferences, errors, dropped, coalesced.
        tails: missing, +inf, -inf, out of range of every feature.
        widths: bytes a cell, of every feature; 0: all its cells are 0.
        cells: the cells of every feature.
        moments: four doubles a feature, joined.
    """

    totals: list[int]
    tails: list[int]
    widths: tuple[int, ...]
    cells: list[bytes]
    moments: bytes


def sections(frame: bytes, at: int, layout: Layout) -> Sections | None:
    """The counts that begin at `at`; None if they are odd or not those of the layout."""
    *sizes, latency_size = layout.sizes
    tails: list[int] = []
    widths: list[int] = []
    cells: list[bytes] = []
    moments: list[bytes] = []
    try:
        totals = []
        for _ in range(4):
            value, at = _varint(frame, at)
            totals.append(value)
        for size in (latency_size, *sizes):
            first, count, missing, positive, negative, outside = _COUNTS.unpack_from(frame, at)
            if count != size:
                return None
            if (missing | positive | negative | outside) < 128:
                tails += (missing, positive, negative, outside)
                at += _COUNTS.size
            else:
                at += _COUNTS.size - 4
                for _ in range(4):
                    value = frame[at]
                    at += 1
                    if value > 127:
                        value, at = _varint(frame, at - 1)
                    tails.append(value)
            if first & wire.MOMENTS:
                moments.append(frame[at : at + 32])
                at += 32
                first &= 127
            else:
                moments.append(_NO_MOMENTS)
            if first not in _TYPES:
                return None
            widths.append(first)
            cells.append(frame[at : at + size * first])
            at += size * first
            if len(widths) == 1:  # the latency is first on the wire, and last in the layout
                if frame[at] | frame[at + 1] << 8 != len(sizes):
                    return None
                at += 2
    except (IndexError, ValueError, struct.error):
        return None
    if at != len(frame) - 4 or not sizes:
        return None
    tails += tails[:4]
    widths.append(widths[0])
    cells.append(cells[0])
    moments.append(moments[0])
    return Sections(totals, tails[4:], tuple(widths[1:]), cells[1:], b"".join(moments[1:]))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    second = data[at + 1]
    if 0 < second < 128 <= data[at]:
        return data[at] & 127 | second << 7, at + 2
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value > MAX_PER_WINDOW or (shift and not byte):
                raise ValueError
            return value, at
        shift += 7
        if shift > 56:
            raise ValueError


def matrix(batch: Sequence[Sections], layout: Layout) -> tuple[Vector, Moments, npt.NDArray[np.bool_]]:
    """Rows of integers, of moments, and whether each row is sound, for windows of one layout."""
    count = len(batch)
    parts = len(layout.sizes)
    rows = np.empty((count, layout.length), np.int64)
    rows[:, 0] = 1
    rows[:, 1 : len(TOTALS)] = [each.totals for each in batch]
    tails = np.array([each.tails for each in batch], np.int64).reshape(count, parts, 4)
    widths = tuple(map(max, zip(*[each.widths for each in batch], strict=True)))
    packed = b"".join([_packed(each, widths, layout.sizes) for each in batch])
    block = np.frombuffer(packed, np.uint8).reshape(count, -1)
    begin = 0
    for index, (at, size, width) in enumerate(zip(layout.offsets, layout.sizes, widths, strict=True)):
        cells = rows[:, at : at + size]
        cells[...] = block[:, begin : begin + size * width].view(_TYPES[width]) if width else 0
        begin += size * width
        rows[:, at + size : at + size + 4] = tails[:, index]
    ends = [each for at, size in zip(layout.offsets, layout.sizes, strict=True) for each in (at, at + size)]
    n = np.add.reduceat(rows, ends, axis=1)[:, ::2]  # a feature's cells; every other sum is of a tail
    values = np.frombuffer(b"".join([each.moments for each in batch]), "<f8").reshape(count, parts, 4)
    low, high, mean, m2 = np.moveaxis(values, 2, 0)
    finite = n - tails[:, :, 1] - tails[:, :, 2]
    absent = (low == np.inf) & (high == -np.inf) & (mean == 0) & (m2 == 0)
    with np.errstate(invalid="ignore"):
        present = (finite >= 1) & np.isfinite(low) & np.isfinite(high) & np.isfinite(mean) & (low <= high) & (m2 >= 0)
    sound = (finite >= 0) & (tails[:, :, 3] <= n) & (n <= MAX_PER_WINDOW) & (absent | present)
    moments = np.empty((count, parts, 5))
    moments[:, :, 0] = np.where(absent, 0, finite)
    moments[:, :, 1:] = values
    return rows, moments, sound.all(axis=1)


def _packed(window: Sections, widths: tuple[int, ...], sizes: tuple[int, ...]) -> bytes:
    """The window's cells, of `widths` bytes each, which are its own or larger."""
    if window.widths == widths:
        return b"".join(window.cells)
    cells: list[bytes | bytearray] = []
    for have, wanted, size, narrow in zip(window.widths, widths, sizes, window.cells, strict=True):
        if have == wanted:
            cells.append(narrow)
            continue
        wide = bytearray(size * wanted)  # little-endian: the low bytes stand first
        for byte in range(have):
            wide[byte::wanted] = narrow[byte::have]
        cells.append(wide)
    return b"".join(cells)
