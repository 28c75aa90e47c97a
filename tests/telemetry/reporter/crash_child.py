"""A program that reports until it is killed. It says on its standard output, unbuffered, what it has done so far.

    python -m tests.telemetry.reporter.crash_child STATE

A line is `c N` after a checkpoint and `s N` after a window was sealed and written, with N inferences observed in all.
"""

from __future__ import annotations

import os
import sys

from edgekit.telemetry.reporter import Reporter
from tests.telemetry.reporter.models import tabular

PER_WINDOW = 40


def main(state: str) -> None:
    """Observes, and flushes now and then."""
    reporter = Reporter.open(tabular(1), state=state, background=False, window_s=1e9, queue_bytes=3000)
    observed = 0
    while True:
        for _ in range(PER_WINDOW):
            reporter.observe([float(observed % 7)])
            observed += 1
            if observed % 8 == 0:
                reporter.flush(0)  # a checkpoint
                os.write(1, f"c {observed}\n".encode())
        reporter.flush(0, seal=True)
        os.write(1, f"s {observed}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1])
