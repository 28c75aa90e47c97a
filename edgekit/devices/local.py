"""The `local` transport: this machine as a device, by the same steps and checks as any other."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from edgekit.devices.process import Process
from edgekit.devices.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edgekit.devices.source import Source

_BLOCK_BYTES = 1 << 20
_EXEC = 'exec "$@"'
"""Through a shell's exec, so that a missing command is exit status 127 with a message, as over SSH."""


class LocalTransport(Transport):
    """Subprocesses, each in a session of its own, so that all of it can be ended."""

    @property
    def describe(self) -> str:
        return "this machine"

    def _connect(self) -> None:
        pass

    def _disconnect(self) -> None:
        pass

    def _start(self, argv: Sequence[str], *, feeds: bool) -> Process:
        return LocalProcess(
            subprocess.Popen(
                ["sh", "-c", _EXEC, "sh", *argv],
                stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        )

    def _put(self, source: Source, remote: str, *, append: bool, on_bytes: Callable[[int], None]) -> None:
        try:
            with open(remote, "ab" if append else "wb") as file:  # noqa: PTH123 - a path there, not one here
                for block in source.blocks(_BLOCK_BYTES):
                    file.write(block)
                    on_bytes(len(block))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if not append:
                with suppress(OSError):
                    os.unlink(remote)  # noqa: PTH108 - likewise
            trouble = self.storage_error(f"writing {remote}", error)
            if trouble is None:
                raise
            raise trouble from error


class LocalProcess(Process):
    """A subprocess whose whole process group ends with it."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._selector = selectors.DefaultSelector()
        for pipe in (popen.stdout, popen.stderr):
            self._selector.register(_pipe(pipe), selectors.EVENT_READ)

    def read(self, timeout_s: float) -> tuple[bytes, bytes] | None:
        if not self._selector.get_map():
            return None
        stdout = stderr = b""
        for key, _ in self._selector.select(timeout_s):
            data = os.read(key.fd, 1 << 16)
            if not data:
                self._selector.unregister(key.fileobj)
            elif key.fileobj is self._popen.stdout:
                stdout = data
            else:
                stderr = data
        return stdout, stderr

    def code(self, timeout_s: float) -> int | None:
        try:
            code = self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return code if code >= 0 else 128 - code

    def feed(self, stdin: Iterable[bytes]) -> None:
        with suppress(OSError), _pipe(self._popen.stdin) as pipe:
            for piece in stdin:
                pipe.write(piece)
                pipe.flush()

    def end(self) -> None:
        if self._popen.poll() is None:
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + 1
            while self._popen.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
        self._signal(signal.SIGKILL)  # also whatever it started and left behind
        self._popen.wait()
        self._selector.close()
        for pipe in (self._popen.stdout, self._popen.stderr):
            _pipe(pipe).close()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
