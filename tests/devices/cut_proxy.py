"""A TCP link on loopback that can be cut (both ends reset) or frozen (nothing passes, nothing closes)."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class CutProxy:
    """Forwards 127.0.0.1:port to 127.0.0.1:upstream_port.

    cut_after_bytes, freeze_after_bytes: what the client may still send before it happens; None for never.
    `passed_bytes` counts what the client sent; `bytes_per_s` is how fast that goes, None for as fast as it can.
    """

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut_after_bytes: int | None = None
        self.freeze_after_bytes: int | None = None
        self.passed_bytes = 0
        self.bytes_per_s: float | None = None
        self._open: list[socket.socket] = []
        self._frozen = threading.Event()

    def __enter__(self) -> CutProxy:  # noqa: PYI034 - typing.Self is of Python 3.11
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Resets all connections that are open now; new ones are welcome."""
        connections, self._open = self._open, []
        for sock in connections:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self.cut_after_bytes = self.freeze_after_bytes = None
        self._frozen.clear()

    def freeze(self) -> None:
        """From now on nothing passes."""
        self._frozen.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream_port))
                self._open += [client, server]
                threading.Thread(target=self._forward, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, False), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, upwards: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if upwards:
                    self.passed_bytes += len(data)
                    if self.freeze_after_bytes is not None and self.passed_bytes > self.freeze_after_bytes:
                        self.freeze()
                    if self.cut_after_bytes is not None and self.passed_bytes > self.cut_after_bytes:
                        self.cut()
                        return
                if self._frozen.is_set():
                    return
                if upwards and self.bytes_per_s is not None:
                    time.sleep(len(data) / self.bytes_per_s)
                sink.sendall(data)
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
