"""Why there is no wheel, in words: which platform, what is missing, and the nearest thing that would do."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import msgspec

from edgekit.devices.environment.pip import PipError, has_wheel, interpreter_of
from edgekit.errors import NoWheelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgekit.devices.environment.platforms import Platform

_PYTHONS = ("3.14", "3.13", "3.12", "3.11", "3.10")
_NEWER_GLIBC = "2.39"


def refusal(
    name: str, requirements: Sequence[str], platform: Platform, failure: PipError, offline: Path | None
) -> NoWheelError:
    """The error for a failure of pip; asks the index what would be there for a platform near by."""
    wanted = ", ".join(requirements)
    if failure.kind == "no-pip":
        return NoWheelError(f"The wheels for {name} cannot be fetched: {failure}.", remedy="Run: python -m ensurepip")
    if failure.kind == "network":
        return NoWheelError(
            f"The wheels for {name} ({platform.text}) cannot be fetched: the package index does not answer. Missing: "
            f"{wanted}.",
            remedy=f"Check the network of this machine. Or run on one that has it: {command(requirements, platform)} "
            "and give the folder here: --offline-cache wheels",
        )
    if failure.kind == "other":
        return NoWheelError(
            f"pip cannot fetch {wanted} for {name} ({platform.text}): {failure}.", remedy="Correct what it names."
        )
    if platform.libc in ("bionic", "musl"):
        return NoWheelError(
            f"There is no wheel of {wanted} for {name} ({platform.text}): {failure}.", remedy=nearest(wanted, platform)
        )
    if offline is not None:
        return NoWheelError(
            f"{offline} lacks wheels for {name} ({platform.text}): {failure}.",
            remedy=f"Fetch them with: {command(requirements, platform)} --dest {shlex.quote(str(offline))}",
        )
    return NoWheelError(
        f"There is no wheel of {wanted} for {name} ({platform.text}): {failure}.", remedy=nearest(wanted, platform)
    )


def command(requirements: Sequence[str], platform: Platform) -> str:
    """The command that fetches the wheels elsewhere."""
    interpreter = interpreter_of(platform)
    argv = ["python3", "-m", "pip", "download", "--only-binary=:all:", *interpreter.options()]
    return shlex.join([*argv, "--dest", "wheels", *requirements])


def nearest(wanted: str, platform: Platform) -> str:
    """What would have a wheel: another Python there, or a newer system."""
    if platform.libc == "bionic":
        return "Of Android devices those with a 64-bit system are served: aarch64 and x86_64."
    first = wanted.partition(",")[0].partition("==")[0].strip()
    if platform.machine == "armv7l":
        return (
            "On 32-bit ARM, tflite-runtime with the distribution's numpy (older than 2) is all there is. Run there: "
            "sudo apt install python3-numpy && python3 -m pip install tflite-runtime (Python 3.11 or older), or "
            "install a 64-bit system."
        )
    if platform.libc == "musl":
        return "Most runtimes have no wheel for musl: add --native, which brings a glibc beside the native runner."
    pythons = [python for python in _PYTHONS if has_wheel(first, interpreter_of(platform, python))]
    if pythons and platform.python and ".".join(platform.python.split(".")[:2]) not in pythons:
        return (
            f"On this platform {first} has wheels for Python {', '.join(reversed(pythons))}: install one of them there "
            "and name it as `python` in the target."
        )
    if platform.libc == "glibc" and not pythons:
        newer = msgspec.structs.replace(platform, libc_version=_NEWER_GLIBC)
        if any(has_wheel(first, interpreter_of(newer, python)) for python in _PYTHONS):
            return f"{first} has wheels for a newer glibc than {platform.libc_version}: upgrade the device's system."
    return "Build it there, or take another runtime (--runtime) or device."
