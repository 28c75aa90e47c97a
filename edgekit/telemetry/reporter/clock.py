"""Clocks: the wall's for where a window belongs, the monotonic one for how long it was.

And whether the system believes its wall clock.
"""

from __future__ import annotations

import os
import sys
import time

SYNCHRONISED_FILES = ("/run/systemd/timesync/synchronized",)
_UNSYNCHRONISED = 0x40  # STA_UNSYNC of <sys/timex.h>
_ERROR = 5  # TIME_ERROR
_STATUS_OFFSET = 40  # of `status` in struct timex where long has 8 bytes; 20 where it has 4
_TIMEX_BYTES = 512


class Clock:
    """The system's clocks. Tests give another one."""

    def wall_ns(self) -> int:
        """ns since 1970; may jump both ways."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """ns since some moment; never goes back."""
        return time.monotonic_ns()

    def synced(self) -> bool | None:
        """Whether the system believes that its wall clock is synchronised; None where it does not tell."""
        if any(os.path.exists(path) for path in SYNCHRONISED_FILES):
            return True
        if not sys.platform.startswith("linux"):
            return None
        try:
            import ctypes

            size = ctypes.sizeof(ctypes.c_long)
            timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes = 0: only reads
            state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
            status = ctypes.c_int.from_buffer(timex, _STATUS_OFFSET if size == 8 else _STATUS_OFFSET // 2).value
        except (ImportError, OSError, AttributeError):
            return None
        return None if state < 0 else state != _ERROR and not status & _UNSYNCHRONISED
