"""uvicorn's HTTP protocol with bounds on what one connection may cost: headers, time, requests sent ahead, and how many
connections there are. uvicorn itself bounds none of the first three when httptools parses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

MAX_HEAD_BYTES = 16 << 10
MAX_AHEAD = 16
"""Requests that a client may send before it has the answer to the first."""
REQUEST_S = 20.0
"""Within which a request must have come in whole, from its connection or the answer before it."""


def _refusal(status: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n%s\r\n" % (status, more)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `max_connections` is set by whoever makes the server."""

    max_connections = 1024

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = True
        self._timer: asyncio.TimerHandle | None = None
        if len(self.connections) > self.max_connections:
            transport.write(_refusal(b"503 Service Unavailable", b"retry-after: 5\r\n"))
            transport.close()
            return
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._timer is None:
            self._expect_request()
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_refusal(b"431 Request Header Fields Too Large"))
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()
        if len(self.pipeline) > MAX_AHEAD:
            self.transport.abort()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True
        self._stop_timer()

    def _expect_request(self) -> None:
        self._timer = self.loop.call_later(REQUEST_S, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.abort()


def bounded(max_connections: int) -> type[Any]:
    """The protocol with that bound."""
    return type("BoundedProtocol", (BoundedProtocol,), {"max_connections": max_connections})
