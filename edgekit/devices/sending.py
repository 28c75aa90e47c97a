"""Sending: a source to a file on the device, compressed where the link is slower than the compressor: measured.

Samples tell whether it would shrink, and how fast this machine compresses. If it is worth a try, a first part goes out
as it is, which tells the link's rate; only if the compressor is at least twice as fast, the next part goes through gzip
there; and only if that part was the faster one, so does the rest. Nothing that does not shrink by a tenth is tried: an
eighth of float32 weights is all that gzip finds, and the clock is not that exact.
"""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING

import msgspec

from edgekit.devices.scripts.upload import UNPACK
from edgekit.errors import RemoteCommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.devices.source import Source
    from edgekit.devices.transport import Transport

MIN_BYTES = 2 << 20
WORTH = 0.9
_SAMPLES = 4
_SAMPLE_BYTES = 32 << 10
_PROBE_BYTES = 4 << 20
_BLOCK_BYTES = 256 << 10
_FASTER = 1.15
"""By how much a compressed part must be: the first part, by which the link is judged, also opened it up."""
_LEVEL = 1
_GZIP = 31
"""zlib's word for gzip's format and the largest window."""


class Sent(msgspec.Struct, frozen=True):
    """How many bytes went over the link, and whether any of them were compressed."""

    bytes: int
    compressed: bool


def send(
    transport: Transport,
    source: Source,
    remote: str,
    *,
    can_unpack: bool,
    on_bytes: Callable[[int], None],
    step: str,
) -> Sent:
    """Writes a source to a new file on the device.

    Args:
        transport: the way.
        source: what is written.
        remote: the absolute path there; its folder exists.
        can_unpack: whether the device has gzip, or another name of it.
        on_bytes: told how many of the source's bytes went out since it was last told.
        step: what this is part of, for errors.

    Raises:
        DeviceError: as `Transport.put` and `Transport.feed`.
        RemoteCommandError: gzip failed there.
    """
    total = source.total_bytes
    if not can_unpack or total < MIN_BYTES:
        transport.put(source, remote, on_bytes=on_bytes, step=step)
        return Sent(total, False)
    share, compressor = _sample(source)
    if share > WORTH:
        transport.put(source, remote, on_bytes=on_bytes, step=step)
        return Sent(total, False)
    probe = min(_PROBE_BYTES, total // 4)
    link = _rate(probe, lambda: transport.put(source.part(0, probe), remote, on_bytes=on_bytes, step=step))
    if compressor < 2 * link:
        _append(transport, source.part(probe), remote, on_bytes, step)
        return Sent(total, False)
    wire = probe
    done = min(3 * probe, total)

    def compressed(begin: int, end: int) -> None:
        nonlocal wire
        wire += _send_compressed(transport, source.part(begin, end - begin), remote, on_bytes, step)

    packed = _rate(done - probe, lambda: compressed(probe, done))
    if done < total:
        if packed > _FASTER * link:
            compressed(done, total)
        else:
            _append(transport, source.part(done), remote, on_bytes, step)
            wire += total - done
    return Sent(wire, True)


def _rate(count: int, action: Callable[[], None]) -> float:
    """Bytes a second of an action that moves `count` bytes."""
    began = time.perf_counter()
    action()
    return count / max(1e-6, time.perf_counter() - began)


def _append(
    transport: Transport, source: Source, remote: str, on_bytes: Callable[[int], None], step: str
) -> None:  # fmt: skip
    transport.put(source, remote, append=True, on_bytes=on_bytes, step=step)


def _sample(source: Source) -> tuple[float, float]:
    """What share of its size compression leaves, and how many bytes a second it takes in."""
    total = source.total_bytes
    # From the middles of its quarters: at its end is a chunk list, which shrinks by half whatever the rest does.
    offsets = [(2 * number + 1) * (total - _SAMPLE_BYTES) // (2 * _SAMPLES) for number in range(_SAMPLES)]
    samples = [b"".join(source.part(offset, _SAMPLE_BYTES).blocks(_SAMPLE_BYTES)) for offset in offsets]
    began = time.perf_counter()
    packed = sum(len(zlib.compress(sample, _LEVEL)) for sample in samples)
    took = time.perf_counter() - began
    return packed / (_SAMPLES * _SAMPLE_BYTES), _SAMPLES * _SAMPLE_BYTES / max(1e-6, took)


def _send_compressed(
    transport: Transport, source: Source, remote: str, on_bytes: Callable[[int], None], step: str
) -> int:
    """Appends a source through gzip there; how many bytes that took."""
    wire = 0

    def pieces() -> Iterator[bytes]:
        nonlocal wire
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        for block in source.blocks(_BLOCK_BYTES):
            piece = packer.compress(block)
            wire += len(piece)
            if piece:
                yield piece
            on_bytes(len(block))
        end = packer.flush()
        wire += len(end)
        yield end

    done = transport.feed(["sh", "-c", UNPACK, "edgekit", remote], pieces(), step=step)
    if done.code:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise transport.storage_trouble(step, said) or RemoteCommandError(
            f"{transport.name} cannot unpack while {step} (exit status {done.code}): {said[-300:] or 'no word'}.",
            remedy="Check its gzip.",
        )
    return wire
