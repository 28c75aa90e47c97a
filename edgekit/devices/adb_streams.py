"""What is spoken over a connection to a device once its service is open: commands (shell protocol 2), files (sync).

A command's stream is packets of a kind, a length and bytes, both ways; the last one holds its exit status. A file goes
out in packets of at most 64 KiB and is answered once, at its end, or earlier if it cannot be written.
"""

from __future__ import annotations

import select
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from edgekit.devices.adb_server import receive, send_buffers
from edgekit.devices.process import Process

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from edgekit.devices.source import Source

DEAD_LINK_S = 20
"""How long a device may take no byte, or not answer that it starts a command."""
_BLOCK_BYTES = 1 << 20
_SYNC_PACKET_BYTES = 1 << 16
_COMPLAINT_BYTES = 4096
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_COMMAND_HEADER = struct.Struct("<BI")
_SYNC_HEADER = struct.Struct("<4sI")
_REGULAR_FILE = 0o100644


class SyncRefusedError(Exception):
    """The device cannot write the file, for the reason that it gives."""


class AdbProcess(Process):
    """A command. Closing the connection closes its stdin, which ends it (`scripts.WATCH`)."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(DEAD_LINK_S)
        self._sock = sock
        self._header = bytearray()
        self._kind = _STDOUT
        self._left = 0
        self._code: int | None = None
        self.complaint = b""
        """The end of what it wrote to stderr while `code` waited."""

    def read(self, timeout_s: float) -> tuple[bytes, bytes] | None:
        if self._code is not None:
            return None
        if not self._speaks(timeout_s):
            return b"", b""
        if not self._left:
            self._header += self._receive(_COMMAND_HEADER.size - len(self._header))
            if len(self._header) == _COMMAND_HEADER.size:
                self._kind, self._left = _COMMAND_HEADER.unpack(self._header)
                self._header.clear()
            return b"", b""
        data = self._receive(min(self._left, 1 << 16))
        self._left -= len(data)
        if self._kind == _EXIT:
            self._code = data[0]
            return None
        return (data if self._kind == _STDOUT else b"", data if self._kind == _STDERR else b"")

    def _speaks(self, timeout_s: float) -> bool:
        return bool(select.select([self._sock], [], [], timeout_s)[0])

    def _receive(self, most: int) -> bytes:
        data = self._sock.recv(most)
        if not data:
            raise EOFError("the device hung up")
        return data

    def code(self, timeout_s: float) -> int | None:
        deadline = time.monotonic() + timeout_s
        while self._code is None and (left := deadline - time.monotonic()) > 0:
            chunk = self.read(left)
            self.complaint = (self.complaint + (chunk[1] if chunk else b""))[-_COMPLAINT_BYTES:]
        return self._code

    def feed(self, stdin: Iterable[bytes]) -> None:
        with suppress(OSError):
            for piece in stdin:
                for start in range(0, len(piece), _BLOCK_BYTES):
                    self._send(piece[start : start + _BLOCK_BYTES])
            self._sock.sendall(_COMMAND_HEADER.pack(_CLOSE_STDIN, 0))

    def send(self, source: Source, on_bytes: Callable[[int], None]) -> None:
        """Feeds it a source. Stops as soon as it says or ends anything: it complains then, which `code` collects."""
        with suppress(BrokenPipeError, ConnectionResetError):
            for block in source.blocks(_BLOCK_BYTES):
                if self._speaks(0):
                    return
                self._send(block)
                on_bytes(len(block))
            self._sock.sendall(_COMMAND_HEADER.pack(_CLOSE_STDIN, 0))

    def _send(self, block: bytes) -> None:
        send_buffers(self._sock, [_COMMAND_HEADER.pack(_STDIN, len(block)), block])

    def end(self) -> None:
        with suppress(OSError):
            self._sock.close()


def send_file(
    sock: socket.socket, source: Source, remote: str, *, on_bytes: Callable[[int], None], drained_s: float
) -> None:
    """Writes a new file through an open `sync:` service.

    Raises:
        SyncRefusedError: the device cannot write it; nothing of it stays there.
        TimeoutError: it took no byte for 20 s, or did not answer within `drained_s` after the last one.
        OSError, EOFError: the link went down; the device removes what it had.
    """
    sock.settimeout(DEAD_LINK_S)
    path = f"{remote},{_REGULAR_FILE}".encode("utf-8", "surrogateescape")
    try:
        send_buffers(sock, [_SYNC_HEADER.pack(b"SEND", len(path)), path])
        for block in source.blocks(_BLOCK_BYTES):
            if select.select([sock], [], [], 0)[0]:
                break
            send_buffers(sock, _sync_packets(memoryview(block)))
            on_bytes(len(block))
        else:
            sock.sendall(_SYNC_HEADER.pack(b"DONE", int(time.time())))
    except (BrokenPipeError, ConnectionResetError):
        pass  # it may have said why before it hung up
    deadline = time.monotonic() + drained_s
    status, length = _SYNC_HEADER.unpack(receive(sock, _SYNC_HEADER.size, deadline))
    if status == b"FAIL":
        raise SyncRefusedError(receive(sock, min(length, _COMPLAINT_BYTES), deadline).decode("utf-8", "replace"))
    if status != b"OKAY":
        raise ConnectionError(f"the device answered {status!r} to a file")


def _sync_packets(block: memoryview) -> list[bytes | memoryview]:
    parts = [block[start : start + _SYNC_PACKET_BYTES] for start in range(0, len(block), _SYNC_PACKET_BYTES)]
    return [buffer for part in parts for buffer in (_SYNC_HEADER.pack(b"DATA", len(part)), part)]
