"""Brings edgekit-device, the program that falls back on the device, to devices that have a Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.deploy import on_device
from edgekit.deploy.on_device.pull import SCHEMA
from edgekit.deploy.scripts import FOLLOW, PLACE
from edgekit.devices.environment.platforms import ask_platform
from edgekit.devices.program_zip import program_zip, sources
from edgekit.devices.runner_zip import runner_zip
from edgekit.devices.store import Store
from edgekit.errors import RuntimeMissingError
from edgekit.files import canonical_json

if TYPE_CHECKING:
    from edgekit.deploy.on_device.pull import Config
    from edgekit.devices import Device

NAME = "edgekit-device.pyz"
RUNNER = "edgekit-runner.pyz"
PACKAGE = "edgekit_device"
_MAIN = f"import sys\n\nfrom {PACKAGE}.__main__ import main\n\nsys.exit(main(sys.argv))\n"


def device_program() -> tuple[Path, str]:
    """The program's file, in the cache, and its sha256.

    Raises:
        StorageError: the cache cannot be written.
    """
    return program_zip({"__main__.py": _MAIN.encode(), **sources(PACKAGE, Path(on_device.__file__).parent)})


def place(device: Device) -> str | None:
    """Makes ROOT/bin/edgekit-device.pyz this version of it; returns its path, or None where there is no Python.

    Raises:
        DeviceError: see `Store.push`.
    """
    if ask_platform(device).python is None:
        return None
    for name, program in ((NAME, device_program()), (RUNNER, runner_zip())):
        stored = Store(device).put_file(*program)
        device.script(PLACE, device.root, stored.rpartition("/")[2], name, step=f"placing {name}")
    return device.path("bin", NAME)


def follow(device: Device, root_metadata: bytes, config: Config) -> str:
    """Makes a device follow a channel of a release repository: it begins to trust `root_metadata`.

    Whatever it trusted before is replaced: the keys of a compromised repository are no way back.

    Args:
        device: where; it needs Python 3.8 or newer, with the package tuf.
        root_metadata: the repository's root, from a trustworthy copy of it.
        config: the address by which the device reaches the repository, and the channel.

    Returns:
        The path of edgekit-device there.

    Raises:
        RuntimeMissingError: the device has no Python.
        DeviceError: see `Store.push`.
    """
    with device.lock(f"following {config.channel} of {config.url}"):
        program = place(device)
        if program is None:
            raise RuntimeMissingError(
                f"{device.name} has no Python 3.8 or newer, which pulls releases.",
                remedy="Push releases to it from here: edgekit release push.",
            )
        content = canonical_json({"schema": SCHEMA, **config._asdict()})
        device.script(
            FOLLOW, device.root, str(len(root_metadata)), stdin=root_metadata + content, step="writing what it follows"
        )
    return program
