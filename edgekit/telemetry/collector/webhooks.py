"""Notices on their way out: a signed POST with bounded retries.

The body is the JSON of `alerts`. Its signature is in the header `X-EdgeKit-Signature: t=SECONDS,v1=HEX`, the
HMAC-SHA256 of `SECONDS.BODY` with the webhook's secret: the time lets a receiver refuse an old request that is sent
again. `X-EdgeKit-Notice` is the same in every attempt, so a receiver can drop what it has. Redirects are not followed.
"""

from __future__ import annotations

import hmac
import http.client
import logging
import random
import time
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import TelemetryError, first_line
from edgekit.telemetry.collector import alerts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgekit.telemetry.collector.database import Database

LOG = logging.getLogger("edgekit.collector")
TIMEOUT_S = 10
MAX_ATTEMPTS = 10
FIRST_WAIT_S, LONGEST_WAIT_S = 10, 3600


@dataclass(frozen=True)
class Webhook:
    """Where notices go.

    Attributes:
        url: `https://…` or `http://…`.
        secret: signs the bodies.
    """

    url: str
    secret: bytes

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TelemetryError(f"{self.url!r} is no webhook.", remedy="Give an address such as https://host/path.")
        if not self.secret:
            raise TelemetryError(
                f"The webhook {self.url} has no secret.",
                remedy="Put some random text into the file of --webhook-secret.",
            )


def signature(secret: bytes, body: bytes, now_s: int) -> str:
    """The header's value for a body that is sent now."""
    return f"t={now_s},v1={hmac.digest(secret, b'%d.' % now_s + body, 'sha256').hex()}"


def deliver(database: Database, webhooks: Mapping[str, Webhook], *, now_s: int | None = None) -> int:
    """Tries every notice that is due once; tells how many were taken.

    Raises:
        StoreUnavailableError: the database cannot be used. A notice that was sent meanwhile is sent again later.
    """
    taken = 0
    for number, url, body, attempts in alerts.due_notices(database, now_s or int(time.time())):
        webhook = webhooks.get(url)
        failure = "it is no webhook of this collector any more" if webhook is None else _post(webhook, number, body)
        if not failure:
            alerts.notice_sent(database, number)
            taken += 1
        elif webhook is None or attempts + 1 >= MAX_ATTEMPTS:
            LOG.error("notice %d to %s is given up after %d attempts: %s", number, url, attempts + 1, failure)
            alerts.notice_sent(database, number)
        else:
            LOG.warning("notice %d to %s, attempt %d: %s", number, url, attempts + 1, failure)
            longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempts)
            wait_s = longest * (0.5 + random.random() / 2)  # noqa: S311 - spreads attempts, hides nothing
            alerts.notice_failed(database, number, int((now_s or time.time()) + wait_s))
    return taken


def _post(webhook: Webhook, number: int, body: str) -> str:
    """Why it was not taken; empty if it was."""
    parts = urllib.parse.urlsplit(webhook.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    raw = body.encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "edgekit",
        "X-EdgeKit-Notice": str(number),
        "X-EdgeKit-Signature": signature(webhook.secret, raw, int(time.time())),
    }
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    assert parts.hostname is not None
    try:
        connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", path, raw, headers)
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return first_line(error)
    return "" if 200 <= status < 300 else f"it answered {status}"


def read_secret(path: Path) -> bytes:
    """A webhook's secret: what the file has, without the white space around it.

    Raises:
        TelemetryError: it cannot be read.
    """
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise TelemetryError(
            f"The webhook's secret {path} cannot be read: {error.strerror}.",
            remedy="Name a file with --webhook-secret.",
        ) from error
