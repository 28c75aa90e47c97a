"""Group commit: one thread commits all uploads that wait, in one transaction; each is answered after that commit.

The disk's sync is the dear part of a commit, and costs the same for sixty uploads as for one. While a transaction is
being synced the next uploads gather, so the batches grow with the load and nothing waits on a timer. What one turn of
the event loop read is handed over together: the thread is woken once for it, and its first transaction holds them all.
What waits is bounded in bytes: beyond that an upload is told to come again, as it is when the database cannot be used.
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
    Done = Callable[[Outcome], None]

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
        self._gathered: list[tuple[Upload, Done]] = []
        self._waiting: deque[tuple[Upload, Done]] = deque()
        self._bytes_in = 0  # counted by the loop
        self._bytes_out = 0  # counted by the thread
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Uploads that are not in a transaction yet."""
        return len(self._waiting) + len(self._gathered)

    def put(self, upload: Upload, done: Done) -> None:
        """Hands an upload over; the loop calls `done` with its outcome once that is durable. Only for the loop."""
        size = len(upload.envelope.packed)
        if self._closing or self._bytes_in - self._bytes_out + size > MAX_WAITING_BYTES:
            done(BUSY)
            return
        self._bytes_in += size
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append((upload, done))

    def stop_taking(self) -> None:
        """Lets the thread end once it has committed what was put. Only for the loop."""
        self._hand_over()
        with self._changed:
            self._closing = True
            self._changed.notify()

    def join(self, timeout_s: float = 30.0) -> None:
        """Until the thread has ended."""
        self._thread.join(timeout_s)

    def _hand_over(self) -> None:
        with self._changed:
            self._waiting.extend(self._gathered)
            self._changed.notify()
        self._gathered = []

    def _run(self) -> None:
        while batch := self._take():
            outcomes = self._outcomes([upload for upload, _ in batch])
            self._loop.call_soon_threadsafe(_answer, batch, outcomes)

    def _take(self) -> list[tuple[Upload, Done]]:
        """The next batch; empty when closing and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            batch: list[tuple[Upload, Done]] = []
            size = 0
            while self._waiting and len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
                batch.append(self._waiting.popleft())
                size += len(batch[-1][0].envelope.packed)
            self._bytes_out += size
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


def _answer(batch: list[tuple[Upload, Done]], outcomes: list[Outcome]) -> None:
    for (_, done), outcome in zip(batch, outcomes, strict=True):
        done(outcome)
