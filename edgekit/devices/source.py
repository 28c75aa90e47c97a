"""Source: the bytes of an upload, as ranges of files on this machine, one after another. They are read when sent.

An upload is rarely one whole file: it begins after what a cut one had brought, or is made of the changed parts of
several files. A transport reads a source block by block; one whose client only takes the name of a file asks
`whole_file`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Range(msgspec.Struct, frozen=True):
    """`bytes` bytes of a file, from `offset` on."""

    path: Path
    offset: int
    bytes: int


class Source(msgspec.Struct, frozen=True):
    """Ranges in the order in which they are sent."""

    ranges: tuple[Range, ...]

    @property
    def total_bytes(self) -> int:
        """How many bytes it has."""
        return sum(range_.bytes for range_ in self.ranges)

    @property
    def whole_file(self) -> Path | None:
        """The file that this is from its first byte to its last, if it is just that."""
        if len(self.ranges) != 1 or self.ranges[0].offset:
            return None
        return self.ranges[0].path if self.ranges[0].path.stat().st_size == self.ranges[0].bytes else None

    def part(self, offset: int, length: int | None = None) -> Source:
        """`length` bytes of it from `offset` on (to its end by default)."""
        left = self.total_bytes - offset if length is None else length
        if offset < 0 or left < 0 or offset + left > self.total_bytes:
            raise ValueError(f"no such part of {self.total_bytes} bytes: {offset}, {length}")
        parts = []
        for whole in self.ranges:
            if offset >= whole.bytes:
                offset -= whole.bytes
            elif left:
                taken = min(left, whole.bytes - offset)
                parts.append(Range(whole.path, whole.offset + offset, taken))
                left -= taken
                offset = 0
        return Source(tuple(parts))

    def blocks(self, block_bytes: int) -> Iterator[bytes]:
        """All of it in blocks; one is shorter than `block_bytes` only at the end.

        Raises:
            OSError: a file cannot be read, or became shorter meanwhile.
        """
        kept = b""
        for range_ in self.ranges:
            left = range_.bytes
            with range_.path.open("rb") as file:
                file.seek(range_.offset)
                while left:
                    data = file.read(min(left, block_bytes - len(kept)))
                    if not data:
                        raise OSError(f"{range_.path} became shorter while it was read")
                    left -= len(data)
                    kept = kept + data if kept else data
                    if len(kept) == block_bytes:
                        yield kept
                        kept = b""
        if kept:
            yield kept


def whole(path: Path) -> Source:
    """All of a file.

    Raises:
        OSError: it cannot be found.
    """
    return Source((Range(path, 0, path.stat().st_size),))
