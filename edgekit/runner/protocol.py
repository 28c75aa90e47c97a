"""Event lines: one JSON object a line, on a stream of their own.

A runtime may print to standard output whenever it likes (C++ libraries do). So the real standard output is moved to a
private descriptor before anything is loaded, and descriptor 1 becomes a copy of standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, TextIO

HEARTBEAT_S = 0.5


class Events:
    """Writes events; every line is flushed, so that the host sees how far a run came."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = 0.0

    @classmethod
    def on_stdout(cls) -> Events:
        """Takes standard output for the events alone; from now on prints go to standard error."""
        sys.stdout.flush()
        stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        return cls(stream)

    def emit(self, event: str, **fields: Any) -> None:
        """Writes one line. A host that is gone ends the program here (BrokenPipeError)."""
        self._stream.write(json.dumps(dict(event=event, **fields), separators=(",", ":"), allow_nan=False) + "\n")
        self._stream.flush()
        self._last = time.monotonic()

    def pass_on(self, line: bytes) -> None:
        """Writes a line that another process of ours made."""
        self._stream.write(line.decode("utf-8"))
        self._stream.flush()

    def heartbeat(self, **fields: Any) -> None:
        """A `progress` line if none of any kind went out for half a second: silence means a hang."""
        if time.monotonic() - self._last >= HEARTBEAT_S:
            self.emit("progress", **fields)
