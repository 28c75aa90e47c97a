"""The little of HTTP that the collector needs on ASGI: bodies within a bound, and answers that are made once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

DRAIN_BYTES = 2 << 20
"""How much of a body that is too large is read away, so that the sender gets to see the answer."""


class TooLargeError(Exception):
    """The body has more bytes than it may."""


class GoneError(Exception):
    """The client went away before its body was whole."""


@dataclass
class Answer:
    """A response that was made ahead.

    Attributes:
        status: of HTTP.
        body: its bytes.
        kind: its content type.
        headers: further ones.
        closes: whether the connection ends with it.
    """

    status: int
    body: bytes = b""
    kind: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    closes: bool = False
    _start: Message = field(init=False, repr=False)
    _end: Message = field(init=False, repr=False)
    _line: bytes = field(init=False, repr=False)
    _rest: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        headers = [
            (b"content-type", self.kind), (b"content-length", b"%d" % len(self.body)),
            (b"x-content-type-options", b"nosniff"), *self.headers,
            *([(b"connection", b"close")] if self.closes else []),
        ]  # fmt: skip
        self._start = {"type": "http.response.start", "status": self.status, "headers": headers}
        self._end = {"type": "http.response.body", "body": self.body}
        self._line = b"HTTP/1.1 %d %s\r\n" % (self.status, HTTPStatus(self.status).phrase.encode())
        self._rest = header_lines(headers) + b"\r\n" + self.body

    async def send(self, send: Send) -> None:
        """Sends it; it may be sent many times."""
        await send(self._start)
        await send(self._end)

    def on_wire(self, more: bytes = b"") -> bytes:
        """The whole response in HTTP/1.1, with `more` lines among its headers."""
        return b"".join((self._line, more, self._rest))


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they travel."""
    return b"".join([b"%s: %s\r\n" % each for each in headers])


def json_answer(status: int, /, **fields: Any) -> Answer:
    """A JSON document as an answer."""
    return Answer(status, msgspec.json.encode(fields))


def error_answer(status: int, reason: str, *, retry_after_s: int | None = None, close: bool = False) -> Answer:
    """`{"error": reason}`."""
    headers = []
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    return Answer(status, msgspec.json.encode({"error": reason}), headers=tuple(headers), closes=close)


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body.

    Raises:
        TooLargeError: it has more than `limit` bytes; the rest was read and dropped, up to `DRAIN_BYTES`.
        GoneError: it never became whole.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise GoneError
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit:
        return body
    parts = [body]
    size = len(body)
    more = message.get("more_body", False)
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif size > DRAIN_BYTES:
            break
        more = message.get("more_body", False)
    if size > limit:
        raise TooLargeError
    return b"".join(parts)
