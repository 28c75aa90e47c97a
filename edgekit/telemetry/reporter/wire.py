"""Windows as bytes: what the journal keeps and what the collector gets. docs/formats/telemetry-wire.md is the contract.

    frame      one window: a header, the window, a CRC-32. Frames follow each other in a body and in the journal
    body       frames one after another

All integers are little-endian; a varint has 7 bits a byte, low ones first. Counts have the width that the largest of
the feature needs, 1, 2, 4 or 8 bytes: then a reader adds up columns without parsing, and gzip finds the rest.
Everything is checked before anything is allocated for it, and whatever is wrong raises `WireError` and nothing else.
`envelope` signs bodies for the way to the collector.
"""

from __future__ import annotations

import struct
import zlib

from .errors import WireError
from .records import TYPE_CHECKING
from .wire_layout import MAX_COUNT, MAX_LABELS, MAX_TEXT_BYTES, MOMENTS
from .wire_reading import window_in
from .wire_writing import bytes_of

if TYPE_CHECKING:
    from typing import Iterable

    from .window import Window

__all__ = [
    "FRAME_OVERHEAD_BYTES", "MAX_COUNT", "MAX_LABELS", "MAX_TEXT_BYTES", "MAX_WINDOW_BYTES", "MOMENTS", "decode",
    "decode_body", "encode", "encode_body", "frame_end", "frames",
]  # fmt: skip
MAGIC = b"EW"
VERSION = 1
MAX_WINDOW_BYTES = 16 << 20

_HEADER = struct.Struct("<2sBBI")  # magic, version, 0, length of the window's bytes
_CRC = struct.Struct("<I")
FRAME_OVERHEAD_BYTES = _HEADER.size + _CRC.size


def encode(window: Window) -> bytes:
    """One frame.

    Raises:
        WireError: the window does not fit the format (too many features, a count below zero, a text too long).
    """
    try:
        payload = bytes_of(window)
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
    return window_in(frame, _HEADER.size, end - _CRC.size)


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
    return [window_in(body, start + _HEADER.size, end - _CRC.size) for start, end in frames(body)]


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
