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
_TYPES = {1: "<u1", 2: "<u2", 4: "<u4"}


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
    """One window's counts as slices.

    Attributes:
        totals: inferences, errors, dropped, coalesced.
        tails: missing, +inf, -inf, out of range of every feature, in the order of the layout.
        widths, cells: bytes a cell, and the cells, of every feature.
        moments: four doubles a feature, joined.
    """

    totals: list[int]
    tails: list[int]
    widths: list[int]
    cells: list[bytes]
    moments: bytes


def sections(frame: bytes, at: int, layout: Layout) -> Sections | None:
    """The counts that begin at `at`; None if they are odd or not those of the layout."""
    end = len(frame) - 4
    features = len(layout.sizes) - 1
    tails: list[int] = [0] * (4 * len(layout.sizes))
    widths = [0] * len(layout.sizes)
    cells = [b""] * len(layout.sizes)
    moments = [_NO_MOMENTS] * len(layout.sizes)
    try:
        totals = []
        for _ in range(4):
            value, at = _varint(frame, at)
            totals.append(value)
        for index in (features, *range(features)):
            if index == 0:
                if frame[at] | frame[at + 1] << 8 != features:
                    return None
                at += 2
            first = frame[at]
            size = layout.sizes[index]
            if frame[at + 1] | frame[at + 2] << 8 != size:
                return None
            at += 3
            tail = 4 * index
            for i in range(tail, tail + 4):
                if frame[at] < 128:
                    tails[i] = frame[at]
                    at += 1
                else:
                    tails[i], at = _varint(frame, at)
            if first & wire.MOMENTS:
                moments[index] = frame[at : at + 32]
                at += 32
                first &= 127
            if first:
                if first not in _TYPES:
                    return None
                widths[index] = first
                cells[index] = frame[at : at + size * first]
                at += size * first
    except (IndexError, ValueError):
        return None
    if at != end or not features:
        return None
    return Sections(totals, tails, widths, cells, b"".join(moments))


def _varint(data: bytes, at: int) -> tuple[int, int]:
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
    rows = np.zeros((count, layout.length), np.int64)
    rows[:, 0] = 1
    rows[:, 1 : len(TOTALS)] = [each.totals for each in batch]
    tails = np.array([each.tails for each in batch], np.int64).reshape(count, parts, 4)
    n = np.zeros((count, parts), np.int64)
    for index, (at, size) in enumerate(zip(layout.offsets, layout.sizes, strict=True)):
        widths = [each.widths[index] for each in batch]
        for width in set(widths) - {0}:
            chosen = [i for i, have in enumerate(widths) if have == width]
            joined = b"".join([batch[i].cells[index] for i in chosen])
            block = np.frombuffer(joined, _TYPES[width]).reshape(len(chosen), size)
            where: slice | list[int] = slice(None) if len(chosen) == count else chosen
            rows[where, at : at + size] = block
            n[where, index] = block.sum(axis=1)
        rows[:, at + size : at + size + 4] = tails[:, index]
    values = np.frombuffer(b"".join([each.moments for each in batch]), "<f8").reshape(count, parts, 4)
    low, high, mean, m2 = np.moveaxis(values, 2, 0)
    finite = n - tails[:, :, 1] - tails[:, :, 2]
    absent = (low == np.inf) & (high == -np.inf) & (mean == 0) & (m2 == 0)
    with np.errstate(invalid="ignore"):
        present = (finite >= 1) & np.isfinite(low) & np.isfinite(high) & np.isfinite(mean) & (low <= high) & (m2 >= 0)
    sound = (finite >= 0) & (tails[:, :, 3] <= n) & (n <= MAX_PER_WINDOW) & (absent | present)
    moments = np.concatenate([np.where(absent, 0, finite)[:, :, None], values], axis=2)
    return rows, moments, sound.all(axis=1)
