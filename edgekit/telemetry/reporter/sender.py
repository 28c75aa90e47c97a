"""The sender: a thread that enrols the device if it must, and sends what waits in the outbox.

Devices that seal their windows at the same full hour do not send at the same second: each has a phase of its own, drawn
from its name.
"""

from __future__ import annotations

import random
import threading
import time

from .directory import Identity, save_identity
from .errors import ReporterError
from .records import TYPE_CHECKING
from .upload import Uploader, enrol

if TYPE_CHECKING:
    from .outbox import Outbox
    from .settings import Settings

SPREAD_MOST_S = 300.0
IDLE_S = 3600.0


class Sender:
    """See the module. `send_all` does the same in the caller's thread."""

    def __init__(self, outbox: Outbox, identity: Identity, settings: Settings, state: str | None) -> None:
        self.reference: bytes | None = None
        """A reference that the device made and the collector does not know yet."""
        self._uploader = Uploader(outbox, identity)
        self._settings = settings
        self._state = state
        self._requests = threading.Lock()
        self._event = threading.Event()
        self._stop = threading.Event()
        spread = min(SPREAD_MOST_S, settings.window_s / 10)
        self._phase_s = random.Random(identity.device).uniform(0, spread)  # noqa: S311 - spreads load

    @property
    def last(self) -> str:
        """How the last request ended."""
        return self._uploader.last

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._run, name="edgekit-sender", daemon=True).start()

    def wake(self) -> None:
        """A window was sealed."""
        self._event.set()

    def stop(self) -> None:
        """Ends the thread after the request that is under way."""
        self._stop.set()
        self._event.set()

    def _run(self) -> None:
        while not self._stop.wait(self._phase_s):
            self._event.clear()
            try:
                with self._requests:
                    wait = self._step()
            except Exception as error:
                self._uploader.last = "%s: %s" % (type(error).__name__, error)
                wait = IDLE_S
            while wait is not None and wait > 0 and not self._stop.is_set():
                if self._stop.wait(min(wait, 60.0)):
                    return
                wait -= 60.0
            if wait is None:
                self._event.wait(IDLE_S)

    def _step(self, most: int = 1 << 30) -> float | None:
        """Sends until nothing waits (None), something asks for patience (seconds), or `most` requests are made (0)."""
        uploader = self._uploader
        if not uploader.identity.key:
            if not self._settings.token:
                uploader.last = "this device has no key: open it with a token, or with key_id and key"
                return IDLE_S
            try:
                self._enrol()
            except ReporterError as error:
                uploader.last = str(error)
                return uploader.backoff()
        if self.reference is not None and uploader.send_reference(self.reference):
            self.reference = None
        wait: float | None = 0.0
        while wait == 0.0 and most > 0 and not self._stop.is_set():
            wait = uploader.step()
            most -= 1
        return wait

    def _enrol(self) -> None:
        identity = enrol(self._uploader.identity.collector, self._settings.token, self._uploader.identity.device)
        if identity.device != self._uploader.identity.device:
            message = "The collector calls this device %r; windows were counted as %r. Open it with device=%r."
            names = (identity.device, self._uploader.identity.device, identity.device)
            raise ReporterError(message % names)
        self._uploader.identity = identity
        self._uploader.failures = 0
        if self._state is not None:
            save_identity(self._state, identity)

    def send_all(self, timeout_s: float) -> bool:
        """Sends until nothing waits, something fails, or the time is over; whether nothing waits."""
        end = time.monotonic() + timeout_s
        if not self._requests.acquire(timeout=max(0.0, timeout_s)):
            return False
        try:
            uploader = self._uploader
            uploader.timeout_s, usual = max(0.1, min(timeout_s, uploader.timeout_s)), uploader.timeout_s
            try:
                while time.monotonic() < end:
                    wait = self._step(most=1)
                    if wait != 0.0:
                        return wait is None
            finally:
                uploader.timeout_s = usual
        finally:
            self._requests.release()
        return False
