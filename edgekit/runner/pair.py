"""Starts the runner twice, for two requests that take turns, and passes their events on, side by side.

Each is a fresh process, as any block is: nothing is loaded here. A line of theirs gets `"side":0` or `"side":1` as its
first member and is otherwise left alone, however long it is. They work one at a time, so what waits here never works.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from .turns import MORE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_READ = 1 << 20
_BEGINNING = b'{"event":'


class Ended(Exception):
    """A side ended without a last word; `code` is its exit status (128 + signal)."""

    def __init__(self, code: int) -> None:
        super().__init__("a process of the pair ended with exit status %d" % code)
        self.code = code


class Told(Exception):
    """A side ended with an `error` event, which was passed on."""


def run(requests: Sequence[str], pass_on: Callable[[bytes], object]) -> int:
    """Carries both out.

    Args:
        requests: two `bench` requests, each as JSON.
        pass_on: called with whole lines of events.

    Returns:
        The greater of the two exit statuses.

    Raises:
        Told, Ended: one of them failed; the other one was killed.
        BrokenPipeError: nobody listens to `pass_on`; likewise.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the host's: it ends all three
    sides = _start(requests)
    try:
        return _follow(sides, pass_on)
    finally:
        for side in sides:
            side.kill()


class _Side:
    """One of the two: its process, and what it has said of a line so far."""

    def __init__(self, number: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.status = None  # type: int | None
        self.failed = False
        self._label = b'{"side":%d,"event":' % number
        self._begun = bytearray()

    def lines(self) -> list[bytes] | None:
        """What came since, in whole lines with their side; None at the end."""
        assert self.process.stdout is not None
        came = os.read(self.process.stdout.fileno(), _READ)
        if not came:
            return None
        self._begun += came
        if b"\n" not in came:
            return []  # a line of megabytes is looked through once
        *whole, rest = self._begun.split(b"\n")
        self._begun = rest
        return [self._labelled(bytes(line)) for line in whole]

    def _labelled(self, line: bytes) -> bytes:
        for name in (b'"done"', b'"error"'):
            if line.startswith(_BEGINNING + name):
                event = json.loads(line)
                self.status, self.failed = event.get("status"), event["event"] == "error"
        return (self._label + line[len(_BEGINNING) :] if line.startswith(_BEGINNING) else line) + b"\n"

    def code(self) -> int:
        code = self.process.wait()
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def _start(requests: Sequence[str]) -> list[_Side]:
    """Both processes, with a pipe from each to the other; the first has the turn."""
    to_first, to_second = os.pipe(), os.pipe()
    os.write(to_first[1], MORE)
    ways = [("first", to_first[0], to_second[1]), ("second", to_second[0], to_first[1])]
    sides = []  # type: list[_Side]
    try:
        for number, (request, (role, take, give)) in enumerate(zip(requests, ways)):
            command = [*_itself(), request, "%s,%d,%d" % (role, take, give)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(take, give))
            sides.append(_Side(number, process))
    except BaseException:  # whatever it is: no process stays behind; it is raised again
        for side in sides:
            side.kill()
        raise
    finally:
        for end in (*to_first, *to_second):
            os.close(end)  # only the two hold them now: who ends is missed by the other
    return sides


def _itself() -> list[str]:
    """The command that this program was started by, without its arguments."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name.endswith(".__main__"):
        return [sys.executable, "-m", spec.parent]
    return [sys.executable, sys.argv[0]]


def _follow(sides: Sequence[_Side], pass_on: Callable[[bytes], object]) -> int:
    with selectors.DefaultSelector() as selector:
        for side in sides:
            assert side.process.stdout is not None
            selector.register(side.process.stdout, selectors.EVENT_READ, side)
        while selector.get_map():
            for key, _ in selector.select():
                lines = key.data.lines()
                if lines is None:
                    selector.unregister(key.fileobj)
                    _check(key.data)
                    if key.data.status:
                        return int(key.data.status)
                    continue
                for line in lines:
                    pass_on(line)
    return 0


def _check(side: _Side) -> None:
    """Raises if a side that has ended ended badly."""
    if side.failed:
        raise Told
    code = side.code()
    if side.status is None:
        raise Ended(code or 1)
