"""Worker processes: started in a session of their own, bounded in time, their output kept, ended with the chain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit import errors
from edgekit.errors import ConversionError, EdgeKitError
from edgekit.files import no_space, write_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.convert.steps import Job


_NEED_NO_LOG = (errors.DataError, errors.MissingPackageError, errors.StorageError)
"""Errors that say all there is to know; a log would only send the reader on an errand."""


class Workers:
    """Runs jobs, each in a process; `stop` ends all that run."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Kills every running worker and refuses new ones."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)

    def run(self, job: Job, log: Path, on_stage: Callable[[str], None], title: str) -> None:
        """Runs one job to its end.

        Args:
            job: whose `work` folder exists and is empty.
            log: receives all that the step prints.
            on_stage: called with the name of each stage as it begins.
            title: names the job in errors.

        Raises:
            EdgeKitError: whatever the step raised, or ConversionError if it crashed, was killed or ran out of time.
        """
        request = log.with_suffix(".json")
        write_file(request, msgspec.json.encode(job))
        with log.open("wb") as output:
            process = self._start(request, output)
            timer = threading.Timer(self._timeout_s, _kill, (process,))
            timer.start()
            last: dict[str, Any] = {}
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    event = msgspec.json.decode(line, type=dict[str, Any])
                    last = event
                    if event["event"] == "stage":
                        on_stage(event["name"])
                code = process.wait()
            finally:
                timed_out = not timer.is_alive()
                timer.cancel()
                with self._lock:
                    self._running.discard(process)
                _kill(process)
                process.wait()
        if last.get("event") != "done" or code != 0:
            raise self._failure(last, code, log, title, timed_out=timed_out)

    def _start(self, request: Path, output: Any) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}
        with self._lock:
            if self._stopped:
                raise ConversionError("The conversion was stopped.")
            process = subprocess.Popen(
                [sys.executable, "-m", "edgekit.convert.worker", str(request)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                env=environment,
            )
            self._running.add(process)
        return process

    def _failure(self, last: dict[str, Any], code: int, log: Path, title: str, *, timed_out: bool) -> EdgeKitError:
        kept = f"Its log is {log}."
        if last.get("event") == "error":
            kind = getattr(errors, last["error"], ConversionError)
            what = last["what"] if kind is not ConversionError else f"{title} failed: {last['what']}"
            remedy = last["remedy"] if issubclass(kind, _NEED_NO_LOG) else f"{last['remedy']} {kept}".strip()
            error: EdgeKitError = kind(what, remedy=remedy)
            return error
        if (full := no_space(log.parent)) is not None:
            return full
        if timed_out:
            return ConversionError(
                f"{title} did not end within {self._timeout_s:.0f} s and was ended.",
                remedy=f"Give --timeout more seconds. {kept}",
            )
        if code < 0:
            name = signal.Signals(-code).name
            hint = " (the system may have run out of memory)" if name == "SIGKILL" else ""
            return ConversionError(
                f"{title} crashed: its process was ended by {name}{hint}.",
                remedy=f"The other recipes are not affected; run it again, or see the log. {kept}",
            )
        return ConversionError(f"{title} ended with status {code} without a word.", remedy=kept)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
