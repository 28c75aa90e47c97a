"""Whether an artifact can run on a device at all, told before anything is sent there.

A compiled payload (TVM's) is a shared library for one processor, and says for which in its first bytes. A loader that
gets another one says "cannot open shared object file: No such file or directory" of a file that is there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgekit.devices.environment.platforms import ask_platform
from edgekit.errors import UnsuitableArtifactError

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.devices.device import Device

_MACHINES = {3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""ELF's numbers (e_machine), as `uname -m` has them."""
_SAME = {"arm64": "aarch64", "amd64": "x86_64", "armv8l": "armv7l", "armv6l": "armv7l", "arm": "armv7l", "i386": "i686"}
_NEEDS = re.compile(r"version [`'](?P<what>(?:GLIBC|GLIBCXX|CXXABI)_[\d.]+)'? not found")


def payload_machine(path: Path) -> str | None:
    """The processor that a shared library is compiled for; None for any other file."""
    with path.open("rb") as file:
        head = file.read(20)
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return None
    number = int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")
    return _MACHINES.get(number, f"ELF machine {number}")


def check_fits(device: Device, artifact: Artifact) -> None:
    """Refuses a payload that is compiled for another processor than the device's.

    Raises:
        UnsuitableArtifactError: it is. Nothing was sent.
        DeviceError: the link failed.
    """
    wanted = payload_machine(artifact.path / artifact.manifest.payload)
    if wanted is None:
        return
    found = ask_platform(device).machine
    if not found or _SAME.get(found, found) == wanted:
        return
    recipe = artifact.manifest.recipe
    raise UnsuitableArtifactError(
        f"{artifact.title} does not fit {device.name[0].lower()}{device.name[1:]}: it is compiled for {wanted}, and "
        f"the device is {found}. Nothing was sent.",
        remedy=f"Convert it for the device: --to {recipe.format}:{recipe.precision}@{_SAME.get(found, found)}-"
        "linux-gnu (or another triple of that processor).",
    )


def too_old(said: str) -> str | None:
    """The remedy, if a loader's message says that the device's C or C++ library is too old; else None."""
    found = _NEEDS.search(said)
    if found is None:
        return None
    return (
        f"The device's C library is older than what was compiled needs ({found['what']}): update its system, or take a "
        "runtime and an artifact that were made for it (`edgekit doctor` tells its version)."
    )
