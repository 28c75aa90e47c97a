"""pip, run to fetch wheels for a machine that is not this one.

pip chooses versions, keeps what it has fetched in its own cache, and checks every file against the index. Two things
it does not do are done here: it reads a requirement's markers (`python_version < "3.11"`) for this machine instead of
the device, and it blames "no matching distribution" on a network that is down.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgekit.devices.environment.platforms import Platform

FETCH_S = 3600
_LOOK_S = 60
_NETWORK = re.compile(
    r"Failed to establish|Temporary failure in name|Name or service not known|Network is unreachable|"
    r"Connection refused|No route to host|timed out|ProxyError|SSLError|ConnectionError|RemoteDisconnected|"
    r"Max retries|getaddrinfo|50[234] (Server Error|Bad Gateway|Service|Gateway)"
)


class PipError(Exception):
    """pip did not fetch everything: `kind` is network, no-wheel, no-pip or other."""

    def __init__(self, kind: str, said: str) -> None:
        super().__init__(said)
        self.kind = kind


class Interpreter(msgspec.Struct, frozen=True):
    """For whom pip chooses wheels."""

    python: str
    implementation: str
    abi: str
    platforms: tuple[str, ...]

    def options(self) -> list[str]:
        """As pip takes them."""
        named = [option for tag in self.platforms for option in ("--platform", tag)]
        abi = ["--abi", self.abi] if self.abi else []
        return [*named, "--python-version", self.python, "--implementation", self.implementation, *abi]


def interpreter_of(platform: Platform, python: str | None = None) -> Interpreter:
    """The device's interpreter; with `python` ("3.12"), CPython of that version on the device's platform."""
    platforms = tuple(platform.wheel_platforms())
    if python is not None:
        return Interpreter(python, "cp", f"cp{python.replace('.', '')}", platforms)
    implementation = "cp" if platform.implementation == "cpython" else platform.implementation[:2]
    return Interpreter(platform.python or "3.11", implementation, platform.abi, platforms)


def download(
    requirements: Sequence[str], interpreter: Interpreter, folder: Path, *, links: Path | None, deps: bool = True
) -> None:
    """Fetches the wheels of requirements, and what they require, into a folder.

    Args:
        requirements: such as `ai-edge-litert==2.3.0`.
        interpreter: for whom.
        folder: where they go.
        links: a folder with wheels that stands in for the index; None asks the index.
        deps: whether what they require comes along.

    Raises:
        PipError: not everything was fetched.
    """
    source = ["--no-index", "--find-links", str(links)] if links is not None else []
    _run([
        "download", "--quiet", "--no-input", "--progress-bar", "off", "--retries", "1", "--timeout", "30",
        "--only-binary=:all:", *([] if deps else ["--no-deps"]), *source, *interpreter.options(),
        "--dest", str(folder), *requirements,
    ], FETCH_S)  # fmt: skip


def has_wheel(distribution: str, interpreter: Interpreter) -> bool:
    """Whether the index has any wheel of a distribution for that interpreter."""
    try:
        _run(["index", "versions", distribution, "--only-binary=:all:", "--retries", "0", *interpreter.options()],
             _LOOK_S)  # fmt: skip
    except PipError:
        return False
    return True


def _run(arguments: Sequence[str], timeout_s: float) -> None:
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PipError("network", f"pip did not finish within {timeout_s:.0f} s") from error
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise PipError("no-pip", "there is no pip in the Python that runs EdgeKit")
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    said = " ".join(errors[:2])[:500] or done.stderr.strip()[-300:]
    if _NETWORK.search(done.stderr):
        raise PipError("network", said)
    raise PipError("no-wheel" if re.search(r"No matching distribution|Could not find a version", said) else "other",
                     said)  # fmt: skip
