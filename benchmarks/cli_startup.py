"""CPU seconds of `edgekit --help` against `python -c "import click"`, in pairs.

    python benchmarks/cli_startup.py [--pairs 20]

Goals: less than 0.25 s, and less than twice the import of click.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    program = [str(Path(sys.executable).with_name("edgekit")), "--help"]
    click = [sys.executable, "-c", "import click"]
    ours, theirs = [], []
    for _ in range(pairs + 1):
        ours.append(_cpu_seconds(program))
        theirs.append(_cpu_seconds(click))
    ours, theirs = ours[1:], theirs[1:]
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    for label, values in (("edgekit --help", ours), ("import click", theirs), ("ratio", ratios)):
        print(f"{label:16} median {statistics.median(values):.3f}  min {min(values):.3f}  max {max(values):.3f}")


def _cpu_seconds(command: list[str]) -> float:
    """User and system time of one process, from wait4: exact to the microsecond where the kernel accounts so."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
