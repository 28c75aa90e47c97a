"""Which runner a device gets: the Python one where there is a Python, the native one where there is none.

    auto      Python 3.8 or newer runs there: the Python runner; else the native one
    python    the Python runner
    native    the native runner; its libraries are those of the environment that `edgekit provision` made, then those of
              the device's Python packages, if it has any, then whatever its loader finds by name

The choice is a target's `runner` (the command line's `--runner` replaces it) and is made once a connection. Both speak
the same protocol, so nothing above this module knows which of them answers, except that a run records it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edgekit import plugins
from edgekit.devices.environment.platforms import ask_platform
from edgekit.devices.native_runner import native_runner, native_triple
from edgekit.devices.runner_zip import runner_zip
from edgekit.devices.scripts.running import FIND_LIBRARIES, IN_ENVIRONMENT, RUN_NATIVE

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.devices.device import Device

Kind = Literal["python", "native"]

_MOST = 16
"""Candidates a runtime that a request may carry: a device that prints thousands of them prints garbage."""

_FIND_IN_PYTHON = """
import glob, os, sys
for pattern in sys.argv[1:]:
    for folder in sys.path:
        if os.path.isdir(folder):
            for path in sorted(glob.glob(os.path.join(glob.escape(os.path.abspath(folder)), pattern))):
                print(path)
"""
"""Prints the files below the folders of packages that match; imports none of them."""


@dataclass(frozen=True)
class Runner:
    """A runner for one device: its file here, and what a request needs beside what it says."""

    kind: Kind
    path: Path
    sha256: str
    fields: dict[str, Any] = field(default_factory=dict)

    def command(self, device: Device, path: str, request: str) -> list[str]:
        """The argv that carries out a request, with the runner at `path` on the device."""
        if self.kind == "native":
            return ["sh", "-c", RUN_NATIVE, "edgekit", path, request]
        return ["sh", "-c", IN_ENVIRONMENT, "edgekit", device.root, device.target.python, path, request]


def runner_for(device: Device) -> Runner:
    """The runner of a connected device, chosen once.

    Raises:
        RunnerError: the device has no Python, and there is no native runner for it.
        MissingPackageError: the native runner's compiler is not installed here.
        DeviceError: the link failed.
    """
    if device.runner is None:
        device.runner = _choose(device)
    return device.runner


def _choose(device: Device) -> Runner:
    if device.target.runner == "python":
        return Runner("python", *runner_zip())
    platform = ask_platform(device)
    if device.target.runner == "auto" and platform.python is not None:
        return Runner("python", *runner_zip())
    path, sha256 = native_runner(native_triple(platform))
    return Runner("native", path, sha256, {"libraries": find_libraries(device)})


def find_libraries(device: Device) -> dict[str, list[str]]:
    """The runtimes' shared libraries on a device, best first, by runtime; a runtime without any is left out."""
    patterns = {
        name: [
            pattern for files in getattr(plugins.load("runtime", name), "LIBRARIES", {}).values() for pattern in files
        ]
        for name in plugins.names("runtime")
    }
    wanted = [pattern for some in patterns.values() for pattern in some]
    answer = device.script(
        FIND_LIBRARIES, device.root, device.target.python, _FIND_IN_PYTHON, *wanted,
        step="looking for the runtimes' libraries",
    )  # fmt: skip
    found = answer.decode("utf-8", "surrogateescape").splitlines()
    libraries = {name: _matching(found, some) for name, some in patterns.items()}
    return {name: paths for name, paths in libraries.items() if paths}


def _matching(paths: list[str], patterns: list[str]) -> list[str]:
    stems = tuple("/" + pattern.rstrip("*") for pattern in patterns)
    kept = [path for path in paths if any(stem in path for stem in stems)]
    return list(dict.fromkeys(kept))[:_MOST]
