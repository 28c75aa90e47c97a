"""Puts the telemetry reporter on a device, as one file beside edgekit-device, for programs there to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.deploy.scripts import PLACE
from edgekit.devices.program_zip import program_zip
from edgekit.devices.store import Store
from edgekit.telemetry.packaging import MAIN, files

if TYPE_CHECKING:
    from edgekit.devices import Device

NAME = "edgekit-report.pyz"


def place_reporter(device: Device) -> str:
    """Makes ROOT/bin/edgekit-report.pyz this version of the reporter; returns its path there.

    Raises:
        DeviceError: see `Store.push`.
    """
    content = {name: data for name, data in files().items() if name.endswith(".py")}
    stored = Store(device).put_file(*program_zip({"__main__.py": MAIN.encode(), **content}))
    device.script(PLACE, device.root, stored.rpartition("/")[2], NAME, step=f"placing {NAME}")
    return device.path("bin", NAME)
