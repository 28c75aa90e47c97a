"""Upload: batches from the outbox to the collector, one at a time, and what each answer means.

The contract is docs/formats/telemetry-wire.md. Nothing is tried again at once: after a failure comes a random wait
between 0 and min(1 h, 1 s × 2^k), so that a fleet that was cut off does not come back in one moment; `Retry-After` is
obeyed. What is known not to have arrived is released for merging; what may have arrived keeps its name.
"""

from __future__ import annotations

import json
import random
import time

from .directory import Identity
from .envelope import MAX_ENVELOPE_BYTES, REFERENCE, WINDOWS, seal
from .errors import ReporterError, WireError
from .records import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

    from .outbox import Outbox

BATCH_BYTES = 48 * 1024
TIMEOUT_S = 30.0
BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 3600.0
RETRY_AFTER_MOST_S = 24 * 3600.0
REFUSED_WINDOWS = (400, 422)
KEPT_AND_NEVER_STORED = (401, 403, 404, 429)


class Answer(NamedTuple):
    """Of the collector. `status` 0: none came; then `sent` tells whether the request may have arrived."""

    status: int
    body: bytes = b""
    retry_after_s: float | None = None
    sent: bool = True
    reason: str = ""


def post(url: str, body: bytes, content_type: str, timeout_s: float = TIMEOUT_S) -> Answer:
    """One request. Redirects are not followed: a signed body goes to the collector that the device was given."""
    import socket
    import urllib.error
    import urllib.request

    class NoRedirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    request = urllib.request.Request(url, body, {"Content-Type": content_type}, method="POST")  # noqa: S310 - checked in open
    try:
        with urllib.request.build_opener(NoRedirects).open(request, timeout=timeout_s) as response:
            return Answer(response.status, response.read(1 << 16))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(1 << 16), retry_after(error.headers.get("Retry-After")))
    except urllib.error.URLError as error:
        never = isinstance(error.reason, (socket.gaierror, ConnectionRefusedError))
        return Answer(0, sent=not never, reason=str(error.reason))
    except Exception as error:
        return Answer(0, reason="%s: %s" % (type(error).__name__, error))


def retry_after(value: str | None) -> float | None:
    """Seconds from a `Retry-After` of seconds or of a date; None if it is neither. At most a day, at least 0."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_MOST_S) if seconds == seconds else None


def enrol(collector: str, token: str, device: str) -> Identity:
    """Gets a key from the collector.

    Raises:
        ReporterError: it does not give one, or cannot be reached.
    """
    import base64

    body = json.dumps({"token": token, "device": device} if device else {"token": token}).encode()
    answer = post(collector + "/v1/enroll", body, "application/json")
    if answer.status != 200:
        why = answer.reason or "status %d: %.200s" % (answer.status, answer.body.decode("utf-8", "replace"))
        raise ReporterError("The collector at %s did not enrol this device: %s." % (collector, why))
    try:
        fields = json.loads(answer.body.decode("utf-8"))
        key = base64.b64decode(fields["key"], validate=True)
        identity = Identity(str(fields["device"]), str(fields["key_id"]), key, collector)
    except (ValueError, LookupError, TypeError) as error:
        raise ReporterError("The collector at %s answered no key: %s." % (collector, error)) from error
    if len(key) < 16:
        raise ReporterError("The collector at %s answered a key of %d bytes." % (collector, len(key)))
    return identity


class Uploader:
    """Sends what waits in an outbox. Not for several threads at once."""

    def __init__(self, outbox: Outbox, identity: Identity, *, timeout_s: float = TIMEOUT_S) -> None:
        self.outbox = outbox
        self.identity = identity
        self.failures = 0
        self.last = ""
        """How the last request ended, for `status`."""
        self.timeout_s = timeout_s
        self._most = 1 << 30
        self._draw = random.Random()  # noqa: S311 - spreads load

    def step(self) -> float | None:
        """Sends one batch; the seconds to wait until the next one, or None if nothing waits any more."""
        batch = self.outbox.batch(BATCH_BYTES, self._most)
        if not batch:
            if self.outbox.sealed():
                self.last = self.outbox.trouble
                return self.backoff()
            return None
        keys = [key for key, _ in batch]
        try:
            body = self._seal(b"".join([frame for _, frame in batch]), WINDOWS)
        except WireError:
            return self._too_large(keys)
        answer = post(self.identity.collector + "/v1/windows", body, "application/octet-stream", self.timeout_s)
        self.last = answer.reason or "status %d" % answer.status
        if answer.status == 200:
            self.outbox.done(keys)
            self.failures, self._most = 0, 1 << 30
            return 0.0
        if answer.status == 413:
            return self._too_large(keys)
        if answer.status in REFUSED_WINDOWS:
            return self._refused(keys)
        if answer.status in KEPT_AND_NEVER_STORED or not answer.sent:
            self.outbox.release()
        if answer.status in (401, 403):
            self.failures = max(self.failures, 12)  # a key that is not taken will not be taken in a second
        wait = self.backoff()
        return wait if answer.retry_after_s is None else max(answer.retry_after_s, min(wait, 1.0))

    def send_all(self, within_s: float) -> bool:
        """Sends until nothing waits, something asks for patience, or the time is over; whether nothing waits."""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            wait = self.step()
            if wait != 0.0:
                return wait is None
        return False

    def send_reference(self, document: bytes) -> bool:
        """Tells the collector a reference that the device made; whether it answered at all."""
        answer = post(
            self.identity.collector + "/v1/references",
            self._seal(document, REFERENCE),
            "application/octet-stream",
            self.timeout_s,
        )
        return answer.status in (200, 400, 404, 405, 413)

    def _seal(self, body: bytes, kind: int) -> bytes:
        identity = self.identity
        return seal(body, device=identity.device, key_id=identity.key_id, key=identity.key, kind=kind)

    def _too_large(self, keys: list[bytes]) -> float:
        if len(keys) == 1:
            self.last = "one window is larger than the collector takes (or than %d bytes)" % MAX_ENVELOPE_BYTES
            self.outbox.quarantine(keys)
        else:
            self._most = max(1, len(keys) // 2)
            self.outbox.release()
        return 0.0

    def _refused(self, keys: list[bytes]) -> float:
        """Of several, one may be to blame: they go one by one."""
        if len(keys) == 1:
            self.outbox.quarantine(keys)
        else:
            self._most = 1
            self.outbox.release()
        return self.backoff()

    def backoff(self) -> float:
        """One failure more; the seconds to wait."""
        self.failures += 1
        most = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(self.failures - 1, 20))
        return self._draw.uniform(0, most)
