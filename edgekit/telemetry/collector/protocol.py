"""uvicorn's HTTP protocol with bounds on what one connection may cost: headers, time, requests sent ahead, and how many
connections there are. uvicorn itself bounds none of the first three when httptools parses.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

MAX_HEAD_BYTES = 16 << 10
MAX_AHEAD = 16
"""Requests that a client may send before it has the answer to the first."""


def _refusal(status: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n%s\r\n" % (status, more)


_BUSY = _refusal(b"503 Service Unavailable", b"retry-after: 5\r\n")
_TOO_LONG = _refusal(b"431 Request Header Fields Too Large")


class _HeadTooLongError(Exception):
    """Ends the parsing."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    max_connections = 1024
    request_s = 20.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        self._fed = 0
        self._head_bytes = 0
        self._in_head = True
        self._expecting = False
        self._deadline = math.inf
        self._watch: asyncio.TimerHandle | None = None
        if len(self.connections) > self.max_connections:
            transport.write(_BUSY)
            transport.close()
            return
        self._expect_request()
        self._watch = self.loop.call_later(self.request_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._expecting:
            self._expect_request()
        if self._in_head:  # httptools collects a field that is not complete yet: only the bytes fed tell its length
            self._fed += len(data)
        super().data_received(data)
        if self._in_head and self._fed > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LONG)
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin_request()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._fed = 0
        super().on_headers_complete()
        if len(self.pipeline) > MAX_AHEAD:
            self.transport.abort()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._request_is_whole()

    def send_400_response(self, msg: str) -> None:
        """Answers what could not be parsed."""
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self.transport.write(_TOO_LONG)
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLongError

    def _begin_request(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        if not self._expecting:  # it came in one piece with the end of the request before it
            self._expect_request()

    def _expect_request(self) -> None:
        self._expecting = True
        self._deadline = self.loop.time() + self.request_s

    def _request_is_whole(self) -> None:
        self._in_head = True
        self._expecting = False
        self._deadline = math.inf

    def _be_idle(self) -> None:
        """Has the connection closed if nothing more comes, unless the next request has begun already."""
        if not self._expecting:
            self._deadline = self.loop.time() + self.timeout_keep_alive

    def _look(self) -> None:
        """Looks at the deadline. One timer a connection, which is never set further ahead than a deadline can be: to
        make and cancel one for every request and for every pause cost more than to look now and then."""
        left = self._deadline - self.loop.time()
        if left > 0:
            self._watch = self.loop.call_later(min(left, self.request_s), self._look)
        elif not self.transport.is_closing():
            self.transport.abort()
