"""A browser of this machine, started headless for one page: its own process, its own empty profile, gone afterwards.

It is Chromium or what is made of it: Chrome, Edge. It is told to end when a pipe of ours closes, so that none outlives
an EdgeKit that was killed. By that pipe it is told its address, too: whoever is on this machine may read command lines.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from edgekit.errors import StorageError, UnreachableDeviceError
from edgekit.files import explain_os_error

PROGRAMS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge",
    "microsoft-edge-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)  # fmt: skip
"""Looked for in this order, by name in PATH or as files."""
FLAGS = (
    "--remote-debugging-pipe",  # it ends when that closes
    "--no-first-run", "--no-default-browser-check", "--disable-default-apps", "--disable-extensions", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--password-store=basic",
    "--use-mock-keychain", "--mute-audio",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--enable-blink-features=ForceEagerMeasureMemory",  # else a page waits for the next garbage collection
)  # fmt: skip
_WITH_PIPES = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null'
_END_S = 2.0
_SAID_BYTES = 400


def find_browser(program: str | None) -> str:
    """The path of a browser: the one that the target names, or the first that is installed.

    Raises:
        UnreachableDeviceError: there is none.
    """
    for name in (program,) if program is not None else PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return found
    what = f"no program {program!r}" if program is not None else "neither Chromium, Chrome nor Edge"
    raise UnreachableDeviceError(
        f"There is {what} on this machine to measure in.",
        remedy="Install one (Debian: apt install chromium), name it as `program` in [browser] of the target, or set "
        "`start = false` there and open the page in a browser yourself.",
    )


class Browser:
    """A browser that was started on an address. `end` it."""

    def __init__(self, program: str, url: str, *, headless: bool, arguments: tuple[str, ...]) -> None:
        """Starts it.

        Raises:
            StorageError: there is no room for its profile.
            UnreachableDeviceError: it cannot be started.
        """
        try:
            self._profile = Path(tempfile.mkdtemp(prefix="edgekit-browser-"))
        except OSError as error:
            raise StorageError(f"A profile for the browser cannot be made: {error}.", remedy="Make room.") from error
        flags = [*FLAGS, f"--user-data-dir={self._profile}", *(["--headless=new"] if headless else [])]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium refuses to start as root with it
        self._log = self._profile / "edgekit.log"
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    ["sh", "-c", _WITH_PIPES, "sh", program, *flags, *arguments, "about:blank"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True, bufsize=0,
                )  # fmt: skip
        except OSError as error:
            shutil.rmtree(self._profile, ignore_errors=True)
            raise explain_os_error(error, program) from error
        self._open(url)

    def _open(self, url: str) -> None:
        assert self._process.stdin is not None
        opened = {"id": 1, "method": "Target.createTarget", "params": {"url": url}}
        with suppress(OSError):  # it has ended: `status` tells
            self._process.stdin.write(json.dumps(opened).encode() + b"\0")

    @property
    def status(self) -> int | None:
        """Its exit status, as shells have it; None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    @property
    def said(self) -> str:
        """The end of what it wrote to standard error."""
        try:
            return self._log.read_bytes()[-_SAID_BYTES:].decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def end(self) -> None:
        """Ends it and all its processes, and removes its profile. Never raises, may be called twice."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            if number == signal.SIGTERM:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END_S)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        deadline = time.monotonic() + _END_S
        while self._profile.exists() and time.monotonic() < deadline:  # its children still write while they end
            shutil.rmtree(self._profile, ignore_errors=True)
            time.sleep(0.01)
