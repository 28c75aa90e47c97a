"""Memory of the workers: how much there is, who may start, who takes too much.

A limit by `RLIMIT_AS` would count address space, of which converters reserve many times what they use. So the resident
set of each worker's process is read twice a second and compared with the limit: a process that grows faster than that
may pass it for a moment. Processes that a worker starts itself (a linker) are not counted.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INTERVAL_S = 0.5
SHARE = 0.9
"""Of the available memory, what workers may take together."""
EXPECTED_BYTES = 3 << 30
"""What a step is taken to need before it was ever run: most converters stay below it."""


def available_bytes() -> int:
    """What can be allocated now without swapping, a container's limit included."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = pages // 2  # where the system does not say what is free
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found = int(line.split()[1]) * 1024
    with suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        found = min(found, limit - int((group / "memory.current").read_text()))
    return max(found, 1 << 28)


def resident_bytes(pid: int) -> int | None:
    """The resident set of a process, where the system tells without a tool of its own (Linux)."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


class MemoryWatch:
    """Ends a process that takes more than its share. `exceeded_bytes` says how much it had, if it did."""

    def __init__(self, pid: int, limit_bytes: int, end: Callable[[], None]) -> None:
        self.exceeded_bytes: int | None = None
        self._pid, self._limit, self._end = pid, limit_bytes, end
        self._stopped = threading.Event()
        if sys.platform == "linux":
            threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Stops watching."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            resident = resident_bytes(self._pid)
            if resident is not None and resident > self._limit:
                self.exceeded_bytes = resident
                self._end()
                return


class Admission:
    """Lets jobs start while there is room: never more than `at_once`, nor more memory than there is; but always one."""

    def __init__(self, at_once: int, available: int) -> None:
        self._at_once = at_once
        self._free = int(available * SHARE)
        self._running = 0
        self._changed = threading.Condition()

    @contextmanager
    def room_for(self, expected_bytes: int) -> Iterator[None]:
        """Waits for room, and gives it back at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._running == 0 or (self._running < self._at_once and expected_bytes <= self._free)
            )
            self._running += 1
            self._free -= expected_bytes
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._free += expected_bytes
                self._changed.notify_all()
