"""Writing a window. `wire` has the frames around it."""

from __future__ import annotations

import struct
from array import array
from sys import byteorder

from .records import TYPE_CHECKING
from .reference import MAX_CELLS, MAX_FEATURES
from .wire_layout import (
    BOOTSTRAPPED,
    FOUR_MOMENTS,
    MAX_COUNT,
    MAX_LABELS,
    MAX_MODEL_BYTES,
    MAX_TEXT_BYTES,
    MOMENTS,
    SEQ,
    SYNCED,
    SYNCED_KNOWN,
    TIMES,
    TYPECODES,
    check_moments,
)

if TYPE_CHECKING:
    from .window import FeatureCounts, Window


def varint(value: int) -> bytes:
    """A count of 0 to 2^63 - 1, 7 bits a byte, the lowest first."""
    if not 0 <= value <= MAX_COUNT:
        raise ValueError("%r is no count" % value)
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(value: str, limit: int = MAX_TEXT_BYTES, least: int = 1) -> bytes:
    raw = value.encode("utf-8")
    if not least <= len(raw) <= limit or not value.isprintable():
        raise ValueError("%r is not %d to %d bytes of printable text" % (value, least, limit))
    return bytes((len(raw),)) + raw


def _digest(value: str, size: int, *, empty: bool = False) -> bytes:
    if empty and not value:
        return bytes(size)
    raw = bytes.fromhex(value)
    if len(raw) != size or raw.hex() != value:
        raise ValueError("%r is not %d lower-case hex digits" % (value, 2 * size))
    return raw


def bytes_of(window: Window) -> bytes:
    """A window's bytes, without a frame.

    Raises:
        Exception: of several kinds: it does not fit the format.
    """
    if not 0 <= len(window.features) <= MAX_FEATURES:
        raise ValueError("%d features; %d are possible" % (len(window.features), MAX_FEATURES))
    if len(window.labels) > MAX_LABELS or list(dict(window.labels).items()) != sorted(window.labels):
        raise ValueError("labels are at most %d, in order, each key once" % MAX_LABELS)
    if max(window.seq, window.span_ns) > MAX_COUNT:
        raise ValueError("a seq or span of more than 63 bits")
    flags = 0 if window.synced is None else SYNCED_KNOWN | (SYNCED if window.synced else 0)
    flags |= BOOTSTRAPPED if window.bootstrapped else 0
    parts = [
        _text(window.device),
        _digest(window.boot, 16),
        SEQ.pack(window.seq),
        _text(window.model, MAX_MODEL_BYTES),
        _digest(window.artifact, 32, empty=True),
        _digest(window.reference, 32),
        TIMES.pack(window.start_ns, window.end_ns, window.span_ns, flags),
        bytes((len(window.labels),)),
    ]
    for key, value in window.labels:
        parts += (_text(key), _text(value, least=0))
    parts += map(varint, (window.inferences, window.errors, window.dropped, window.coalesced))
    parts.append(_encode_counts(window.latency))
    parts.append(struct.pack("<H", len(window.features)))
    parts += map(_encode_counts, window.features)
    return b"".join(parts)


def _encode_counts(counts: FeatureCounts) -> bytes:
    cells = counts.cells
    if not 1 <= len(cells) <= MAX_CELLS or min(cells) < 0:
        raise ValueError("%d cells; 1 to %d are possible, none below zero" % (len(cells), MAX_CELLS))
    largest = max(cells)
    width = 0 if not largest else 1 if largest < 1 << 8 else 2 if largest < 1 << 16 else 4 if largest < 1 << 32 else 8
    head = width | (MOMENTS if counts.has_moments else 0)
    parts = [struct.pack("<BH", head, len(cells))]
    parts += map(varint, (counts.missing, counts.positive_infinite, counts.negative_infinite, counts.out_of_range))
    if counts.has_moments:
        moments = (counts.min, counts.max, counts.mean, counts.m2)
        check_moments(counts.finite, moments)
        parts.append(FOUR_MOMENTS.pack(*moments))
    if width:
        packed = array(TYPECODES[width], cells)
        if byteorder == "big":
            packed.byteswap()
        parts.append(packed.tobytes())
    return b"".join(parts)
