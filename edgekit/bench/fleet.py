"""Many devices at once: one job a device, devices in parallel, as many as the host has workers for.

What a device gives is what it gives alone: a job is the same code that measures one target, with its own connection and
the device's lock. Two targets that are one machine (the same boot: `local` and its own sshd, a phone on USB and on the
network) would disturb each other, so they take turns. So does this machine with all of the others: serving them loads
it, and it is measured when they are done.

A device that is away, busy or broken is an outcome like any other, and stops nobody.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from edgekit.devices.device import connect_runner
from edgekit.errors import (
    EXIT_DONE,
    EXIT_INCONCLUSIVE,
    ConnectionLostError,
    DeviceBusyError,
    EdgeKitError,
    RemoteTimeoutError,
    UnreachableDeviceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from edgekit.devices import Target

T = TypeVar("T")
R = TypeVar("R")
WORKERS = 8
"""Devices at a time. A worker costs the host little but while it pushes."""
STOP_S = 20.0
"""How long a stopped worker may take to end its runner and to release its lock."""
AWAY = (UnreachableDeviceError, ConnectionLostError, DeviceBusyError, RemoteTimeoutError)
"""What says nothing of an artifact: inconclusive, as for `gate`."""

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Stopped(Exception):  # noqa: N818 - no error: nobody is told
    """Ends a job from within one of its callbacks: whoever started them all was interrupted."""


@dataclass(frozen=True)
class Part(Generic[T]):
    """What became of one target: what its job gave, or the error that ended it; seconds include waiting its turn."""

    target: Target
    found: T | None
    error: EdgeKitError | None
    seconds: float

    @property
    def away(self) -> bool:
        """Whether it was not measured because it was not there."""
        return isinstance(self.error, AWAY)


def exit_status_of(error: EdgeKitError) -> int:
    """The exit status that an error of one device among many has: 4 for one that is away."""
    return EXIT_INCONCLUSIVE if isinstance(error, AWAY) else error.exit_status


def worst(statuses: Sequence[int]) -> int:
    """The exit status of all together: an error (1) before a failed check (3) before what is inconclusive (4)."""
    return min((status for status in statuses if status != EXIT_DONE), default=EXIT_DONE)


def measure_all(
    targets: Sequence[Target],
    job: Callable[[Target, Callable[[], None]], T],
    *,
    workers: int = WORKERS,
    on_part: Callable[[Part[T]], None] = lambda _part: None,
) -> list[Part[T]]:
    """Runs a job for each target and returns what became of them, in the order of the targets.

    Args:
        targets: with different names.
        job: connects, locks, measures. It is given the target and a function to call from its callbacks, which raises
            `Stopped` when all is to end. It runs in a thread of its own.
        workers: how many devices at a time.
        on_part: told each part as it comes, in the caller's thread.

    Raises:
        KeyboardInterrupt: all jobs were stopped.
        Exception: what a job raised that is no EdgeKitError, when all others are done.
    """
    parts: dict[str, Part[T]] = {}
    machines: dict[str, list[Target]] = {}

    def keep(part: Part[T]) -> None:
        parts[part.target.name] = part
        on_part(part)

    with _Crew(workers) as crew:
        asked = crew.each([partial(_machine, target) for target in targets])
        for target, machine in sorted(asked, key=lambda one: targets.index(one[0])):
            if isinstance(machine, EdgeKitError):
                keep(Part(target, None, machine, 0.0))
            else:
                machines.setdefault(machine, []).append(target)
        here = machines.pop(_own_boot_id(), [])
        for groups in (list(machines.values()), [here] if here else []):
            for part in crew.each([partial(_in_turn, group, job, crew.go_on) for group in groups]):
                keep(part)
    return [parts[target.name] for target in targets]


def _machine(target: Target) -> Iterator[tuple[Target, str | EdgeKitError]]:
    """What tells whether two targets are one machine: its boot id, else its address; or why it cannot be asked."""
    try:
        with connect_runner(target) as device:
            yield target, device.ask_boot_id() or device.describe
    except EdgeKitError as error:
        yield target, error


def _own_boot_id() -> str:
    try:
        return Path(_BOOT_ID).read_text(encoding="ascii").strip()
    except OSError:
        return "this machine does not tell"


def _in_turn(
    targets: Sequence[Target], job: Callable[[Target, Callable[[], None]], T], go_on: Callable[[], None]
) -> Iterator[Part[T]]:
    """The jobs of one machine, one after another."""
    began = time.monotonic()
    for target in targets:
        go_on()
        try:
            found, error = job(target, go_on), None
        except EdgeKitError as failure:
            yield Part(target, None, failure, time.monotonic() - began)
        else:
            yield Part(target, found, error, time.monotonic() - began)


class _Crew:
    """A bounded number of threads, which end with the block: by themselves, or because they are told to."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> _Crew:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        end = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def go_on(self) -> None:
        """Raises `Stopped` once all is to end."""
        if self._stop.is_set():
            raise Stopped

    def each(self, tasks: Sequence[Callable[[], Iterator[R]]]) -> Iterator[R]:
        """What the tasks yield, as it comes; tasks begin in their order."""
        waiting: queue.SimpleQueue[Callable[[], Iterator[R]]] = queue.SimpleQueue()
        came: queue.Queue[R | _Ended] = queue.Queue()
        for task in tasks:
            waiting.put(task)

        def work() -> None:
            failure = None
            try:
                while True:
                    for item in waiting.get_nowait()():
                        came.put(item)
            except (queue.Empty, Stopped):
                pass
            except Exception as error:  # a bug: it ends this program, but not what the others measure
                failure = error
            came.put(_Ended(failure))

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(self._workers, len(tasks)))]
        self._threads += threads
        for thread in threads:
            thread.start()
        running, failures = len(threads), list[Exception]()
        while running:
            item = came.get()
            if isinstance(item, _Ended):
                running -= 1
                failures += [item.failure] if item.failure is not None else []
            else:
                yield item
        if failures:
            raise failures[0]


@dataclass(frozen=True)
class _Ended:
    """A thread's last word."""

    failure: Exception | None
