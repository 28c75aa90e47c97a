"""What Android's own commands say: `dumpsys battery`, `power` and `thermalservice`.

Their output is for people and differs by version and maker, so only the lines that Android itself prints are read, and
what is not found is None. Written from published output of real phones and from the services' sources; EdgeKit's tests
parse such texts, and no phone was ever attached to them.
"""

from __future__ import annotations

import re

import msgspec

THERMAL_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""Android's names of what `Thermal Status: N` says, from 0."""
_CHARGING, _FULL = "2", "5"


class Battery(msgspec.Struct, frozen=True):
    """A battery. `plugged` is whether any supply is connected."""

    level_percent: float
    plugged: bool | None
    charging: bool | None
    temperature_c: float | None


def read_battery(text: str) -> Battery | None:
    """From `dumpsys battery`; None if it says nothing of a level, or that there is no battery.

    The temperature is in tenths of a degree there. Of a key that comes twice, as vendors
    append lines of their own, the first counts.
    """
    said: dict[str, str] = {}
    for line in text.splitlines():
        key, separator, value = line.strip().partition(":")
        if separator:
            said.setdefault(key.strip(), value.strip())
    level, scale = _number(said.get("level")), _number(said.get("scale")) or 100.0
    if level is None or level < 0 or said.get("present") == "false":
        return None
    supplies = [value for key, value in said.items() if key.endswith(" powered")]
    temperature = _number(said.get("temperature"))
    return Battery(
        level_percent=100 * level / scale,
        plugged="true" in supplies if supplies else None,
        charging=said["status"] == _CHARGING if said.get("status") else None,
        temperature_c=None if temperature is None else temperature / 10,
    )


def read_screen(text: str) -> bool | None:
    """Whether the screen is on, from `dumpsys power`; None if it does not tell."""
    found = re.search(r"^Display Power: state=(\w+)", text, re.MULTILINE)
    if found is not None:
        return found[1] == "ON"
    found = re.search(r"^\s*mWakefulness(?:Raw)?=(\w+)", text, re.MULTILINE)
    return None if found is None else found[1] in ("Awake", "Dreaming")


class Sensor(msgspec.Struct, frozen=True):
    """One temperature of the thermal service."""

    name: str
    temperature_c: float
    status: int


def read_thermal(text: str) -> tuple[int | None, tuple[Sensor, ...]]:
    """Throttling status and sensors, from `dumpsys thermalservice`: what the HAL says now, else what is cached."""
    found = re.search(r"^Thermal Status: (\d+)", text, re.MULTILINE)
    _, now, current = text.partition("Current temperatures from HAL:")
    current = current.partition("Current cooling devices")[0]
    pattern = r"Temperature\{mValue=(-?[\d.]+(?:E-?\d+)?), mType=-?\d+, mName=([^,}]*), mStatus=(\d+)"
    sensors = re.findall(pattern, current if now and "mValue" in current else text)
    return (
        int(found[1]) if found else None,
        tuple(Sensor(name, float(value), int(status)) for value, name, status in sensors),
    )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
