"""Cutting: the files of an upload into chunks, when that is needed: before they are sent, or meanwhile."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from edgekit.artifact import MANIFEST
from edgekit.devices import chunk_list
from edgekit.devices.chunks import chunks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.devices.plan import WantedFile

CHUNKS = "chunks"
"""The chunk list's name in an artifact's folder on the device; it is not part of the artifact."""


class Cut(NamedTuple):
    """Files with their chunks, and what is written to `list_path` in the upload's folder, if anything."""

    files: Sequence[WantedFile]
    list_path: str = ""
    chunk_list: bytes = b""


def cutting(files: Sequence[WantedFile]) -> Callable[[], Cut]:
    """Cuts files at the first call, and gives the same again at every other."""
    return functools.lru_cache(maxsize=1)(lambda: Cut(_with_chunks(files)))


def cutting_artifact(files: Sequence[WantedFile]) -> Callable[[], Cut]:
    """Likewise; their chunks are listed beside them on the device."""

    def cut() -> Cut:
        known = _with_chunks(files)
        listed = (chunk for file in known if file.path != f"new/{MANIFEST}" for chunk in file.chunks)
        return Cut(known, f"new/{CHUNKS}", chunk_list.encode(listed))

    return functools.lru_cache(maxsize=1)(cut)


def _with_chunks(files: Sequence[WantedFile]) -> list[WantedFile]:
    return [msgspec.structs.replace(file, chunks=chunks_of(file.local)) for file in files]
