"""Group commit: one thread commits all uploads that wait, in one transaction; each is answered after that commit.

The disk's sync is the dear part of a commit, and costs the same for sixty uploads as for one. While a transaction is
being synced the next uploads gather, so the batches grow with the load and nothing waits on a timer. What waits is
bounded in bytes: beyond that an upload is told to come again, as it is when the database cannot be used.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from edgekit.errors import StoreUnavailableError
from edgekit.telemetry.collector.uploads import Outcome, Result

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from edgekit.telemetry.collector.uploads import Upload

    Committer = Callable[[Sequence[Upload]], list[Outcome]]

LOG = logging.getLogger("edgekit.collector")
MAX_WAITING_BYTES = 32 << 20
MAX_BATCH = 256
MAX_BATCH_BYTES = 1 << 20
"""Of bodies as they travel: bounds what a transaction holds in memory once they are decompressed."""
BUSY = Outcome(Result.BUSY, reason="the collector cannot store anything now")


class GroupCommit:
    """The thread and its queue.

    Args:
        commit: commits a batch, or raises `StoreUnavailableError`.
        loop: where uploads come from, and are answered.
    """

    def __init__(self, commit: Committer, loop: asyncio.AbstractEventLoop) -> None:
        self.batches = 0
        self.failures = 0
        self._commit = commit
        self._loop = loop
        self._waiting: deque[tuple[Upload, asyncio.Future[Outcome]]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Uploads that are not in a transaction yet."""
        return len(self._waiting)

    def put(self, upload: Upload) -> asyncio.Future[Outcome]:
        """Hands an upload over; the future has its outcome once that is durable."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        size = len(upload.envelope.packed)
        with self._changed:
            if self._closing or self._bytes + size > MAX_WAITING_BYTES:
                future.set_result(BUSY)
                return future
            self._bytes += size
            self._waiting.append((upload, future))
            self._changed.notify()
        return future

    def close(self, timeout_s: float = 30.0) -> None:
        """Commits what waits, and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while batch := self._take():
            outcomes = self._outcomes([upload for upload, _ in batch])
            self._loop.call_soon_threadsafe(_answer, [future for _, future in batch], outcomes)

    def _take(self) -> list[tuple[Upload, asyncio.Future[Outcome]]]:
        """The next batch; empty when closing and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            batch: list[tuple[Upload, asyncio.Future[Outcome]]] = []
            size = 0
            while self._waiting and len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
                batch.append(self._waiting.popleft())
                size += len(batch[-1][0].envelope.packed)
            self._bytes -= size
        return batch

    def _outcomes(self, uploads: list[Upload]) -> list[Outcome]:
        self.batches += 1
        try:
            return self._commit(uploads)
        except StoreUnavailableError as error:
            self.failures += 1
            LOG.warning("%s", error)
            return [BUSY] * len(uploads)
        except Exception:  # a fault of ours: only whoever brought it out may wait for the repair, and it is in the log
            self.failures += 1
            if len(uploads) > 1:
                return [outcome for upload in uploads for outcome in self._outcomes([upload])]
            LOG.exception("an upload of device %s could not be stored", uploads[0].envelope.device)
            return [BUSY]


def _answer(futures: list[asyncio.Future[Outcome]], outcomes: list[Outcome]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if not future.done():  # its connection may have gone
            future.set_result(outcome)
