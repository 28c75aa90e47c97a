"""Plan: how files are put together on a device from what it has and what must be sent. Pure; it talks to nobody.

What must be sent, of all files, is one stream, the *pack*: many small files cost no round trips of their own, and a cut
leaves one prefix behind. Everything else is ranges of files that the device has: of stored artifacts, and of packs that
an earlier cut left. The device copies them with dd, tail and head, so neighbours are merged and short runs are sent.

A pack that begins with most of a file need not be copied: it becomes that file (the file's *base*), is cut to length,
and the rest is appended to it. So an upload of one large new file needs its size on the device once, not twice.
"""

from __future__ import annotations

import hashlib
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from edgekit.devices.chunk_list import STEPS, StoredFile, encode
from edgekit.devices.chunks import NAME_DIGITS, Chunk
from edgekit.devices.source import Range, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MIN_RUN_BYTES = 32 << 10
"""Shorter runs are sent: three processes on the device cost more."""
MIN_BASE_BYTES = 64 << 10
BLOCK_BYTES = 1 << 16
"""dd's, in `scripts`."""


class WantedFile(msgspec.Struct, frozen=True):
    """A file that the device shall have: where below the upload's folder, and what it is made of here.

    One that is not empty and has no chunks was not cut yet: nothing of it is looked for, all of it is sent.
    """

    path: str
    local: Path
    bytes: int
    sha256: str
    chunks: tuple[Chunk, ...] = ()


def sums(files: Iterable[WantedFile]) -> str:
    """What the `sums` of `scripts` tells on a device that has these files, in this order."""
    return hashlib.sha256("".join(f"{file.sha256}\n" for file in files).encode()).hexdigest()


class Copy(NamedTuple):
    """A range of a file on the device, whose path is below its root."""

    path: str
    offset: int
    bytes: int

    @property
    def words(self) -> tuple[str, str, str, str, str]:
        """What `copy` takes, in `scripts`: blocks to skip, first byte of what follows, blocks, bytes, path."""
        skip, trim = divmod(self.offset, BLOCK_BYTES)
        blocks = -(-(trim + self.bytes) // BLOCK_BYTES)
        return str(skip), str(trim + 1), str(blocks), str(self.bytes), self.path


class Assembly(msgspec.Struct, frozen=True):
    """A file as copies one after another; the first one is its `base` if that file may become it."""

    file: WantedFile
    copies: tuple[Copy, ...]
    has_base: bool = False


class Plan(msgspec.Struct, frozen=True):
    """What is sent, and how the files are put together then, in this order."""

    pack: Source
    pack_path: str
    pack_chunks: tuple[Chunk, ...]
    files: tuple[Assembly, ...]
    reused_bytes: int
    resumed_bytes: int
    is_tight: bool = False

    @property
    def needed_bytes(self) -> int:
        """How much room it takes on the device until it is published."""
        if self.is_tight:
            copied = [assembly.file.bytes for assembly in self.files if not assembly.has_base]
            return self.pack.total_bytes + max(copied, default=0)
        bases = sum(assembly.copies[0].bytes for assembly in self.files if assembly.has_base)
        return self.pack.total_bytes + sum(assembly.file.bytes for assembly in self.files) - bases

    @property
    def is_cut(self) -> bool:
        """Whether the chunks of the pack are known."""
        return bool(self.pack_chunks) or not self.pack.ranges

    @property
    def whole_first_bytes(self) -> int:
        """The size of the file that the pack begins with, if it becomes that file and needs nothing else; else 0."""
        last = self.files[-1] if self.files else None
        if last is None or not last.has_base or len(last.copies) > 1 or last.copies[0].path != self.pack_path:
            return 0
        return last.copies[0].bytes

    @property
    def used(self) -> set[str]:
        """Files of the device that it copies from, the pack too."""
        return {copy.path for assembly in self.files for copy in assembly.copies}

    def tightened(self) -> Plan:
        """The same with less room, for a plan that copies from its pack alone: what was copied is cut off the pack.

        The last file of the pack comes first. A cut while files are put together then loses those.
        """
        plain = [assembly for assembly in self.files if not assembly.has_base]
        based = [assembly for assembly in self.files if assembly.has_base]
        plain.sort(key=lambda assembly: -min((copy.offset for copy in assembly.copies), default=0))
        return msgspec.structs.replace(self, files=(*plain, *based), is_tight=True)

    def encode(self) -> bytes:
        """The plan file: the pack's chunks, which tell the next attempt what a cut one left; then the steps."""
        lines = []
        for assembly in self.files:
            copies = assembly.copies
            if assembly.has_base:
                lines.append(f"{copies[0].path} {copies[0].bytes} {len(copies) - 1} -")
                copies = copies[1:]
            else:
                left = copies[0].offset if self.is_tight and copies else "-"
                lines.append(f"- 0 {len(copies)} {left}")
            lines += [" ".join(copy.words) for copy in copies]
        return encode(self.pack_chunks) + STEPS + b"\n" + "".join(f"{line}\n" for line in lines).encode()


class _Run(NamedTuple):
    """Chunks `begin` to `end` of a file, all new (`path` empty) or one range of a file on the device."""

    path: str
    offset: int
    bytes: int
    begin: int
    end: int


def make_plan(files: Sequence[WantedFile], stored: Sequence[StoredFile], pack_path: str) -> Plan:
    """Finds what the device has of `files` in `stored`, earlier ones first; the rest goes into the pack."""
    places = _Places(stored)
    runs = {file.path: _runs(file, places) for file in files}
    order = sorted(files, key=lambda file: -_wholly_new_bytes(runs[file.path]))
    ranges: list[Range] = []
    chunks: list[Chunk] = []
    copies: dict[str, list[Copy]] = {}
    offset = 0
    for file in order:
        starts = [0, *accumulate(chunk.bytes for chunk in file.chunks)]
        copies[file.path] = []
        for run in runs[file.path]:
            if run.path:
                copies[file.path].append(Copy(run.path, run.offset, run.bytes))
                continue
            copies[file.path].append(Copy(pack_path, offset, run.bytes))
            ranges.append(Range(file.local, starts[run.begin], run.bytes))
            chunks += file.chunks[run.begin : run.end]
            offset += run.bytes
    partials = {file.path for file in stored if file.is_partial}
    taken = [copy for parts in copies.values() for copy in parts if copy.path != pack_path]
    return Plan(
        pack=Source(tuple(ranges)),
        pack_path=pack_path,
        pack_chunks=tuple(chunks),
        files=_with_bases(files, copies, {pack_path, *partials}),
        reused_bytes=sum(copy.bytes for copy in taken if copy.path not in partials),
        resumed_bytes=sum(copy.bytes for copy in taken if copy.path in partials),
    )


def _wholly_new_bytes(runs: list[_Run]) -> int:
    """The size of a file that is one run of new bytes and large enough to become the pack's base; else 0."""
    return runs[0].bytes if len(runs) == 1 and not runs[0].path and runs[0].bytes >= MIN_BASE_BYTES else 0


class _Places:
    """Where on the device chunks and whole files are."""

    def __init__(self, stored: Sequence[StoredFile]) -> None:
        self._stored = stored
        self._offsets = [[0, *accumulate(chunk.bytes for chunk in file.chunks)] for file in stored]
        self._chunks: dict[Chunk, tuple[int, int]] = {}
        self._whole: dict[Chunk, str] = {}
        for number, file in enumerate(stored):
            if file.whole is not None:
                self._whole.setdefault(file.whole, file.path)
            for position, chunk in enumerate(file.chunks):
                self._chunks.setdefault(chunk, (number, position))

    def whole(self, file: WantedFile) -> str | None:
        return self._whole.get(Chunk(file.bytes, file.sha256[:NAME_DIGITS]))

    def find(self, chunk: Chunk, after: tuple[int, int] | None) -> tuple[int, int] | None:
        """A place of the chunk: right behind the place of the one before it, if it is there too."""
        if after is not None:
            number, position = after
            behind = self._stored[number].chunks[position + 1 : position + 2]
            if behind == (chunk,):
                return number, position + 1
        return self._chunks.get(chunk)

    def locate(self, place: tuple[int, int]) -> tuple[str, int]:
        number, position = place
        return self._stored[number].path, self._offsets[number][position]


def _runs(file: WantedFile, places: _Places) -> list[_Run]:
    whole = places.whole(file)
    if whole is not None and file.bytes:
        return [_Run(whole, 0, file.bytes, 0, len(file.chunks))]
    if file.bytes and not file.chunks:
        return [_Run("", 0, file.bytes, 0, 0)]
    found: list[_Run] = []
    place = None
    for position, chunk in enumerate(file.chunks):
        place = places.find(chunk, place)
        path, offset = places.locate(place) if place is not None else ("", 0)
        _extend(found, _Run(path, offset, chunk.bytes, position, position + 1))
    runs: list[_Run] = []
    for run in found:
        is_short = run.bytes < MIN_RUN_BYTES and len(found) > 1
        _extend(runs, run._replace(path="", offset=0) if is_short else run)
    return runs


def _extend(runs: list[_Run], run: _Run) -> None:
    """Appends a run, or makes the last one longer by it."""
    if runs:
        last = runs[-1]
        if last.path == run.path and (not run.path or last.offset + last.bytes == run.offset):
            runs[-1] = last._replace(bytes=last.bytes + run.bytes, end=run.end)
            return
    runs.append(run)


def _with_bases(
    files: Sequence[WantedFile], copies: dict[str, list[Copy]], consumable: set[str]
) -> tuple[Assembly, ...]:
    """The files with their bases chosen, in an order in which no file is read after it became another one."""
    candidates = sorted(
        (file for file in files if copies[file.path] and _may_be_base(copies[file.path], consumable)),
        key=lambda file: -copies[file.path][0].bytes,
    )
    based: list[WantedFile] = []
    taken: set[str] = set()
    for file in candidates:
        base = copies[file.path][0].path
        read_later = any(copy.path == base for other in based for copy in copies[other.path])
        if base not in taken and not read_later:
            based.insert(0, file)
            taken.add(base)
    plain = [file for file in files if file not in based]
    return tuple(
        [Assembly(file, tuple(copies[file.path])) for file in plain]
        + [Assembly(file, tuple(copies[file.path]), has_base=True) for file in based]
    )


def _may_be_base(copies: list[Copy], consumable: set[str]) -> bool:
    first = copies[0]
    return (
        first.path in consumable
        and first.offset == 0
        and first.bytes >= MIN_BASE_BYTES
        and all(copy.path != first.path for copy in copies[1:])
    )
