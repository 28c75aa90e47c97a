"""Resuming: what cut uploads left on a device, as far as the device's own sha256 says that it is what we have here.

A cut upload is described by the plan beside it, which anybody may have written. So each run of chunks that we have as
well is hashed there, by ranges, and here; what differs, or is unknown here, loses its name and is not found any more.
"""

from __future__ import annotations

import hashlib
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from edgekit.devices.chunks import Chunk
from edgekit.devices.plan import Copy
from edgekit.devices.scripts.upload import RANGE_DIGESTS
from edgekit.devices.source import Range, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.devices.chunk_list import StoredFile
    from edgekit.devices.device import Device
    from edgekit.devices.plan import WantedFile

_BLOCK_BYTES = 1 << 20
_VERIFIED_RUNS = 8
"""Of each cut upload."""


def verified(
    device: Device, partials: Sequence[StoredFile], files: Sequence[WantedFile], *, step: str, timeout_s: float
) -> list[StoredFile]:
    """The cut uploads with those chunks alone that are what `files` have here.

    Raises:
        DeviceError: see `Device.script`.
    """
    places = {}
    for file in files:
        for chunk, end in zip(file.chunks, accumulate(chunk.bytes for chunk in file.chunks), strict=True):
            places[chunk] = Range(file.local, end - chunk.bytes, chunk.bytes)
    runs = [run for partial in partials for run in _runs_of(partial, places)]
    if not runs:
        return []
    words = [word for run in runs for word in run.copy.words]
    answer = device.script(RANGE_DIGESTS, device.root, *words, step=step, timeout_s=timeout_s)
    lines = answer.decode("ascii", "replace").splitlines()
    if len(lines) != len(runs):
        return []
    right = [run for run, line in zip(runs, lines, strict=True) if line[:64] == _sha256_of(run.source)]
    return [_only(partial, [run for run in right if run.copy.path == partial.path]) for partial in partials]


class _Run(NamedTuple):
    """Chunks `begin` to `end` of a cut upload, which we have here as well."""

    copy: Copy
    source: Source
    begin: int
    end: int


def _runs_of(partial: StoredFile, places: dict[Chunk, Range]) -> list[_Run]:
    """The longest runs of known chunks; there is one, unless it is of another artifact."""
    offsets = [0, *accumulate(chunk.bytes for chunk in partial.chunks)]
    runs = []
    for is_known, group in groupby(range(len(partial.chunks)), lambda position: partial.chunks[position] in places):
        if is_known:
            positions = list(group)
            begin, end = positions[0], positions[-1] + 1
            copy = Copy(partial.path, offsets[begin], offsets[end] - offsets[begin])
            source = Source(tuple(places[chunk] for chunk in partial.chunks[begin:end]))
            runs.append(_Run(copy, source, begin, end))
    return sorted(runs, key=lambda run: -run.copy.bytes)[:_VERIFIED_RUNS]


def _only(partial: StoredFile, runs: Sequence[_Run]) -> StoredFile:
    """The cut upload with no names for what was not verified: nothing is found there."""
    right = {position for run in runs for position in range(run.begin, run.end)}
    chunks = tuple(
        chunk if position in right else Chunk(chunk.bytes, "") for position, chunk in enumerate(partial.chunks)
    )
    return msgspec.structs.replace(partial, chunks=chunks)


def _sha256_of(source: Source) -> str:
    digest = hashlib.sha256()
    for block in source.blocks(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()
