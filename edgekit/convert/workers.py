"""Worker processes: started in a session of their own, bounded in time, their output kept, ended with the chain.

Each step has a process of its own, with one exception. The worker that wrote an export and still holds it in memory
(`edgekit.convert.programs`) stays, and goes on with the first step that reads that export: it is spared the start, the
imports and the reading. That step has a log, a time limit and a memory limit like any other; should it go down there
without a word, by a crash or for want of memory, it is run again in a process of its own, so that nothing of the step
before can cost it its result.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import msgspec

from edgekit import errors
from edgekit.convert.memory import Admission, MemoryWatch, available_bytes
from edgekit.errors import ConversionError, EdgeKitError
from edgekit.files import TEMPORARY, no_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edgekit.convert.steps import Job


_NEED_NO_LOG = (errors.DataError, errors.MissingPackageError, errors.StorageError)
"""Errors that say all there is to know; a log would only send the reader on an errand."""


@dataclass(frozen=True)
class _Ended:
    """How a job ended: the last event, the status (0 for a process that stays), and what the bounds did."""

    last: dict[str, Any]
    code: int
    timed_out: bool
    exceeded_bytes: int | None

    @property
    def done(self) -> bool:
        return self.last.get("event") == "done" and self.code == 0

    @property
    def went_down(self) -> bool:
        """Neither done, nor an error, nor out of time."""
        return not self.done and self.last.get("event") != "error" and not self.timed_out


class Workers:
    """Runs jobs, each in a process, as many at once as cores and memory allow; `stop` ends all that run.

    Args:
        timeout_s: bound of each job's time.
        memory_bytes: bound of each job's resident set; a job above it is ended.
        at_once: how many run together at most.
    """

    def __init__(self, timeout_s: float, memory_bytes: int, at_once: int) -> None:
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._admission = Admission(at_once, available_bytes())
        self._running: set[subprocess.Popen[bytes]] = set()
        self._idle: dict[str, subprocess.Popen[bytes]] = {}
        """By the folder of an export: the worker that wrote it and holds it. They are among the running ones."""
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Kills every running worker and refuses new ones."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)
            for process in self._idle.values():
                process.wait()

    def run(
        self, job: Job, log: Path, on_stage: Callable[[str], None], title: str, expected_bytes: int,
        environment: Mapping[str, str] | None = None, leaves: Path | None = None,
    ) -> int | None:  # fmt: skip
        """Waits until there is room, then runs one job to its end.

        Args:
            job: whose `work` folder exists and is empty.
            log: receives all that the step prints.
            on_stage: called with the name of each stage as it begins.
            title: names the job in errors.
            expected_bytes: its resident set, as far as is known.
            environment: variables that its process gets besides ours.
            leaves: the folder that the job's export will be found in, if it writes one.

        Returns:
            Its largest resident set in bytes, if the system tells.

        Raises:
            EdgeKitError: whatever the step raised, or ConversionError if it crashed, was killed, or ran out of time or
                of its memory.
        """
        expected_bytes = min(expected_bytes, self._memory_bytes)
        with self._admission.room_for(expected_bytes):
            return self._run(job, log, on_stage, title, environment or {}, leaves)

    def _run(
        self, job: Job, log: Path, on_stage: Callable[[str], None], title: str, environment: Mapping[str, str],
        leaves: Path | None,
    ) -> int | None:  # fmt: skip
        keep = None if environment else leaves  # the next step must not inherit variables that are not for it
        with _log_of_its_own(log) as output:
            ended = None if environment else self._go_on(job, output, on_stage)
            if ended is None:
                output.seek(0, os.SEEK_END)
                process = self._start(job, output, environment)
                ended = self._follow(process, job, on_stage, keep)
        if not ended.done:
            if ended.exceeded_bytes is not None:
                raise ConversionError(
                    f"{title} took {ended.exceeded_bytes / 2**30:.1f} GiB of memory, where "
                    f"{self._memory_bytes / 2**30:.1f} GiB are allowed, and was ended.",
                    remedy=f"Give --memory more, if the machine has it. Its log is {log}.",
                )
            raise self._failure(ended.last, ended.code, log, title, timed_out=ended.timed_out)
        peak = ended.last.get("peak_rss_bytes")
        return int(peak) if peak else None

    def _go_on(self, job: Job, output: BinaryIO, on_stage: Callable[[str], None]) -> _Ended | None:
        """Runs the job in the worker that holds the export which it reads; None if there is none, or it went down."""
        with self._lock:
            process = self._idle.pop(job.reads_export or "", None)
        if process is None:
            return None
        ended = self._follow(process, msgspec.structs.replace(job, log=output.name), on_stage, None)
        if not ended.went_down:
            return ended
        shutil.rmtree(job.work)
        Path(job.work).mkdir()
        return None

    def _follow(
        self, process: subprocess.Popen[bytes], job: Job, on_stage: Callable[[str], None], keep: Path | None
    ) -> _Ended:
        """Sends a job to its worker, and bounds it until it ends; or until it is done, if it is to be kept idle."""
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(self._timeout_s, _kill, (process,))
        timer.start()
        watch = MemoryWatch(process.pid, self._memory_bytes, lambda: _kill(process))
        last: dict[str, Any] = {}
        code, idle = 0, False
        try:
            with suppress(BrokenPipeError):  # one that is dead already is reported like any other
                process.stdin.write(msgspec.json.encode(job) + b"\n")
                process.stdin.flush()
            for line in iter(process.stdout.readline, b""):
                last = msgspec.json.decode(line, type=dict[str, Any])
                if last["event"] == "stage":
                    on_stage(last["name"])
                elif last["event"] == "done":
                    idle = keep is not None and last["holds"]
                    if idle:
                        break
                    _close(process.stdin)
            if not idle:
                code = process.wait()
        finally:
            timed_out = not timer.is_alive()
            timer.cancel()
            watch.stop()
            with self._lock:
                idle = idle and not self._stopped
                if idle:
                    self._idle[str(keep)] = process
                else:
                    self._running.discard(process)
            if not idle:
                _kill(process)
                process.wait()
                _close(process.stdin)
        return _Ended(last, code, timed_out, watch.exceeded_bytes)

    def _start(self, job: Job, output: Any, more: Mapping[str, str]) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1", **more}
        with self._lock:
            if self._stopped:
                raise ConversionError("The conversion was stopped.")
            process = subprocess.Popen(
                [sys.executable, "-m", "edgekit.convert.worker", job.work],
                stdin=subprocess.PIPE,
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


@contextmanager
def _log_of_its_own(log: Path) -> Iterator[BinaryIO]:
    """A file that becomes `log` when the block ends: another chain may be running the same step."""
    temporary = log.with_name(f"{TEMPORARY}{secrets.token_hex(6)}-{log.name}")
    try:
        with temporary.open("xb") as output:
            yield output
    finally:
        temporary.replace(log)


def _close(stream: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        stream.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
