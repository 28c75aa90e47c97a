"""Runs the tests in two processes at once, for machines with two cores: the converters' beside the devices'.

    python tests/both.py [OPTION...]

Each half is an ordinary pytest run, and together they are all tests: what is not named here is in the second. Options
go to both. The exit status is 0 only if both passed. Where an option names tests (`tests/devices`), only those are run.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

TESTS = Path(__file__).parent
FIRST = ("convert", "models", "runner", "telemetry", "workflows")
"""Folders of the first half; each half takes about as long."""
GOOD = (0, 5)
"""pytest ends with 5 if options chose no test of a half."""


class Half:
    """One pytest run. Its lines are shown as they come, with its number before them."""

    def __init__(self, name: str, arguments: list[str]) -> None:
        self.name = name
        self.last: deque[str] = deque(maxlen=1)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._show)
        self._reader.start()

    def end(self) -> int:
        """Waits for it; its exit status."""
        self._reader.join()
        return self._process.wait()

    def _show(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.last.append(line)
            sys.stdout.write(f"{self.name}│ {line}")
            sys.stdout.flush()


def main(options: list[str]) -> int:
    if any(option.startswith(TESTS.name) for option in options):
        return subprocess.run([sys.executable, "-m", "pytest", *options]).returncode
    first = [str(TESTS / name) for name in FIRST]
    halves = [
        Half("1", [*options, *first]),
        Half("2", [*options, str(TESTS), *(f"--ignore={folder}" for folder in first)]),
    ]
    codes = [half.end() for half in halves]
    for half in halves:
        sys.stdout.write("".join(half.last))
    return next((code for code in codes if code not in GOOD), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
