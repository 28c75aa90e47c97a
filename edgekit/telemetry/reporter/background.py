"""What a reporter does beside counting: its state directory, the keeper's and the sender's threads.

The lock of the open window is only held to take something out of it; whatever touches the disk comes after. Threads are
daemons and start with the reporter, or in the child of a fork with its first observation.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from .directory import Claim, Identity, claim, load_identity, orphans, save_identity
from .errors import InvalidReference, StateError
from .outbox import Outbox
from .records import TYPE_CHECKING
from .reference import Reference

if TYPE_CHECKING:
    from typing import Any

    from .opening import OpenWindow
    from .sender import Sender
    from .settings import Settings

LEAST_CHECKPOINT_S = 1.0
"""However many inferences there are, checkpoints are this far apart: flash memory wears."""
REFERENCE = "reference.json"


class Background:
    """See the module."""

    def __init__(
        self,
        settings: Settings,
        window: OpenWindow,
        lock: Any,
        *,
        forked_from: Background | None = None,
    ) -> None:
        self._settings = settings
        self._window = window
        self._lock = lock
        self._disk = threading.RLock()
        self._event = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._sender: Sender | None = None
        self._claim: Claim | None = None
        self._outbox: Outbox | None = None
        self._trouble = ""
        self._written: tuple[int, int] = (-1, -1)
        self._checkpointed = -1e9
        window.wake = self.wake
        if forked_from is not None:
            forked_from.abandon()

    def open_state(self) -> None:
        """Takes up the state directory; without one that can be used, everything stays in memory."""
        with self._disk:
            if self._outbox is not None:
                return
            settings = self._settings
            self._settings.clock.synced()  # imports what it needs now, not within an observation
            identity = None
            try:
                self._claim = claim(settings.state)
                identity = load_identity(settings.state)
                self._outbox = Outbox(self._claim.folder, settings.queue_bytes)
                self._adopt(self._claim)
            except (StateError, OSError) as error:
                self._complain(str(error))
                self._outbox = self._outbox or Outbox(None, settings.queue_bytes)
            self._identify(identity)
            with suppress(InvalidReference, OSError):
                reference = Reference.load(os.path.join(settings.state, REFERENCE))
                if settings.reference is None and reference.model == settings.model:
                    with self._lock:
                        self._window.use(reference)

    def _adopt(self, own: Claim) -> None:
        """Takes over what ended processes left in folders of their own."""
        assert self._outbox is not None
        for path in orphans(self._settings.state, own):
            left = Outbox.left_in(path)
            self._outbox.adopt(left)
            if not self._outbox.trouble:
                os.unlink(path)

    def _identify(self, identity: Identity | None) -> None:
        """Settles the device's name: that of the settings, that of device.json, or a new one that is kept."""
        settings = self._settings
        known = identity or Identity(settings.device or "dev-" + os.urandom(8).hex())
        if settings.device and settings.device != known.device:
            known = Identity(settings.device)
        if settings.key:
            known = known._replace(key_id=settings.key_id, key=settings.key)
        if settings.collector:
            known = known._replace(collector=settings.collector)
        if known != identity and self._claim is not None:
            try:
                save_identity(settings.state, known)
            except OSError as error:
                self._complain(str(error))
        with self._lock:
            self._window.device = known.device
        if self._outbox is not None and known.collector:
            from .sender import Sender  # a device that sends nothing imports nothing for it

            state = settings.state if self._claim is not None else None
            self._sender = Sender(self._outbox, known, settings, state)

    def start(self) -> None:
        """Starts the threads."""
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._run, name="edgekit-keeper", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Something begins, ends or is due: called within an observation, so it only leaves word."""
        self._event.set()
        if self._thread is None and self._settings.background:
            self.start()

    def _run(self) -> None:
        self.open_state()
        if self._sender is not None:
            self._sender.start()
        while not self._stop.is_set():
            self._event.clear()
            try:
                self.keep()
            except Exception as error:
                self._complain("%s: %s" % (type(error).__name__, error))
            with self._lock:
                left = self._window.left_s()
            self._event.wait(max(0.05, min(left, self._settings.checkpoint_s, 60.0)))
            since = time.monotonic() - self._checkpointed
            if since < LEAST_CHECKPOINT_S and not self._window.sealed:
                self._stop.wait(min(LEAST_CHECKPOINT_S - since, max(left, 0.05)))

    def keep(self, *, checkpoint: bool = False) -> None:
        """Seals what is over, writes what is sealed, and the open window if that is due (or `checkpoint`)."""
        self.open_state()
        with self._disk:
            assert self._outbox is not None
            settings, window = self._settings, self._window
            with self._lock:
                if window.is_over():
                    window.seal()
                sealed, window.sealed = window.sealed, []
                made, window.made = window.made, None
                due = time.monotonic() - self._checkpointed >= settings.checkpoint_s
                by_count = window.uncounted() >= settings.checkpoint_count
                snapshot = window.snapshot() if checkpoint or due or by_count else None
            if made is not None:
                self._save(made)
            for each in sealed:
                self._outbox.seal(each)
            if snapshot is not None:
                self._checkpointed = time.monotonic()
                state = (snapshot.seq, snapshot.inferences + snapshot.dropped)
                if state != self._written:
                    self._outbox.checkpoint(snapshot)
                    self._written = state
            if sealed and self._sender is not None:
                self._sender.wake()

    def _save(self, reference: Reference) -> None:
        try:
            if self._claim is not None:
                reference.save(os.path.join(self._settings.state, REFERENCE))
        except OSError as error:
            self._complain(str(error))
        if self._sender is not None:
            self._sender.reference = reference.to_json()

    def send(self, timeout_s: float) -> bool:
        """Sends what waits, in this thread; whether nothing waits any more."""
        if self._sender is not None:
            return self._sender.send_all(timeout_s)
        return self._outbox is None or not self._outbox.sealed()

    def stop(self, timeout_s: float) -> None:
        """Writes what is left, sends for a while, ends the threads and gives the directory back."""
        self._stop.set()
        self._event.set()
        try:
            self.keep()
            if timeout_s > 0:
                self.send(timeout_s)
        except Exception as error:
            self._complain("%s: %s" % (type(error).__name__, error))
        if self._sender is not None:
            self._sender.stop()
        with self._disk:
            if self._outbox is not None:
                self._outbox.close()
            if self._claim is not None:
                self._claim.release()
                self._claim = None

    def abandon(self) -> None:
        """In the child of a fork: gives up the parent's files without touching what is in them."""
        outbox, own = self._outbox, self._claim
        self._outbox = self._claim = None
        if outbox is not None:
            outbox.abandon()
        if own is not None:
            own.release()

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            import logging

            logging.getLogger("edgekit.reporter").warning("%s", trouble)

    def status(self) -> dict[str, Any]:
        """Where it keeps things, what waits, what is wrong."""
        outbox, own = self._outbox, self._claim
        waiting = outbox.sealed() if outbox is not None else []
        return {
            "state": None if own is None else own.folder,
            "waiting": len(waiting),
            "waiting_bytes": sum([len(frame) for _, frame in waiting]),
            "trouble": (outbox.trouble if outbox is not None else "") or self._trouble,
            "upload": "no collector" if self._sender is None else self._sender.last,
        }
