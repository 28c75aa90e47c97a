"""Assembling: the device puts the files of an upload together, and hashes a large new one while it arrives.

Where the pack begins with a whole new file, which then becomes that file, the script is started before the pack is
sent. It hashes what has arrived each time it is told that there is more, from the file that it was written to, and
begins to flush it to the disk. So when the last byte is there, hash and disk are nearly done; one after the other,
100 MB took a second longer. Everything else is put together and hashed when all has arrived. If all hashes are what
they should be, it is published in the same round trip.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from edgekit.devices.plan import sums
from edgekit.devices.scripts.upload import ASSEMBLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from edgekit.devices.device import Device
    from edgekit.devices.plan import Plan

MIN_BYTES = 4 << 20
"""Of a file that is hashed while it arrives: it costs a few processes there."""
_MORE_BYTES = 4 << 20
_FLUSH_BYTES = 32 << 20
_GONE_S = 5
"""How long a script that is told nothing more may take to end."""


class Assembled(NamedTuple):
    """A line a file that begins with its sha256, in the plan's order; and whether it was published."""

    digests: bytes
    is_published: bool


class Assembling:
    """`scripts.ASSEMBLE` for one plan; use it in a `with` block around sending the pack.

    Args:
        device: where.
        nonce: the upload's.
        final: the name that it gets.
        plan: how the files are put together.
        inside: what of the upload's folder gets that name if all is right; None: nothing is published yet.
        used: nonces of uploads that are of no more use then.
        overlaps: whether a command can run there while the pack is sent.
        step: for errors.
        timeout_s: how long the device may take, and how long it may hear nothing.
    """

    def __init__(
        self,
        device: Device,
        nonce: str,
        final: str,
        plan: Plan,
        *,
        inside: str | None,
        used: Sequence[str],
        overlaps: bool,
        step: str,
        timeout_s: float,
    ) -> None:
        self._device = device
        self._step, self._timeout_s = step, timeout_s
        first = plan.whole_first_bytes
        self._follows = overlaps and first >= max(1, MIN_BYTES)
        files = [assembly.file for assembly in plan.files]
        self._arguments = (
            device.root,
            nonce,
            final,
            str(first) if self._follows else "-",
            inside or "-",
            sums(files),
            " ".join(used),
            *(file.path for file in files),
        )
        self._words: SimpleQueue[bytes | None] = SimpleQueue()
        self._untold, self._unflushed = 0, 0
        self._answer = b""
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Assembling:  # noqa: PYI034 - typing.Self is of Python 3.11
        if self._follows:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._follows:
            self._words.put(None)
            self._thread.join(_GONE_S)

    def tell(self, count: int) -> None:
        """So many more bytes of the pack went out."""
        self._untold += count
        self._unflushed += count
        if not self._follows or self._untold < _MORE_BYTES:
            return
        self._untold = 0
        if self._unflushed < _FLUSH_BYTES:
            self._words.put(b"more\n")
        else:
            self._unflushed = 0
            self._words.put(b"flush\n")

    def finish(self) -> Assembled:
        """The pack is there: puts the files together.

        Raises:
            DeviceError: see `Device.script`.
        """
        if not self._follows:
            answer = self._device.script(ASSEMBLE, *self._arguments, step=self._step, timeout_s=self._timeout_s)
            return _read(answer)
        self._words.put(b"all\nassemble\n")
        self._words.put(None)
        self._thread.join()
        if self._failed is not None:
            raise self._failed
        return _read(self._answer)

    def _follow(self) -> None:
        try:
            self._answer = self._device.feed(
                ASSEMBLE, *self._arguments, stdin=self._told(), step=self._step, idle_timeout_s=self._timeout_s
            )
        except BaseException as error:  # whoever waits for the answer raises it
            self._failed = error

    def _told(self) -> Iterator[bytes]:
        while (words := self._words.get()) is not None:
            yield words


def _read(answer: bytes) -> Assembled:
    digests, mark, _ = answer.partition(b"published\n")
    return Assembled(digests, bool(mark))
