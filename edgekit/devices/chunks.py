"""Chunks: a file cut where its content says so, so that a change moves the cuts near it and no others.

The 8 bytes before a position decide: as one number, times a constant, modulo 2^64. Where that is small the file is cut.
Between 8 and 32 KiB into a chunk it must be very small, from there on less so, and 128 KiB is the end ("normalised
chunking": Xia et al., FastCDC, USENIX ATC 2016); chunks have 37 KiB on average. FastCDC's own hash is computed byte by
byte; this one is one multiplication of a whole array, which is what makes it fast in numpy (a gear hash of 32 bytes by
doubling took twice the time). The constants are part of the format (docs/formats/device-store.md): chunks cut by other
ones would not be found again.

A chunk's name is the first half of its sha256. Nothing is trusted to it: what is put together from chunks is believed
when the sha256 of the whole was computed on the device.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

MIN_BYTES = 8 << 10
NORMAL_BYTES = 32 << 10
MAX_BYTES = 128 << 10
NAME_DIGITS = 32
_WINDOW = 8
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(0x5851F42D4C957F2D)
"""Taken off the product, so that a run of equal bytes is not cut at each of them: no product of one comes near."""
_STRICT = np.uint64(2**64 >> 17)
"""Cut before NORMAL_BYTES: once in 128 KiB."""
_LOOSE = np.uint64(2**64 >> 13)
"""Cut after NORMAL_BYTES: once in 8 KiB."""
_BLOCK_BYTES = 1 << 16
"""Hashed at once: what is computed on the way stays in the processor's cache."""
_TASK_BYTES = 8 << 20


class Chunk(NamedTuple):
    """`bytes` bytes whose sha256 begins with `name`."""

    bytes: int
    name: str


def chunks_of(path: Path) -> tuple[Chunk, ...]:
    """The chunks of a file, from its first byte to its last; an empty file has none.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size == 0:
        return ()
    content = np.memmap(path, np.uint8, "r", shape=(size,))
    if size <= _TASK_BYTES:
        ends = list(_ends(*_candidates(content, 0, size), size))
        return tuple(map(lambda begin, end: _chunk(content[begin:end]), [0, *ends[:-1]], ends))
    with ThreadPoolExecutor(2) as pool:
        offsets = range(0, size, _TASK_BYTES)
        found = list(pool.map(lambda offset: _candidates(content, offset, min(size, offset + _TASK_BYTES)), offsets))
        loose = _joined([positions for positions, _ in found])
        strict = _joined([positions for _, positions in found])
        ends = list(_ends(loose, strict, size))
        return tuple(pool.map(lambda begin, end: _chunk(content[begin:end]), [0, *ends[:-1]], ends, chunksize=64))


def _chunk(content: npt.NDArray[np.uint8]) -> Chunk:
    return Chunk(len(content), hashlib.sha256(content.data).hexdigest()[:NAME_DIGITS])


def _candidates(
    content: npt.NDArray[np.uint8], begin: int, end: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the file may be cut, between two positions: by the loose rule, and by the strict one."""
    loose, strict = [], []
    kept, is_below = np.empty(_BLOCK_BYTES, np.uint64), np.empty(_BLOCK_BYTES, np.bool_)
    for start in range(begin, end, _BLOCK_BYTES):
        first = max(0, start - _WINDOW + 1)
        window = content[first : min(end, start + _BLOCK_BYTES)]
        count = len(window) - _WINDOW + 1
        if count < 1:
            continue
        words = np.ndarray((count,), "<u8", buffer=window, strides=(1,))
        hashes = np.multiply(words, _FACTOR, out=kept[:count])
        hashes -= _SHIFT
        below = np.flatnonzero(np.less(hashes, _LOOSE, out=is_below[:count]))
        loose.append(below + (first + _WINDOW))
        strict.append(below[hashes[below] < _STRICT] + (first + _WINDOW))
    return _joined(loose), _joined(strict)


def _joined(positions: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate(positions) if positions else np.zeros(0, np.int64)


def _ends(loose: npt.NDArray[np.int64], strict: npt.NDArray[np.int64], size: int) -> Iterator[int]:
    """Where the chunks end."""
    begin = 0
    while size - begin > MIN_BYTES:
        end = min(size, begin + MAX_BYTES)
        normal = begin + NORMAL_BYTES
        at = int(np.searchsorted(strict, begin + MIN_BYTES))
        if at < len(strict) and strict[at] <= normal:
            end = min(end, int(strict[at]))
        else:
            at = int(np.searchsorted(loose, normal))
            if at < len(loose):
                end = min(end, int(loose[at]))
        yield end
        begin = end
    if begin < size:
        yield size
