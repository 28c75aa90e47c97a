"""Which runner a device gets for an artifact's runtime, by what the device has for it.

    auto      the Python runner where Python 3.8 or newer finds numpy and the runtime's package; else the native one
              where the runtime's C libraries are, or where there is no Python at all; else an error that says what is
              missing
    python    the Python runner
    native    the native runner; its libraries are those of the environment that `edgekit provision` made, then those of
              the device's Python packages, if it has any, then whatever its loader finds by name

The choice is a target's `runner` (the command line's `--runner` replaces it) and is made once a connection and runtime.
Both speak the same protocol, so nothing above this module knows which of them answers, except that a run records it.
Packages are looked for and not imported: one that is there and broken is an error, never silently replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edgekit import plugins
from edgekit.devices.environment.platforms import ask_platform
from edgekit.devices.native_runner import native_runner, native_triple
from edgekit.devices.runner_zip import runner_zip
from edgekit.devices.scripts.running import FIND_LIBRARIES, IN_ENVIRONMENT, RUN_NATIVE
from edgekit.errors import PluginError, RunnerError, RuntimeMissingError

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.devices.device import Device
    from edgekit.devices.environment.platforms import Platform
    from edgekit.devices.runner_device import RunnerDevice

Kind = Literal["python", "native", "browser"]

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


_FIND_PACKAGES = """
import importlib.util, sys
for name in sys.argv[1:]:
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin not in (None, "namespace"):
        print(name)
"""
"""Prints those of the packages that are there; a folder with a library in it alone is none."""


@dataclass(frozen=True)
class Runner:
    """A runner for one device: its file here, what a request needs beside what it says, and in what it is executed."""

    kind: Kind
    path: Path
    sha256: str
    fields: dict[str, Any] = field(default_factory=dict)
    execution: str = "process"

    def command(self, device: Device, path: str, request: str) -> list[str]:
        """The argv that carries out a request, with the runner at `path` on the device."""
        if self.kind == "native":
            return ["sh", "-c", RUN_NATIVE, "edgekit", path, request]
        return ["sh", "-c", IN_ENVIRONMENT, "edgekit", device.root, device.target.python, path, request]


def runner_for(device: Device, runtime: str = "") -> Runner:
    """The runner of a connected device for a runtime (`""`: for questions about the device), chosen once.

    Of a runtime that nobody knows it is left to the runner to say so.

    Raises:
        RuntimeMissingError: neither runner finds the runtime there.
        RunnerError: the device has no Python, and there is no native runner for it.
        MissingPackageError: the native runner's compiler is not installed here.
        DeviceError: the link failed.
    """
    if runtime not in device.runners:
        device.runners[runtime] = _choose(device, runtime)
    return device.runners[runtime]


def _choose(device: Device, runtime: str) -> Runner:
    if device.target.runner == "python":
        return Runner("python", *runner_zip())
    platform = ask_platform(device)
    libraries: dict[str, list[str]] | None = None
    if device.target.runner == "auto" and platform.python is not None:
        lacking = _lacking(device, runtime) if runtime in plugins.names("runtime") else ()
        if not lacking:
            return Runner("python", *runner_zip())
        libraries = find_libraries(device)
        why_not_native = _why_not_native(platform, runtime, libraries)
        if why_not_native:
            raise RuntimeMissingError(
                f"{device.name} has nothing that runs {runtime} artifacts: Python {platform.python} does not find "
                f"{' and '.join(lacking)} there, and {why_not_native}. Nothing was sent.",
                remedy=install_remedy(device, runtime),
            )
    path, sha256 = native_runner(native_triple(platform))
    return Runner("native", path, sha256, {"libraries": find_libraries(device) if libraries is None else libraries})


def natively_served(device: Device) -> dict[str, list[str]]:
    """The runtimes that the native runner would find on a device, and their libraries."""
    platform, libraries = ask_platform(device), find_libraries(device)
    return {name: paths for name, paths in libraries.items() if not _why_not_native(platform, name, libraries)}


def install_remedy(device: RunnerDevice, runtime: str, *, has_python: bool = True) -> str:
    """How to give a device a runtime that it lacks."""
    provision = f"Run `edgekit provision {device.target.name} --runtime {runtime}`"
    try:
        packages = [package.replace("_", "-") for package in plugins.load("runtime", runtime).PACKAGES]
    except PluginError:
        return "Install the runtime there."
    if not has_python:
        return f"{provision}, which brings its libraries."
    others = f" ({' or '.join(packages[1:])} will do as well)" if len(packages) > 1 else ""
    return f"{provision}, or there: {device.target.python} -m pip install {packages[0]}{others}."


def _lacking(device: Device, runtime: str) -> tuple[str, ...]:
    """What the device's Python does not find of what the Python runner needs for a runtime."""
    packages = plugins.load("runtime", runtime).PACKAGES
    argv = ["sh", "-c", IN_ENVIRONMENT, "edgekit", device.root, device.target.python, "-c", _FIND_PACKAGES]
    answer = device.run([*argv, "numpy", *packages], timeout_s=60, step=f"looking for the runtime {runtime}")
    found = set(answer.stdout.decode("utf-8", "replace").split())
    lacking = () if "numpy" in found else ("numpy",)
    return lacking if found & set(packages) else (*lacking, " or ".join(packages))


def _why_not_native(platform: Platform, runtime: str, libraries: dict[str, list[str]]) -> str:
    """Why the native runner cannot run a runtime's artifacts there; "" if it can."""
    try:
        native_triple(platform)
    except RunnerError:
        return f"there is no native runner for {platform.text}"
    needed = [pattern for some in _libraries_of(runtime).values() for pattern in some]
    if not needed:
        return f"the native runner does not know {runtime}"
    absent = [pattern for pattern in needed if not _matching(libraries.get(runtime, []), [pattern])]
    if absent:
        names = " and ".join(pattern.rpartition("/")[2].rstrip("*") for pattern in absent)
        return f"the native runner would need {names}, which is not there either"
    return ""


def _libraries_of(runtime: str) -> dict[str, tuple[str, ...]]:
    return dict(getattr(plugins.load("runtime", runtime), "LIBRARIES", {}))


def find_libraries(device: Device) -> dict[str, list[str]]:
    """The runtimes' shared libraries on a device, best first, by runtime; a runtime without any is left out."""
    patterns = {
        name: [pattern for files in _libraries_of(name).values() for pattern in files]
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
