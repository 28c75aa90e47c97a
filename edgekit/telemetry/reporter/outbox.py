"""Outbox: the windows that wait to be sent, in memory and in the journal, bounded in bytes.

A window is *open* while it counts (a checkpoint replaces the one before), then *sealed*, then *done*. Sealed windows
are never lost: where the queue grows over its bound, its two oldest neighbours become one window under the later's
name. Time resolution degrades; every observation stays accounted for. Windows that cannot be merged (another artifact
or label) stay apart; where no two can, the oldest goes, and its inferences are added to the next one's `dropped`.

Windows that may have reached the collector are *attempted* until it is known: they keep their names and are not merged,
because the collector knows a delivery twice by the name. So an attempt is on the disk before the first byte is sent.

Where the disk fails, everything goes on in memory, and the journal is written anew as soon as it can be. A full disk
must not keep a device silent: a spare file of 8 KiB is given up for the record of an attempt; without that record
nothing is sent.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from contextlib import suppress

from .journal import Journal, records_in
from .records import TYPE_CHECKING
from .wire import decode, encode

if TYPE_CHECKING:
    from typing import Sequence

    from .window import Window

CHECKPOINT, SEALED, COALESCED, DONE, ATTEMPTED, RELEASED = 1, 2, 3, 4, 5, 6
QUEUE_BYTES = 256 * 1024
SYNC_CHECKPOINTS_S = 60.0
"""Checkpoints survive a killed program at once; a loss of power, when they were synced, as often as this."""
COMPACT_BYTES = 256 * 1024
SPARE_BYTES = 8192
MAX_QUARANTINE_BYTES = 1 << 20

Key = bytes  # boot and seq: 24 bytes
_SEQ = struct.Struct(">Q")
KEY_BYTES = 16 + _SEQ.size


def key_of(window: Window) -> Key:
    """The name of a window among those of its device."""
    return bytes.fromhex(window.boot) + _SEQ.pack(window.seq)


class Outbox:
    """See the module. Methods may be called from several threads; each does its disk work before it returns."""

    def __init__(self, folder: str | None, queue_bytes: int = QUEUE_BYTES) -> None:
        """Takes up what the journal in `folder` holds; None keeps everything in memory.

        Raises:
            OSError: the journal cannot be opened.
        """
        self.folder = folder
        self.queue_bytes = queue_bytes
        self.trouble = ""
        """Why the journal is behind, in the system's words; empty while all is well."""
        self._lock = threading.RLock()
        self._sealed: dict[Key, bytes] = {}
        self._attempted: list[Key] = []
        self._open: tuple[Key, bytes] | None = None
        self._synced = 0.0
        self._journal = None if folder is None else Journal(os.path.join(folder, "journal"))
        if self._journal is not None:
            for kind, content in self._journal.records:
                self._replay(kind, content)
            self._journal.records = []
            left = self._left_open()
            if left is not None:  # the program ended without a word: what it counted is a window
                key, frame = left
                self._keep(key, frame)
                self._write([(SEALED, key + frame)], sync=True)

    def checkpoint(self, window: Window) -> None:
        """Keeps an open window as it is now."""
        with self._lock:
            key = key_of(window)
            self._open = (key, encode(window))
            due = time.monotonic() - self._synced > SYNC_CHECKPOINTS_S
            self._write([(CHECKPOINT, key + self._open[1])], sync=due)

    def seal(self, window: Window) -> None:
        """Keeps a finished window until it is done; merges older ones where the queue is full."""
        self.adopt([(key_of(window), encode(window))])

    def adopt(self, frames: Sequence[tuple[Key, bytes]]) -> None:
        """The same for frames; those that are there already stay as they are."""
        with self._lock:
            records = []
            for key, frame in frames:
                if key not in self._sealed:
                    self._keep(key, frame)
                    records.append((SEALED, key + frame))
            records += self._shrink()
            if records:
                self._write(records, sync=True)

    def batch(self, limit_bytes: int, most: int = 1 << 30) -> list[tuple[Key, bytes]]:
        """The oldest windows, as many as fit (at least one), marked as attempted. The same again until their fate is
        told by `done` or `release`."""
        with self._lock:
            if not self._attempted:
                size = 0
                for key, frame in self._sealed.items():
                    size += len(frame)
                    if self._attempted and (size > limit_bytes or len(self._attempted) >= most):
                        break
                    self._attempted.append(key)
                if self._attempted and not self._write([(ATTEMPTED, b"".join(self._attempted))], sync=True, spare=True):
                    self._attempted = []
            return [(key, self._sealed[key]) for key in self._attempted]

    def done(self, keys: Sequence[Key]) -> None:
        """Forgets windows: the collector has them."""
        with self._lock:
            self._forget(keys)
            self._write([(DONE, b"".join(keys))], sync=False)

    def release(self) -> None:
        """The attempted windows are known not to have arrived: they may be merged again."""
        with self._lock:
            if self._attempted:
                self._attempted = []
                self._write([(RELEASED, b""), *self._shrink()], sync=False)

    def quarantine(self, keys: Sequence[Key]) -> None:
        """Puts windows that the collector will never take into the file `quarantine`, as frames, and forgets them."""
        with self._lock:
            frames = b"".join([self._sealed[key] for key in keys if key in self._sealed])
            if self.folder is not None:
                path = os.path.join(self.folder, "quarantine")
                try:
                    if os.path.exists(path) and os.path.getsize(path) + len(frames) > MAX_QUARANTINE_BYTES:
                        os.replace(path, path + ".1")
                    with open(path, "ab") as file:
                        file.write(frames)
                        file.flush()
                        os.fsync(file.fileno())
                except OSError as error:
                    self.trouble = str(error)
            self.done(keys)

    def sealed(self) -> list[tuple[Key, bytes]]:
        """All windows that wait, the oldest first."""
        with self._lock:
            return list(self._sealed.items())

    def size_bytes(self) -> int:
        """What the waiting windows take."""
        with self._lock:
            return sum(map(len, self._sealed.values()))

    @classmethod
    def left_in(cls, path: str) -> list[tuple[Key, bytes]]:
        """The windows in a journal that an ended process left, its open one the last.

        Raises:
            OSError: it cannot be read.
        """
        left = cls(None)
        with open(path, "rb") as file:
            records, _ = records_in(file.read())
        for kind, content in records:
            left._replay(kind, content)
        return left.sealed() + ([left._open] if left._open is not None else [])

    def abandon(self) -> None:
        """In the child of a fork: closes the file, whoever may have held the lock."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def close(self) -> None:
        """Closes the journal."""
        with self._lock:
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    def _left_open(self) -> tuple[Key, bytes] | None:
        return self._open

    def _keep(self, key: Key, frame: bytes) -> None:
        self._sealed[key] = frame
        if self._open is not None and self._open[0] == key:
            self._open = None

    def _forget(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self._sealed.pop(key, None)
        self._attempted = [key for key in self._attempted if key in self._sealed]

    def _replace(self, old: Sequence[Key], key: Key, frame: bytes) -> None:
        """Puts a window in the place of the first of those that it stands for."""
        kept: dict[Key, bytes] = {}
        for each, there in self._sealed.items():
            if each not in old:
                kept[each] = there
            elif key not in kept:
                kept[key] = frame
        kept.setdefault(key, frame)
        self._sealed = kept

    def _replay(self, kind: int, content: bytes) -> None:
        keys = [content[i : i + KEY_BYTES] for i in range(0, len(content), KEY_BYTES)]
        if kind == CHECKPOINT:
            self._open = (content[:KEY_BYTES], content[KEY_BYTES:])
        elif kind == SEALED:
            self._keep(content[:KEY_BYTES], content[KEY_BYTES:])
        elif kind == COALESCED:
            first, second = content[:KEY_BYTES], content[KEY_BYTES : 2 * KEY_BYTES]
            self._replace([first, second], second, content[2 * KEY_BYTES :])
        elif kind == DONE:
            self._forget(keys)
        elif kind == ATTEMPTED:
            self._attempted = [key for key in keys if key in self._sealed]
        elif kind == RELEASED:
            self._attempted = []

    def _shrink(self) -> list[tuple[int, bytes]]:
        """Merges until the queue is in its bound; the records that say so."""
        records = []
        while self.size_bytes() > self.queue_bytes:
            free = [key for key in self._sealed if key not in self._attempted]
            if len(free) < 2:
                break
            first, second, merged = self._oldest_merge(free)
            frame = encode(merged)
            self._replace([first, second], second, frame)
            records.append((COALESCED, first + second + frame))
        return records

    def _oldest_merge(self, free: list[Key]) -> tuple[Key, Key, Window]:
        windows = [decode(self._sealed[free[0]])]
        for i in range(1, len(free)):
            windows.append(decode(self._sealed[free[i]]))
            if windows[i - 1].mergeable(windows[i]):
                return free[i - 1], free[i], windows[i - 1].merge(windows[i])
        lost, kept = windows[0], windows[1]
        return free[0], free[1], kept._replace(dropped=kept.dropped + lost.dropped + lost.inferences)

    def _write(self, records: list[tuple[int, bytes]], *, sync: bool, spare: bool = False) -> bool:
        """Appends, or writes the journal anew where it is behind or long. Never raises: memory has everything.

        With `spare`, a full disk is given the spare file for it. Tells whether the records are in the journal.
        """
        if self._journal is None or self.folder is None:
            return True
        path = os.path.join(self.folder, "spare")
        try:
            if self.trouble or self._journal.size > COMPACT_BYTES + 2 * self.size_bytes():
                self._journal.rewrite(self._live())
            else:
                self._journal.append(records, sync=sync)
            self.trouble = ""
            if not os.path.exists(path):
                _reserve(path)
        except OSError as error:
            self.trouble = str(error)
            if not spare:
                return False
            with suppress(OSError):
                os.unlink(path)
            try:
                self._journal.append(records, sync=sync)  # of windows that it lacks, it tells nothing
            except OSError:
                return False
        if sync:
            self._synced = time.monotonic()
        return True

    def _live(self) -> list[tuple[int, bytes]]:
        records = [(SEALED, key + frame) for key, frame in self._sealed.items()]
        if self._attempted:
            records.append((ATTEMPTED, b"".join(self._attempted)))
        if self._open is not None:
            records.append((CHECKPOINT, self._open[0] + self._open[1]))
        return records


def _reserve(path: str) -> None:
    """Makes the spare file, whole or not at all: what cannot be had now is tried again with the next record."""
    try:
        with open(path, "wb") as file:
            file.write(bytes(SPARE_BYTES))
    except OSError:
        with suppress(OSError):
            os.unlink(path)
