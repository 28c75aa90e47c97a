"""Windows as bytes: what the journal keeps and what the collector gets. docs/formats/telemetry-wire.md is the contract.

    frame      one window: a header, the window, a CRC-32. Frames follow each other in a body and in the journal
    body       frames one after another

All integers are little-endian; a varint has 7 bits a byte, low ones first. Counts have the width that the largest of
the feature needs, 1, 2, 4 or 8 bytes: then a reader adds up columns without parsing, and gzip finds the rest.
Everything is checked before anything is allocated for it, and whatever is wrong raises `WireError` and nothing else.
`envelope` signs bodies for the way to the collector.
"""

from __future__ import annotations

import math
import struct
import zlib
from array import array
from sys import byteorder

from .errors import WireError
from .records import TYPE_CHECKING
from .reference import LATENCY, MAX_CELLS, MAX_FEATURES
from .window import FeatureCounts, Window

if TYPE_CHECKING:
    from typing import Iterable

MAGIC = b"EW"
VERSION = 1
MAX_WINDOW_BYTES = 16 << 20
MAX_LABELS = 16
MAX_TEXT_BYTES = 64
MAX_MODEL_BYTES = 128
MAX_COUNT = (1 << 63) - 1

_HEADER = struct.Struct("<2sBBI")  # magic, version, 0, length of the window's bytes
_CRC = struct.Struct("<I")
_TIMES = struct.Struct("<qqQB")
_MOMENTS = struct.Struct("<dddd")
_SEQ = struct.Struct("<Q")
FRAME_OVERHEAD_BYTES = _HEADER.size + _CRC.size

SYNCED_KNOWN, SYNCED, BOOTSTRAPPED = 1, 2, 4
MOMENTS = 0x80
_TYPECODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def encode(window: Window) -> bytes:
    """One frame.

    Raises:
        WireError: the window does not fit the format (too many features, a count below zero, a text too long).
    """
    try:
        payload = _encode(window)
    except (struct.error, ValueError, OverflowError, TypeError, AttributeError) as error:
        raise WireError("this window cannot be written: %s" % error) from error
    if len(payload) > MAX_WINDOW_BYTES:
        raise WireError("a window of %d bytes; %d are possible" % (len(payload), MAX_WINDOW_BYTES))
    head = _HEADER.pack(MAGIC, VERSION, 0, len(payload)) + payload
    return head + _CRC.pack(zlib.crc32(head))


def decode(frame: bytes) -> Window:
    """The window of exactly one frame.

    Raises:
        WireError: it is not one whole frame of this version.
    """
    end = frame_end(frame, 0)
    if end != len(frame):
        raise WireError("%d bytes after the frame" % (len(frame) - end))
    return _decode(frame, _HEADER.size, end - _CRC.size)


def encode_body(windows: Iterable[Window]) -> bytes:
    """Several windows, one frame after another.

    Raises:
        WireError: as `encode`.
    """
    return b"".join([encode(window) for window in windows])


def decode_body(body: bytes) -> list[Window]:
    """All windows of a body, which may be none.

    Raises:
        WireError: anything in it is wrong; nothing of it is to be believed then.
    """
    return [_decode(body, start + _HEADER.size, end - _CRC.size) for start, end in frames(body)]


def frames(body: bytes) -> list[tuple[int, int]]:
    """(start, end) of every frame, each with a good checksum.

    Raises:
        WireError: one is broken.
    """
    found = []
    at = 0
    while at < len(body):
        end = frame_end(body, at)
        found.append((at, end))
        at = end
    return found


def frame_end(data: bytes, at: int) -> int:
    """Where the frame that begins at `at` ends, its checksum verified.

    Raises:
        WireError: there is no whole and sound frame.
    """
    if len(data) - at < FRAME_OVERHEAD_BYTES:
        raise WireError("%d bytes are too few for a frame" % (len(data) - at))
    magic, version, reserved, length = _HEADER.unpack_from(data, at)
    if magic != MAGIC:
        raise WireError("a frame begins with %r, not %r" % (MAGIC, bytes(magic)))
    if version != VERSION or reserved:
        raise WireError("a frame of version %d.%d; this reader knows %d.0" % (version, reserved, VERSION))
    end: int = at + _HEADER.size + length + _CRC.size
    if length > MAX_WINDOW_BYTES or end > len(data):
        raise WireError("a frame of %d bytes in a body that has %d more" % (length, len(data) - at))
    if zlib.crc32(memoryview(data)[at : end - _CRC.size]) != _CRC.unpack_from(data, end - _CRC.size)[0]:
        raise WireError("a frame's checksum is wrong")
    return end


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


def _encode(window: Window) -> bytes:
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
        _SEQ.pack(window.seq),
        _text(window.model, MAX_MODEL_BYTES),
        _digest(window.artifact, 32, empty=True),
        _digest(window.reference, 32),
        _TIMES.pack(window.start_ns, window.end_ns, window.span_ns, flags),
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
        _check_moments(counts.finite, moments)
        parts.append(_MOMENTS.pack(*moments))
    if width:
        packed = array(_TYPECODES[width], cells)
        if byteorder == "big":
            packed.byteswap()
        parts.append(packed.tobytes())
    return b"".join(parts)


def _check_moments(finite: int, moments: tuple[float, float, float, float]) -> None:
    low, high, mean, m2 = moments
    if finite < 1 or not (math.isfinite(low) and math.isfinite(high) and math.isfinite(mean)):
        raise ValueError("moments of %d finite values: min %r, max %r, mean %r" % (finite, low, high, mean))
    if not low <= high or not m2 >= 0:
        raise ValueError("min %r above max %r, or m2 %r below zero" % (low, high, m2))


class _Reader:
    """Takes bytes from the front of a window and never past its end."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def take(self, size: int) -> bytes:
        at = self.at
        if size > self.end - at:
            raise WireError("the window ends within a field")
        self.at = at + size
        return self.data[at : self.at]

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))

    def varint(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 56:
                raise WireError("a count of more than 63 bits")
        if shift and not byte:
            raise WireError("a count that is not written in its shortest form")
        return value

    def text(self, limit: int = MAX_TEXT_BYTES, least: int = 1) -> str:
        (size,) = self.take(1)
        if not least <= size <= limit:
            raise WireError("a text of %d bytes; %d to %d are possible" % (size, least, limit))
        text = self.take(size).decode("utf-8")
        if not text.isprintable():
            raise WireError("a text that cannot be printed")
        return text

    def digest(self, size: int) -> str:
        return self.take(size).hex()


_ONE = struct.Struct("<H")
_COUNTS_HEAD = struct.Struct("<BH")


def _decode(data: bytes, at: int, end: int) -> Window:
    reader = _Reader(data, at, end)
    try:
        window = _window(reader)
    except (ValueError, struct.error, OverflowError) as error:
        if isinstance(error, WireError):
            raise
        raise WireError("a window that contradicts itself: %s" % error) from error
    if reader.at != end:
        raise WireError("%d bytes after the window's last field" % (end - reader.at))
    return window


def _window(reader: _Reader) -> Window:
    device = reader.text()
    boot = reader.digest(16)
    (seq,) = reader.unpack(_SEQ)
    model = reader.text(MAX_MODEL_BYTES)
    artifact = reader.digest(32)
    reference = reader.digest(32)
    start_ns, end_ns, span_ns, flags = reader.unpack(_TIMES)
    if seq > MAX_COUNT or span_ns > MAX_COUNT:
        raise WireError("a seq or span of more than 63 bits")
    if flags & ~(SYNCED_KNOWN | SYNCED | BOOTSTRAPPED) or flags & (SYNCED_KNOWN | SYNCED) == SYNCED:
        raise WireError("unknown flags %#x" % flags)
    (count,) = reader.take(1)
    if count > MAX_LABELS:
        raise WireError("%d labels; %d are possible" % (count, MAX_LABELS))
    labels = tuple([(reader.text(), reader.text(least=0)) for _ in range(count)])
    if any(a[0] >= b[0] for a, b in zip(labels, labels[1:])):
        raise WireError("labels that are not in order")
    inferences, errors, dropped, coalesced = (reader.varint() for _ in range(4))
    latency = _counts(reader)
    if len(latency.cells) != LATENCY.size:
        raise WireError("latencies in %d cells, not %d" % (len(latency.cells), LATENCY.size))
    (features,) = reader.unpack(_ONE)
    if features > MAX_FEATURES:
        raise WireError("%d features; %d are possible" % (features, MAX_FEATURES))
    return Window(
        device,
        boot,
        seq,
        model,
        "" if artifact == "0" * 64 else artifact,
        reference,
        start_ns,
        end_ns,
        span_ns,
        bool(flags & SYNCED) if flags & SYNCED_KNOWN else None,
        bool(flags & BOOTSTRAPPED),
        labels,
        inferences,
        errors,
        dropped,
        coalesced,
        latency,
        tuple([_counts(reader) for _ in range(features)]),
    )


def _counts(reader: _Reader) -> FeatureCounts:
    head, size = reader.unpack(_COUNTS_HEAD)
    width = head & ~MOMENTS
    if width not in (0, 1, 2, 4, 8) or not 1 <= size <= MAX_CELLS:
        raise WireError("%d cells of %d bytes" % (size, width))
    missing, positive, negative, outside = (reader.varint() for _ in range(4))
    moments = (math.inf, -math.inf, 0.0, 0.0)
    if head & MOMENTS:
        moments = _MOMENTS.unpack(reader.take(_MOMENTS.size))
    if width:
        packed = array(_TYPECODES[width], reader.take(size * width))
        if byteorder == "big":
            packed.byteswap()
        cells = tuple(packed)
    else:
        cells = (0,) * size
    n = sum(cells)
    if n > MAX_COUNT or positive + negative > n or outside > n:
        raise WireError("more values are infinite or out of range than there are")
    counts = FeatureCounts(cells, missing, positive, negative, outside, *moments)
    if head & MOMENTS:
        _check_moments(counts.finite, moments)
    return counts
