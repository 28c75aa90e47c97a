"""A command on a channel of an SSH connection."""

from __future__ import annotations

import selectors
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from edgekit.devices.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterable


class SshProcess(Process):
    """A command on a channel. Closing the channel ends the command (`scripts.WATCH`)."""

    def __init__(self, channel: Any, link: Any) -> None:
        self._channel = channel
        self._link = link
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel.fileno(), selectors.EVENT_READ)

    def read(self, timeout_s: float) -> tuple[bytes, bytes] | None:
        channel = self._channel
        if not self._ready():
            if channel.eof_received or channel.closed:
                if self._ready():
                    return b"", b""
                if not channel.eof_received and channel.exit_status < 0:
                    raise EOFError("the link went down")
                return None
            self._selector.select(timeout_s)
        stdout = channel.recv(1 << 16) if channel.recv_ready() else b""
        stderr = channel.recv_stderr(1 << 16) if channel.recv_stderr_ready() else b""
        return stdout, stderr

    def _ready(self) -> bool:
        return bool(self._channel.recv_ready() or self._channel.recv_stderr_ready())

    def code(self, timeout_s: float) -> int | None:
        if not self._channel.status_event.wait(timeout_s):
            return None
        if self._channel.exit_status < 0 and not (self._channel.eof_received and self._link.is_active()):
            raise EOFError("the link went down")
        return int(self._channel.exit_status) if self._channel.exit_status >= 0 else 255

    def feed(self, stdin: Iterable[bytes]) -> None:
        with suppress(OSError, EOFError):
            for piece in stdin:
                self._channel.sendall(memoryview(piece))  # paramiko would copy what is left after each packet
            self._channel.shutdown_write()

    def end(self) -> None:
        self._selector.close()
        with suppress(Exception):
            self._channel.close()
