"""A WebSocket client as small as a test needs it, which can also break the rules."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

OPENING = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
           "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
"""The key of RFC 6455's own example."""
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class Client:
    """A raw connection to a server at a URL. `status` and `answer` are what a request got."""

    def __init__(self, url: str) -> None:
        found = urlsplit(url)
        self.host, self.path = found.netloc, found.path
        self.link = socket.create_connection((found.hostname, found.port), timeout=10)
        self._stream = self.link.makefile("rb")

    def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> int:
        """Sends a request; `headers` replace what a browser would send. Returns the status."""
        lines = {"Host": self.host, **(headers or {})}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.link.sendall(f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode())
        status = int(self._stream.readline().split()[1])
        self.headers = {}
        while (line := self._stream.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            self.headers[name] = value
        self.body = self._stream.read(int(self.headers.get("Content-Length", "0")))
        return status

    def open(self, path: str, **headers: str) -> int:
        """Asks for a WebSocket, as our own page would unless `headers` say otherwise."""
        return self.get(path, {**OPENING, "Origin": f"http://{self.host}", **headers})

    def send(self, payload: bytes, *, kind: int = 1, final: bool = True, masked: bool = True) -> None:
        """Sends one frame."""
        size = len(payload)
        flag = 0x80 if masked else 0
        first = (0x80 if final else 0) | kind
        head = struct.pack("!BB", first, flag | size) if size < 126 else struct.pack("!BBQ", first, flag | 127, size)
        mask = os.urandom(4) if masked else b""
        body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)) if masked else payload
        self.link.sendall(head + mask + body)

    def receive(self) -> tuple[int, bytes]:
        """One frame: its kind and payload; kind 8 with nothing where the connection has ended."""
        head = self._stream.read(2)
        if len(head) < 2:
            return 8, b""
        size = head[1]
        if size == 126:
            (size,) = struct.unpack("!H", self._stream.read(2))
        return head[0] & 0xF, self._stream.read(size)

    def close(self) -> None:
        """Goes away without a word."""
        self._stream.close()
        self.link.close()
