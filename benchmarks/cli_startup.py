"""CPU seconds of `edgekit --help` against `python -c "import click"`, in pairs.

    python benchmarks/cli_startup.py [--pairs 20]

User and system time of one process, from the kernel (wait4, which is what RUSAGE_CHILDREN adds up). The order
alternates; the first pair fills the caches and is not counted. Goals: less than 0.25 s, and less than twice the import
of click.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from report import machine, spread


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    program = [str(Path(sys.executable).with_name("edgekit")), "--help"]
    click = [sys.executable, "-c", "import click"]
    ours: list[float] = []
    theirs: list[float] = []
    for pair in range(pairs + 1):
        for command, into in ((program, ours), (click, theirs))[:: 1 if pair % 2 else -1]:
            into.append(_cpu_seconds(command))
    ours, theirs = ours[1:], theirs[1:]
    print(machine("click"))
    print(f"\n{'':28} median (min to max), {pairs} pairs")
    for label, values in (
        ("edgekit --help, CPU s", ours),
        ('python -c "import click"', theirs),
        ("ratio in a pair", [a / b for a, b in zip(ours, theirs, strict=True)]),
    ):
        print(f"{label:28} {spread(values)}")


def _cpu_seconds(command: list[str]) -> float:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
