"""Brings edgekit-device, the program that falls back on the device, to devices that have a Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.deploy import on_device
from edgekit.deploy.scripts import PLACE
from edgekit.devices.environment.platforms import ask_platform
from edgekit.devices.program_zip import program_zip, sources
from edgekit.devices.store import Store

if TYPE_CHECKING:
    from edgekit.devices import Device

NAME = "edgekit-device.pyz"
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
    stored = Store(device).put_file(*device_program())
    device.script(PLACE, device.root, stored.rpartition("/")[2], NAME, step=f"placing {NAME}")
    return device.path("bin", NAME)
