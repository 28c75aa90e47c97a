"""Chunk lists as text, and what a device's answer says it has: files, and which chunks they are made of.

A device's answer is a hint from a stranger. Its size is bounded where it is read, every line is matched as a whole, and
no path in it is used: an artifact's files are those of its manifest, whose sha256 is the artifact's id, and a cut
upload is named by 16 hexadecimal digits. What does not fit together is left out, which costs bytes and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec

from edgekit.artifact import MANIFEST, FileEntry, read_manifest
from edgekit.devices.chunks import MAX_BYTES, NAME_DIGITS, Chunk
from edgekit.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HEADER = b"edgekit chunks 1"
STEPS = b"steps"
"""The line that ends a chunk list in a cut upload's plan."""
LIST = b"list\n"
"""The line after a plan, where a chunk list to keep beside the files follows."""
MAX_CHUNKS = 400_000
_LINE = re.compile(rb"([1-9][0-9]{0,5}) ([0-9a-f]{%d})" % NAME_DIGITS)
_ARTIFACT = re.compile(rb"artifact ([0-9a-f]{64})")
_PARTIAL = re.compile(rb"partial ([0-9a-f]{16}) +([0-9]{1,15})")
_READY = re.compile(rb"ready ([0-9a-f]{16}) ([a-z]+/[0-9a-zA-Z.]+)")
_FREE = re.compile(rb"free ([0-9]{1,15})")


class StoredFile(msgspec.Struct, frozen=True):
    """A file on the device. `path` is below its root; `chunks` may be unknown and then empty.

    `whole` is the size and sha256 of all of it, where a manifest tells; `is_partial`: a cut upload, ours to consume.
    """

    path: str
    chunks: tuple[Chunk, ...]
    whole: Chunk | None = None
    is_partial: bool = False


class Survey(msgspec.Struct, frozen=True):
    """What a device has that an upload could use. `ready` names uploads that were put together and never published."""

    free_bytes: int | None
    can_unpack: bool
    ready: dict[str, str]
    artifacts: tuple[StoredFile, ...]
    partials: tuple[StoredFile, ...]


def encode(chunks: Iterable[Chunk]) -> bytes:
    """A chunk list as text: a header, and a line a chunk."""
    return b"".join([HEADER, b"\n", *(b"%d %s\n" % (chunk.bytes, chunk.name.encode()) for chunk in chunks)])


def decode(lines: Sequence[bytes]) -> tuple[Chunk, ...] | None:
    """The chunks of a list; None if it is none. A last line that was cut off is left out."""
    if not lines or lines[0] != HEADER or len(lines) > MAX_CHUNKS:
        return None
    chunks = []
    for line in lines[1:]:
        match = _LINE.fullmatch(line)
        if match is None or int(match[1]) > MAX_BYTES:
            return None
        chunks.append(Chunk(int(match[1]), match[2].decode()))
    return tuple(chunks)


def partial_path(nonce: str) -> str:
    """Where an upload's bytes lie, below the root."""
    return f"tmp/{nonce}/pack"


def read_survey(answer: bytes) -> Survey:
    """Reads the answer of `scripts.SURVEY`; anything that it should not say is left out."""
    free_bytes, can_unpack = None, False
    ready: dict[str, str] = {}
    artifacts: list[StoredFile] = []
    partials: list[StoredFile] = []
    for header, lines in _sections(answer):
        if match := _FREE.fullmatch(header):
            free_bytes = int(match[1]) * 1024
        elif header == b"unpacks":
            can_unpack = True
        elif match := _READY.fullmatch(header):
            ready[match[1].decode()] = match[2].decode()
        elif match := _PARTIAL.fullmatch(header):
            chunks = decode(lines) or ()
            arrived = sum(end <= int(match[2]) for end in accumulate(chunk.bytes for chunk in chunks))
            partials.append(StoredFile(partial_path(match[1].decode()), chunks[:arrived], is_partial=True))
        elif match := _ARTIFACT.fullmatch(header):
            artifacts += _files_of(match[1].decode(), lines)
    return Survey(free_bytes, can_unpack, ready, tuple(artifacts), tuple(partials))


def _sections(answer: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """Each `= HEADER` line, with the lines up to the next one."""
    header = b""
    lines: list[bytes] = []
    for line in answer.replace(b"\r", b"").split(b"\n"):
        if line.startswith(b"= "):
            yield header, lines
            header, lines = line[2:], []
        elif line:
            lines.append(line)
    yield header, lines


def _files_of(artifact_id: str, lines: list[bytes]) -> list[StoredFile]:
    """An artifact's files with their chunks, if its manifest is the one that its id names."""
    if not lines or hashlib.sha256(lines[0] + b"\n").hexdigest() != artifact_id:
        return []
    try:
        entries = read_manifest(lines[0], where="the device's manifest").files
    except ArtifactError:
        return []
    manifest = FileEntry(MANIFEST, len(lines[0]) + 1, artifact_id)
    lists = _split(decode(lines[1:]) or (), [entry.bytes for entry in entries]) or [()] * len(entries)
    return [
        StoredFile(f"store/{artifact_id}/{entry.path}", chunks, whole=Chunk(entry.bytes, entry.sha256[:NAME_DIGITS]))
        for entry, chunks in zip([manifest, *entries], [(), *lists], strict=True)
        if entry.path.isprintable() and entry.path == entry.path.strip()  # it becomes part of a line of a plan
    ]


def _split(chunks: tuple[Chunk, ...], sizes: list[int]) -> list[tuple[Chunk, ...]] | None:
    """A list over files one after another, as one list a file; None if it does not fit their sizes."""
    lists, position = [], 0
    for size in sizes:
        begin, left = position, size
        while left > 0 and position < len(chunks):
            left -= chunks[position].bytes
            position += 1
        if left:
            return None
        lists.append(chunks[begin:position])
    return lists if position == len(chunks) else None
