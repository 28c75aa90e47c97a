"""Journal: one append-only file of records, each with a checksum, that survives being cut anywhere.

    record    "EJ", u8 type, 0, u32 length, the content, CRC-32 over all before

A program that is killed, or a device that loses power, leaves a torn record at the end: it is cut off at the next
start. A damaged one in the middle is skipped up to the next sound one. A write that fails (a full disk) is taken back,
so that what follows is never behind half a record. `rewrite` replaces the file by a shorter one, whole or not at all.
"""

from __future__ import annotations

import os
import struct
import zlib

from .records import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Sequence

MAGIC = b"EJ"
MAX_RECORD_BYTES = 32 << 20
_HEADER = struct.Struct("<2sBBI")
_CRC = struct.Struct("<I")
OVERHEAD_BYTES = _HEADER.size + _CRC.size


def record(kind: int, content: bytes) -> bytes:
    """One record as bytes."""
    head = _HEADER.pack(MAGIC, kind, 0, len(content)) + content
    return head + _CRC.pack(zlib.crc32(head))


def records_in(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """The sound records in `data`, and where the last one ends."""
    found: list[tuple[int, bytes]] = []
    at = end = 0
    while True:
        at = data.find(MAGIC, at)
        if at < 0 or len(data) - at < OVERHEAD_BYTES:
            return found, end
        _, kind, reserved, length = _HEADER.unpack_from(data, at)
        stop = at + OVERHEAD_BYTES + length
        if reserved or length > MAX_RECORD_BYTES or stop > len(data):
            at += 1
            continue
        body = data[at : stop - _CRC.size]
        if zlib.crc32(body) != _CRC.unpack_from(data, stop - _CRC.size)[0]:
            at += 1
            continue
        found.append((kind, body[_HEADER.size :]))
        at = end = stop


class Journal:
    """The file, open for appending. One process at a time; `directory` sees to that."""

    def __init__(self, path: str) -> None:
        """Opens or makes it.

        Raises:
            OSError: as the system says it.
        """
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        with open(self._fd, "rb", closefd=False) as file:
            data = file.read()
        self.records, self.size = records_in(data)
        """What was in it, for whoever opened it; and its length in bytes."""
        if self.size < len(data):
            os.ftruncate(self._fd, self.size)

    def append(self, records: Sequence[tuple[int, bytes]], *, sync: bool) -> None:
        """Adds records, all or none; with `sync` they are on the disk afterwards.

        Raises:
            OSError: they could not be written; the file is as it was.
        """
        data = b"".join([record(kind, content) for kind, content in records])
        try:
            write_all(self._fd, data, self.size)
            if sync:
                sync_data(self._fd)
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)

    def rewrite(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Replaces everything by these records.

        Raises:
            OSError: it was not done; the file is as it was.
        """
        data = b"".join([record(kind, content) for kind, content in records])
        temporary = self.path + ".tmp"
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            write_all(fd, data, 0)
            os.fsync(fd)
            os.replace(temporary, self.path)
        except OSError:
            os.close(fd)
            os.unlink(temporary)
            raise
        os.close(self._fd)
        self._fd, self.size = fd, len(data)
        sync_folder(os.path.dirname(self.path))

    def close(self) -> None:
        """Closes the file; it may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def write_all(fd: int, data: bytes, at: int) -> None:
    """Writes all of it at a place in the file: a full disk may take a part and only then complain.

    Raises:
        OSError: as the system says it.
    """
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, at)
        view = view[done:]
        at += done


def sync_data(fd: int) -> None:
    """The file's content is on the disk afterwards."""
    getattr(os, "fdatasync", os.fsync)(fd)


def sync_folder(folder: str) -> None:
    """The folder's names are on the disk afterwards."""
    fd = os.open(folder or ".", os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
