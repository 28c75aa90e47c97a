"""Kills and torn writes at 1,000 seeded points each: `python -m benchmarks.reporter_crash [KILLS] [TEARS]`.

A kill is SIGKILL to a program that reports, at a random moment, on top of what earlier ones left; it had told on a
pipe what it had written, and all of that must be there afterwards, once. A torn write is a journal cut at a random
byte, with or without noise after it. The checks are those of tests/telemetry/reporter/test_crash.py.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.telemetry.reporter import test_crash


def main(kills: int = 1000, tears: int = 1000) -> None:
    """Prints a line for each kind; an assertion that fails ends it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw = random.Random(20_000)
        begun = time.monotonic()
        for i in range(kills):
            state = folder / f"state-{i // 20}"
            test_crash.one_kill(state, draw.uniform(0, 0.15))
            if i % 20 == 19:
                shutil.rmtree(state)
        print(
            f"kill -9: {kills} points, no sealed window lost or doubled ({time.monotonic() - begun:.0f} s)", flush=True
        )
        begun = time.monotonic()
        test_crash.CRASHES = tears
        work = folder / "torn"
        work.mkdir()
        test_crash.test_a_journal_cut_anywhere_is_some_earlier_state(work)
        print(f"torn writes: {tears} points, likewise ({time.monotonic() - begun:.0f} s)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
