"""Brings one artifact of a release into the store: what others there share with it is copied, the rest downloaded.

A file is taken from the store if an artifact there has it; else it is put together from the chunks that artifacts there
share with it (docs/formats/device-store.md) and ranges of the repository's copy; else downloaded whole, going on where
a cut download ended. Whatever way it came, it counts only if its sha256 is the manifest's.

    ROOT/releases/partial/MODEL/ID/SHA256    a file as far as it was downloaded
    ROOT/releases/partial/MODEL/ID/new/      the artifact, as far as it is put together
    ROOT/releases/partial/MODEL/fetching     locked by the one program at a time that fetches this model

What lies there of other artifacts of the model is of a release that is no longer wanted, and goes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from typing import TYPE_CHECKING, List, NamedTuple, Tuple

from . import web, whole
from .exclusive import exclusive
from .links import StoreError, flush

if TYPE_CHECKING:
    from typing import BinaryIO, Dict

    from .trust import Released, Repository

HEADER = b"edgekit chunks 1"
_LINE = re.compile(rb"([1-9][0-9]{0,5}) ([0-9a-f]{32})\Z")
_MOST_CHUNK_BYTES = 131072
_MOST_LIST_BYTES = 16 << 20
_WAIT_S = 900.0
"""For another download of the same model; a cut one goes on where it was."""
_GAP = 16384
"""Two missing ranges closer than this are one: a request costs a round trip."""
_WORTH_IT = 0.8
"""A file of which more than this share is missing is downloaded whole."""


class Fetched(NamedTuple):
    """What a fetch cost. `there`: the store had it, whole."""

    downloaded_bytes: int
    reused_bytes: int
    there: bool


class _Chunk(NamedTuple):
    length: int
    name: str


class _Place(NamedTuple):
    path: str
    offset: int


def partial_folder(root: str, model: str) -> str:
    """Where what was downloaded of a model waits to be whole."""
    return os.path.join(root, "releases", "partial", model)


def fetch(root: str, repository: Repository, released: Released, model: str) -> Fetched:
    """Makes sure that the store has an artifact of a model, whole. Waits for another program that fetches that model.

    Raises:
        StoreError: a file is not what it should be, or cannot be downloaded, or another download does not end; nothing
            appeared in the store.
        OSError: the disk is full or read-only.
    """
    partial = partial_folder(root, model)
    with exclusive(os.path.join(partial, "fetching"), _WAIT_S, "another download of %s" % model):
        if whole.is_whole(root, released.artifact_id):
            return Fetched(0, 0, True)
        _remove_others(partial, released.artifact_id)
        return _fetch(root, repository, released, os.path.join(partial, released.artifact_id))


def _fetch(root: str, repository: Repository, released: Released, scratch: str) -> Fetched:
    made = os.path.join(scratch, "new")
    shutil.rmtree(made, ignore_errors=True)
    os.makedirs(made)
    manifest = web.whole(repository.object_url(released.artifact_id), released.manifest_bytes)
    if hashlib.sha256(manifest).hexdigest() != released.artifact_id:
        raise StoreError("the manifest of %s in %s is another." % (released.title, repository.url))
    _write(os.path.join(made, "manifest.json"), manifest)
    files = json.loads(manifest)["files"]
    chunks = _chunk_list(repository, released, len(files))
    have, known = _inventory(root)
    job = _Job(repository, scratch, have, known)
    position = 0
    for entry in files:
        path = _inside(made, entry["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        its, position = _chunks_of_file(chunks, position, entry["bytes"])
        job.make(path, entry["sha256"], entry["bytes"], its)
    if chunks:
        _write(os.path.join(made, "chunks"), _encode(chunks))
    _publish(root, made, released.artifact_id)
    shutil.rmtree(scratch, ignore_errors=True)  # with the damaged one, if that made room
    return Fetched(job.downloaded + len(manifest), job.reused, False)


def _remove_others(partial: str, artifact_id: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(partial):
            if entry.is_dir(follow_symlinks=False) and entry.name != artifact_id:
                shutil.rmtree(entry.path, ignore_errors=True)


class _Job:
    """Makes files from what is there and what is not."""

    def __init__(self, repository: Repository, scratch: str, have: Dict[str, str], known: Dict[_Chunk, _Place]) -> None:
        self._repository = repository
        self._scratch = scratch
        self._have = have
        self._known = known
        self.downloaded = 0
        self.reused = 0

    def make(self, path: str, sha256: str, size: int, chunks: List[_Chunk]) -> None:
        if sha256 in self._have:
            shutil.copyfile(self._have[sha256], path)
            if whole.sha256(path) == sha256:
                self.reused += size
                return
        if chunks and self._from_chunks(path, sha256, size, chunks):
            return
        self._whole(path, sha256, size)

    def _whole(self, path: str, sha256: str, size: int) -> None:
        """Downloads a file, going on after what an earlier attempt left."""
        part = os.path.join(self._scratch, sha256)
        for attempt in (1, 2):
            begin = os.path.getsize(part) if os.path.exists(part) else 0
            if begin < size or size == 0:
                got = web.read(self._repository.object_url(sha256), size, begin)
                with open(part, "r+b" if os.path.exists(part) else "wb") as file:
                    file.truncate(got.offset)
                    file.seek(got.offset)
                    for piece in got.pieces:
                        file.write(piece)
                        self.downloaded += len(piece)
                    file.flush()
                    os.fsync(file.fileno())
                if os.path.getsize(part) < size:
                    raise web.DownloadError("the download of %s ended too early; the next goes on there." % sha256[:12])
            if whole.sha256(part) == sha256:
                os.replace(part, path)
                return
            os.unlink(part)
            if begin == 0 or attempt == 2:
                break
        raise StoreError("the file %s of %s is not what its name says." % (sha256[:12], self._repository.url))

    def _from_chunks(self, path: str, sha256: str, size: int, chunks: List[_Chunk]) -> bool:
        """Puts a file together from known chunks and downloaded ranges. False: not worth it, or it went wrong."""
        missing, begin = [], 0  # type: Tuple[List[Tuple[int, int]], int]
        for chunk in chunks:
            if chunk not in self._known:
                if missing and begin - missing[-1][1] <= _GAP:
                    missing[-1] = (missing[-1][0], begin + chunk.length)
                else:
                    missing.append((begin, begin + chunk.length))
            begin += chunk.length
        if sum(end - start for start, end in missing) > _WORTH_IT * size:
            return False
        got = reused = 0
        with open(path, "wb") as file:
            begin = 0
            for chunk in chunks:
                place = self._known.get(chunk)
                if place is not None:
                    file.seek(begin)
                    reused += _copy(place, chunk.length, file)
                begin += chunk.length
            for start, end in missing:
                part = web.read(self._repository.object_url(sha256), size, start, end - start)
                if part.offset != start:
                    return False  # a server that knows no ranges
                file.seek(start)
                for piece in part.pieces:
                    file.write(piece)
                    got += len(piece)
            file.truncate(size)
            file.flush()
            os.fsync(file.fileno())
        self.downloaded += got
        if whole.sha256(path) != sha256:
            return False
        self.reused += reused
        return True


def _inventory(root: str) -> Tuple[Dict[str, str], Dict[_Chunk, _Place]]:
    """What the store has: files by sha256, and chunks by name. Hints: every use of them is checked."""
    have = {}  # type: Dict[str, str]
    known = {}  # type: Dict[_Chunk, _Place]
    store = os.path.join(root, "store")
    for artifact_id in os.listdir(store) if os.path.isdir(store) else []:
        manifest = whole.manifest(root, artifact_id)
        if manifest is None:
            continue
        folder = os.path.join(store, artifact_id)
        chunks, position = _read_list(os.path.join(folder, "chunks")), 0
        for entry in manifest["files"]:
            path = os.path.join(folder, *entry["path"].split("/"))
            have[entry["sha256"]] = path
            its, position = _chunks_of_file(chunks, position, entry["bytes"])
            offset = 0
            for chunk in its:
                known.setdefault(chunk, _Place(path, offset))
                offset += chunk.length
    return have, known


def _chunk_list(repository: Repository, released: Released, files: int) -> List[_Chunk]:
    """The released artifact's own chunk list; empty where it has none, or a broken one: it is a hint only."""
    if released.chunks is None or not files:
        return []
    try:
        content = web.whole(repository.object_url(released.chunks), _MOST_LIST_BYTES)
    except web.DownloadError:
        return []
    return _parse(content) if hashlib.sha256(content).hexdigest() == released.chunks else []


def _read_list(path: str) -> List[_Chunk]:
    try:
        with open(path, "rb") as file:
            return _parse(file.read(_MOST_LIST_BYTES))
    except OSError:
        return []


def _parse(content: bytes) -> List[_Chunk]:
    lines = content.split(b"\n")
    if lines[0] != HEADER:
        return []
    found = [_LINE.match(line) for line in lines[1:] if line]
    chunks = [_Chunk(int(line.group(1)), line.group(2).decode("ascii")) for line in found if line]
    return chunks if len(chunks) == len(found) and all(c.length <= _MOST_CHUNK_BYTES for c in chunks) else []


def _encode(chunks: List[_Chunk]) -> bytes:
    return HEADER + b"\n" + b"".join(b"%d %s\n" % (chunk.length, chunk.name.encode("ascii")) for chunk in chunks)


def _chunks_of_file(chunks: List[_Chunk], position: int, size: int) -> Tuple[List[_Chunk], int]:
    """The chunks of the next file, of `size` bytes, and where the one after it begins; none if they do not fit."""
    end, length = position, 0
    while length < size and end < len(chunks):
        length += chunks[end].length
        end += 1
    return (chunks[position:end], end) if length == size else ([], len(chunks))


def _copy(place: _Place, length: int, file: BinaryIO) -> int:
    """Copies a chunk of the store. A file that shrank gives zeros, which the sha256 of the whole reveals."""
    try:
        with open(place.path, "rb") as source:
            source.seek(place.offset)
            file.write(source.read(length))
    except OSError:
        return 0
    return length


def _publish(root: str, made: str, artifact_id: str) -> None:
    for folder, _, names in os.walk(made):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o444)
            flush(os.path.join(folder, name))
        flush(folder)
    store = os.path.join(root, "store")
    os.makedirs(store, exist_ok=True)
    final = os.path.join(store, artifact_id)
    damaged = made + ".damaged"
    if os.path.exists(final):
        os.rename(final, damaged)
    os.rename(made, final)
    flush(store)


def _inside(folder: str, path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise StoreError("a manifest names the file %r, which would lie outside of its artifact." % path)
    return os.path.join(folder, *parts)


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
