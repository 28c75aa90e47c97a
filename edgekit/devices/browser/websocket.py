"""The server's side of one WebSocket (RFC 6455): text messages in and out, bounded in size, without extensions.

What is not as the RFC says ends the connection: an unmasked frame, a control frame in pieces, text that is no UTF-8.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from edgekit.devices.process import MAX_LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedIOBase

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x8, 0x9, 0xA
SEND_TIMEOUT_S = 10
"""How long a page may take nothing of what is sent to it."""


class BrokenProtocolError(Exception):
    """The peer does not keep to the protocol."""


def accept_key(key: str) -> str:
    """What proves to the client that the server speaks WebSocket: `Sec-WebSocket-Accept` for `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


class WebSocket:
    """One connection, after its handshake. One thread reads it; any may send or close."""

    def __init__(self, link: socket.socket, stream: BufferedIOBase) -> None:
        self._link = link
        self._stream = stream
        self._sending = threading.Lock()
        self.closed = False
        link.settimeout(None)  # a page is silent while its model runs; whoever waits for its lines has the bound
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_TIMEOUT_S, 0))

    def messages(self) -> Iterator[bytes]:
        """Text messages until the peer closes or is gone, as the UTF-8 that they are."""
        pieces = bytearray()
        with suppress(OSError, BrokenProtocolError, ValueError):
            while True:
                final, kind, payload = self._frame()
                if kind == _CLOSE:
                    break
                if kind == _PING:
                    self._send(_PONG, payload)
                elif kind in (_TEXT, _CONTINUATION):
                    pieces += payload
                    if len(pieces) > MAX_LINE_BYTES:
                        break
                    if final:
                        pieces.decode("utf-8")
                        yield bytes(pieces)
                        pieces.clear()
                elif kind != _PONG:
                    break
        self.close()

    def send(self, text: str) -> None:
        """Sends one text message.

        Raises:
            OSError: the page is gone, or takes nothing.
        """
        self._send(_TEXT, text.encode())

    def close(self, code: int = 1001) -> None:
        """Says why, if the peer still listens, and ends the connection. Never raises."""
        if self.closed:
            return
        self.closed = True
        with suppress(OSError):
            self._send(_CLOSE, struct.pack("!H", code))
        with suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)

    def _send(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | kind, size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", 0x80 | kind, 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | kind, 127, size)
        with self._sending:
            self._link.sendall(head + payload)

    def _frame(self) -> tuple[bool, int, bytes]:
        first, second = self._read(2)
        final, kind, size = bool(first & 0x80), first & 0x0F, second & 0x7F
        if first & 0x70 or not second & 0x80:
            raise BrokenProtocolError("an extension that was not agreed on, or a frame without a mask")
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        if size > MAX_LINE_BYTES or (kind >= _CLOSE and (size > 125 or not final)):
            raise BrokenProtocolError("a frame that is too large")
        return final, kind, _unmasked(self._read(4), self._read(size))

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) < count:
            raise ConnectionResetError("the page is gone")
        return data


def _unmasked(mask: bytes, payload: bytes) -> bytes:
    size = len(payload)
    long_mask = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(long_mask, "big")).to_bytes(size, "big")
