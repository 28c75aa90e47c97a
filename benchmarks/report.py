"""What the benchmarks share: the median with its spread, and one line about the machine they ran on."""

from __future__ import annotations

import os
import platform
import statistics
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def spread(values: Sequence[float], digits: int = 3) -> str:
    """`median (min to max)`."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def machine(*distributions: str) -> str:
    """Date, processor, cores, load and Python; then the versions of `distributions`."""
    used = ", ".join(f"{name} {version(name)}" for name in distributions)
    return (
        f"{datetime.now(timezone.utc):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.2f}, Python {platform.python_version()}" + (f", {used}" if used else "")
    )
