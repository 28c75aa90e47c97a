"""Who may start, and who takes too much."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgekit.convert.memory import Admission, MemoryWatch, available_bytes, resident_bytes

GIB = 1 << 30


def test_what_is_available_is_less_than_there_is() -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < available_bytes() < total


@pytest.mark.parametrize(
    ("at_once", "available", "expected", "together"),
    [(2, 100 * GIB, GIB, 2), (4, 100 * GIB, GIB, 4), (4, 10 * GIB, 4 * GIB, 2), (4, GIB, 4 * GIB, 1)],
)
def test_as_many_as_fit_but_always_one(at_once: int, available: int, expected: int, together: int) -> None:
    admission = Admission(at_once, available)
    running, most = 0, 0
    lock = threading.Lock()

    def job() -> None:
        nonlocal running, most
        with admission.room_for(expected):
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.05)
            with lock:
                running -= 1

    threads = [threading.Thread(target=job) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert running == 0
    assert most == together


def test_a_job_that_fails_gives_its_room_back() -> None:
    admission = Admission(1, GIB)
    with pytest.raises(ValueError, match="no"), admission.room_for(GIB):
        raise ValueError("no")
    with admission.room_for(GIB):
        pass


def test_a_process_that_grows_is_ended() -> None:
    script = "held = []\nwhile True:\n    held.append(bytes(range(256)) * 65536)\n"
    process = subprocess.Popen([sys.executable, "-c", script])
    watch = MemoryWatch(process.pid, 1 << 28, process.kill)
    assert process.wait(30) == -9
    watch.stop()
    assert watch.exceeded_bytes is not None
    assert watch.exceeded_bytes > 1 << 28


def test_a_process_within_its_bound_is_left_alone() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1.2)"])
    watch = MemoryWatch(process.pid, GIB, process.kill)
    assert (resident_bytes(process.pid) or 0) > 0
    assert process.wait(30) == 0
    watch.stop()
    assert watch.exceeded_bytes is None
    assert resident_bytes(process.pid) is None
