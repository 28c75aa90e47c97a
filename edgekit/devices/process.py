"""A command under way on a device: what a transport must offer, and what its users see of it.

`Process` is the hook: a transport's own way to read some bytes, to know how it ended, and to end it. `LineStream` and
`collect` stand on it and are the same for every transport: they bound time and memory.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

MAX_OUTPUT_BYTES = 16 << 20
MAX_LINE_BYTES = 64 << 20
STDERR_TAIL_BYTES = 64 << 10


class Completed(msgspec.Struct, frozen=True):
    """How a command ended. `code` is the exit status, 128 + n where signal n ended it, as shells have it."""

    code: int
    stdout: bytes
    stderr: bytes


class Process(ABC):
    """A started command. Its methods may raise anything that the transport counts as a lost link."""

    @abstractmethod
    def read(self, timeout_s: float) -> tuple[bytes, bytes] | None:
        """Some stdout and some stderr; two empty ones after `timeout_s` of silence; None when both have ended."""

    @abstractmethod
    def code(self, timeout_s: float) -> int | None:
        """The exit status; None if there is none within `timeout_s`."""

    @abstractmethod
    def feed(self, stdin: Iterable[bytes]) -> None:
        """Writes stdin piece by piece and closes it. Called in a thread of its own; never raises for a lost link."""

    @abstractmethod
    def end(self) -> None:
        """Ends the command if it still runs, and frees what it holds. Never raises, may be called twice."""


class OutputTooLargeError(Exception):
    """A command printed more than is ever needed of it: `str` says what was too much."""


def collect(process: Process, deadline: Callable[[], float]) -> Completed | None:
    """Reads a command to its end; None if it did not end by `deadline`, a time of the monotonic clock that may move.

    Raises:
        OutputTooLargeError: it printed more than `MAX_OUTPUT_BYTES`.
    """
    stdout, stderr = bytearray(), bytearray()
    while (left := deadline() - time.monotonic()) > 0:
        chunk = process.read(left)
        if chunk is None:
            code = process.code(max(0.1, deadline() - time.monotonic()))
            return None if code is None else Completed(code, bytes(stdout), bytes(stderr))
        stdout += chunk[0]
        stderr += chunk[1]
        if len(stdout) + len(stderr) > MAX_OUTPUT_BYTES:
            raise OutputTooLargeError(f"more than {MAX_OUTPUT_BYTES >> 20} MiB")
    return None


class LineStream:
    """The stdout of a command, line by line, while it runs. Leaving its `with` block ends the command.

    Args:
        process: the command.
        guard: turns failures of the link into our errors.
        timeout: makes the error for a command that says nothing for `idle_timeout_s`.
        idle_timeout_s: how long stdout may be silent. Stderr does not count: a loop of warnings is no progress.
    """

    def __init__(
        self,
        process: Process,
        *,
        guard: Callable[[], AbstractContextManager[None]],
        timeout: Callable[[], Exception],
        idle_timeout_s: float,
    ) -> None:
        self._process = process
        self._guard = guard
        self._timeout = timeout
        self._idle_timeout_s = idle_timeout_s
        self._stderr = bytearray()
        self._buffer = bytearray()
        self._ended = False

    def __enter__(self) -> LineStream:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.end()

    def __iter__(self) -> Iterator[str]:
        """Lines without their newline, decoded as UTF-8 (what is not, is replaced).

        Raises:
            RemoteTimeoutError: silence for longer than the bound.
            ConnectionLostError: the link went down.
            RemoteCommandError: a line longer than `MAX_LINE_BYTES`.
        """
        searched = 0
        while True:
            newline = self._buffer.find(b"\n", searched)
            if newline >= 0:
                line = bytes(self._buffer[:newline])
                del self._buffer[: newline + 1]
                searched = 0
                yield line.decode("utf-8", "replace").rstrip("\r")
                continue
            searched = len(self._buffer)
            if self._ended or not self._fill():
                break
        if self._buffer:
            line = bytes(self._buffer)
            self._buffer.clear()
            yield line.decode("utf-8", "replace")

    def wait(self) -> Completed:
        """Reads on to the end; the exit status and the last 64 KiB of stderr. What was not iterated is dropped.

        Raises:
            RemoteTimeoutError: it neither ends nor says anything.
            ConnectionLostError: the link went down.
        """
        while not self._ended:
            self._buffer.clear()
            self._fill()
        with self._guard():
            code = self._process.code(self._idle_timeout_s)
        if code is None:
            raise self._timeout()
        return Completed(code, b"", self.stderr_tail)

    @property
    def stderr_tail(self) -> bytes:
        """The last 64 KiB of what it wrote to stderr so far."""
        return bytes(self._stderr)

    def _fill(self) -> bool:
        """Waits for some stdout. False at the end."""
        deadline = time.monotonic() + self._idle_timeout_s
        with self._guard():
            while (left := deadline - time.monotonic()) > 0:
                chunk = self._process.read(left)
                if chunk is None:
                    self._ended = True
                    return False
                stdout, stderr = chunk
                self._stderr += stderr
                del self._stderr[:-STDERR_TAIL_BYTES]
                self._buffer += stdout
                if len(self._buffer) > MAX_LINE_BYTES and b"\n" not in stdout:
                    raise OutputTooLargeError(f"a line of more than {MAX_LINE_BYTES >> 20} MiB")
                if stdout:
                    return True
        raise self._timeout()
