"""A TCP link on loopback that can be cut (both ends reset) or frozen (nothing passes, nothing closes)."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_CLONE_NEWNET = 0x40000000


class CutProxy:
    """Forwards 127.0.0.1:port to 127.0.0.1:upstream_port.

    cut_after_bytes, freeze_after_bytes: what the client may still send before it happens; None for never.
    cut_after_answered_bytes: likewise, of what it is sent.
    `passed_bytes` counts what the client sent, `answered_bytes` what it was sent; `bytes_per_s` is how fast the former
    goes, None for as fast as it can.
    namespace: the file of a network namespace in which both ends are, such as /proc/PID/ns/net; None for ours.
    """

    def __init__(self, upstream_port: int, *, namespace: str | None = None) -> None:
        self._upstream_port = upstream_port
        self._namespace = namespace
        self._ready = threading.Event()
        self._accepts = threading.Thread(target=self._accept, daemon=True)
        self._accepts.start()
        if not self._ready.wait(10):
            raise OSError("the proxy does not listen")
        self.port: int = self._listener.getsockname()[1]
        self.cut_after_bytes: int | None = None
        self.cut_after_answered_bytes: int | None = None
        self.freeze_after_bytes: int | None = None
        self.passed_bytes = 0
        self.bytes_per_s: float | None = None
        self.answered_bytes = 0
        self.cuts = 0
        self._open: list[socket.socket] = []
        self._frozen = threading.Event()

    def __enter__(self) -> CutProxy:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for a client
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Resets all connections that are open now; new ones are welcome.

        The limits go first: who is reset may be back at once, and its greeting would be cut by the same limit.
        """
        self.cut_after_bytes = self.cut_after_answered_bytes = self.freeze_after_bytes = None
        self._frozen.clear()
        connections, self._open = self._open, []
        for sock in connections:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self.cuts += 1

    def freeze(self) -> None:
        """From now on nothing passes."""
        self._frozen.set()

    def _accept(self) -> None:
        if self._namespace is not None:  # of this thread alone, and of the sockets that it makes
            handle = os.open(self._namespace, os.O_RDONLY)
            entered = ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET)
            os.close(handle)
            if entered != 0:
                raise OSError(ctypes.get_errno(), "setns")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ready.set()
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._upstream_port))
                except OSError:
                    client.close()
                    continue
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
                    limit = self.cut_after_bytes
                    if limit is not None and self.passed_bytes > limit:
                        # What came before the cut still arrives: half a message is what a real cut leaves.
                        sink.sendall(data[: max(0, len(data) - (self.passed_bytes - limit))])
                        self.cut()
                        return
                else:
                    self.answered_bytes += len(data)
                    limit = self.cut_after_answered_bytes
                    if limit is not None and self.answered_bytes > limit:
                        sink.sendall(data[: max(0, len(data) - (self.answered_bytes - limit))])
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
