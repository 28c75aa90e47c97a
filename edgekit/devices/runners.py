"""Which runner a device gets for an artifact's runtime, by what the device has for it.

    auto      the Python runner where Python 3.8 or newer finds numpy and the runtime's package; else the native one
              where the runtime's C libraries are, or where there is no Python at all; else an error that says what is
              missing
    python    the Python runner
    native    the native runner; its libraries are those of the environment that `edgekit provision` made, then those of
              the device's Python packages, if it has any, then whatever its loader finds by name. Where the device has
              no glibc, it runs with the one of that environment, and is given nothing but that environment's libraries

The choice is a target's `runner` (the command line's `--runner` replaces it) and is made once a connection and runtime.
Both speak the same protocol, so nothing above this module knows which of them answers, except that a run records it.
Packages are looked for and not imported: one that is there and broken is an error, never silently replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edgekit import plugins
from edgekit.devices.environment import glibc
from edgekit.devices.environment.platforms import ask_platform
from edgekit.devices.native_runner import native_runner, native_triple
from edgekit.devices.runner_zip import runner_zip
from edgekit.devices.scripts.running import FIND_LIBRARIES, IN_ENVIRONMENT, RUN_NATIVE, RUN_WITH_LOADER
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
    """A runner for one device: its file here, what a request needs beside what it says, and in what it is executed.

    `loader` is the path there of a glibc's loader that was brought along, for a native runner linked with it.
    """

    kind: Kind
    path: Path
    sha256: str
    fields: dict[str, Any] = field(default_factory=dict)
    execution: str = "process"
    loader: str = ""

    def command(self, device: Device, path: str, request: str) -> list[str]:
        """The argv that carries out a request, with the runner at `path` on the device."""
        if self.loader:
            return ["sh", "-c", RUN_WITH_LOADER, "edgekit", self.loader, path, request]
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
    found: Found | None = None
    if device.target.runner == "auto" and platform.python is not None:
        lacking = _lacking(device, runtime) if runtime in plugins.names("runtime") else ()
        if not lacking:
            return Runner("python", *runner_zip())
        found = look(device, platform)
        why_not_native = _why_not_native(platform, runtime, found)
        if why_not_native:
            raise RuntimeMissingError(
                f"{device.name} has nothing that runs {runtime} artifacts: Python {platform.python} does not find "
                f"{' and '.join(lacking)} there, and {why_not_native}. Nothing was sent.",
                remedy=install_remedy(device, runtime),
            )
    triple = native_triple(platform)
    found = found or look(device, platform)
    if glibc.is_lacking(platform) and not found.loader:
        raise RuntimeMissingError(
            f"{device.name} ({platform.text}) has no glibc, which the native runner and the runtimes' libraries need. "
            "Nothing was sent.",
            remedy=f"Run `edgekit provision {device.target.name} --native`, which brings one beside them.",
        )
    return Runner("native", *native_runner(triple, found.loader), {"libraries": found.libraries}, loader=found.loader)


def natively_served(device: Device) -> dict[str, list[str]]:
    """The runtimes that the native runner would find on a device, and their libraries."""
    platform = ask_platform(device)
    found = look(device, platform)
    return {name: paths for name, paths in found.libraries.items() if not _why_not_native(platform, name, found)}


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


def _why_not_native(platform: Platform, runtime: str, found: Found) -> str:
    """Why the native runner cannot run a runtime's artifacts there; "" if it can."""
    try:
        native_triple(platform)
    except RunnerError:
        return f"there is no native runner for {platform.text}"
    if glibc.is_lacking(platform) and not found.loader:
        return "the native runner would need a glibc, which is not there either"
    needed = [pattern for some in _libraries_of(runtime).values() for pattern in some]
    if not needed:
        return f"the native runner does not know {runtime}"
    absent = [pattern for pattern in needed if not _matching(found.libraries.get(runtime, []), [pattern])]
    if absent:
        names = " and ".join(pattern.rpartition("/")[2].rstrip("*") for pattern in absent)
        return f"the native runner would need {names}, which is not there either"
    return ""


def _libraries_of(runtime: str) -> dict[str, tuple[str, ...]]:
    return dict(getattr(plugins.load("runtime", runtime), "LIBRARIES", {}))


@dataclass(frozen=True)
class Found:
    """What lies on a device for the native runner: libraries by runtime, best first; and a brought glibc's loader."""

    libraries: dict[str, list[str]]
    loader: str = ""


def look(device: Device, platform: Platform) -> Found:
    """Looks for the runtimes' shared libraries on a device; a runtime without any is left out.

    Where the device's own C library is another one, only what was brought counts.
    """
    patterns = {
        name: [pattern for files in _libraries_of(name).values() for pattern in files]
        for name in plugins.names("runtime")
    }
    wanted = [pattern for some in patterns.values() for pattern in some]
    loader = [glibc.loader_of(platform)] if glibc.is_lacking(platform) else []
    python = "" if loader else device.target.python
    answer = device.script(
        FIND_LIBRARIES, device.root, python, _FIND_IN_PYTHON, *wanted, *loader,
        step="looking for the runtimes' libraries",
    )  # fmt: skip
    found = answer.decode("utf-8", "surrogateescape").splitlines()
    libraries = {name: _matching(found, some) for name, some in patterns.items()}
    return Found({name: paths for name, paths in libraries.items() if paths}, next(iter(_matching(found, loader)), ""))


def _matching(paths: list[str], patterns: list[str]) -> list[str]:
    stems = tuple("/" + pattern.rstrip("*") for pattern in patterns)
    kept = [path for path in paths if any(stem in path for stem in stems)]
    return list(dict.fromkeys(kept))[:_MOST]
