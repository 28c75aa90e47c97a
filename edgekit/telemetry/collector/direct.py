"""Uploads straight from the parser to the group commit, and their answers straight to the socket.

Nearly every request is an upload, and what ASGI needs for one (a scope, a task, two coroutines, an event, two timers)
cost more than everything that an upload itself needs. So a plain upload, one with a length and without anything odd
about it, goes from here to `CollectorApp.take_soon`. Whatever else comes goes the ordinary way through uvicorn, and so
do uploads that a client sends ahead: the two ways share uvicorn's queue, so answers leave in the order of requests.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from edgekit.telemetry.collector.http import Answer, header_lines
from edgekit.telemetry.collector.protocol import BoundedProtocol

if TYPE_CHECKING:
    import asyncio

    from edgekit.telemetry.collector.app import CollectorApp

_PATH = b"/v1/windows"
_CLOSE = b"connection: close\r\n"
_ODD = frozenset((b"connection", b"expect", b"transfer-encoding", b"upgrade"))
"""Headers with which a request goes the ordinary way."""


class _Whatever:
    """Stands for the event that nobody waits for."""

    def set(self) -> None:
        """Does nothing."""


class _Exchange:
    """An upload and its answer; stands where uvicorn looks for the state of the request under way."""

    __slots__ = ("disconnected", "keep_alive", "parts", "response_complete")
    message_event = _Whatever()

    def __init__(self) -> None:
        self.response_complete = False
        self.keep_alive = True
        self.disconnected = False
        self.parts: list[bytes] = []


class _DefaultLines:
    """uvicorn's headers of every response (the date: a new list each second) as lines."""

    def __init__(self) -> None:
        self._made_of: list[tuple[bytes, bytes]] | None = None
        self._lines = b""

    def of(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        if self._made_of is not headers:
            self._made_of, self._lines = headers, header_lines(headers)
        return self._lines


class UploadProtocol(BoundedProtocol):
    """One connection. `protocol_of` sets the rest.

    Attributes:
        collector: takes uploads.
        port: that devices send to.
        max_upload_bytes: larger ones go the ordinary way, and are refused there.
    """

    collector: CollectorApp
    port: int
    max_upload_bytes: int
    _defaults = _DefaultLines()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        self._upload: _Exchange | None = None
        super().connection_made(transport)
        self._takes_uploads = self.server is not None and self.server[1] == self.port

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._begin_request()
        self._length = -1
        self._odd = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        name = name.lower()
        self.headers.append((name, value))
        if name == b"content-length":
            self._length = int(value)
        elif name in _ODD:
            self._odd = True
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        if self._is_plain_upload():
            self._in_head = False
            self._fed = 0
            self.cycle = self._upload = _Exchange()  # type: ignore[assignment] # all that uvicorn asks of one
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the list that the scope has
        super().on_headers_complete()

    def _is_plain_upload(self) -> bool:
        return (
            self._takes_uploads
            and not self._odd
            and 0 <= self._length <= self.max_upload_bytes
            and self.url == _PATH
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused  # else answers would pile up for a client that reads none of them
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
        )

    def on_body(self, body: bytes) -> None:
        if self._upload is None:
            super().on_body(body)
        else:
            self._upload.parts.append(body)

    def on_message_complete(self) -> None:
        upload = self._upload
        if upload is None:
            super().on_message_complete()
            return
        self._upload = None
        self._request_is_whole()
        parts = upload.parts
        self.collector.take_soon(parts[0] if len(parts) == 1 else b"".join(parts), partial(self._answer, upload))

    def _answer(self, upload: _Exchange, answer: Answer) -> None:
        upload.response_complete = True
        if upload.disconnected or self.transport.is_closing():
            return
        goes_on = upload.keep_alive and not answer.closes
        more = self._defaults.of(self.server_state.default_headers)
        self.transport.write(answer.on_wire(more if goes_on or answer.closes else more + _CLOSE))
        if not goes_on:
            self.transport.close()
        elif self.pipeline:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._be_idle()


def protocol_of(collector: CollectorApp, port: int, *, max_upload_bytes: int, **bounds: float) -> type[Any]:
    """The protocol with these bounds.

    Args:
        collector: takes uploads that come in at `port`.
        port: see there.
        max_upload_bytes: of a body as it travels.
        bounds: `max_connections` at the same time; `request_s` within which a request must be in whole, from its
            connection or from its first byte.
    """
    fields = {"collector": collector, "port": port, "max_upload_bytes": max_upload_bytes, **bounds}
    return type("UploadProtocol", (UploadProtocol,), fields)
