"""Reading a window: everything is checked before anything is allocated for it. `wire` has the frames around it."""

from __future__ import annotations

import math
import struct
from array import array
from sys import byteorder

from .errors import WireError
from .reference import LATENCY, MAX_CELLS, MAX_FEATURES
from .window import FeatureCounts, Window
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


def window_in(data: bytes, at: int, end: int) -> Window:
    """The window in these bytes of a frame.

    Raises:
        WireError: there is none, or it contradicts itself.
    """
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
    (seq,) = reader.unpack(SEQ)
    model = reader.text(MAX_MODEL_BYTES)
    artifact = reader.digest(32)
    reference = reader.digest(32)
    start_ns, end_ns, span_ns, flags = reader.unpack(TIMES)
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
        moments = FOUR_MOMENTS.unpack(reader.take(FOUR_MOMENTS.size))
    if width:
        packed = array(TYPECODES[width], reader.take(size * width))
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
        check_moments(counts.finite, moments)
    return counts
