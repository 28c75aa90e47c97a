"""Facts: what a device said of itself, and of what it does not tell, why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from edgekit.devices.conditions import Conditions


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the device said of itself; a fact without a value has a reason in `missing`."""

    values: dict[str, Any]
    missing: dict[str, str]


_MISSING = {
    "load_1min": "the system tells no load",
    "memory_available_bytes": "the system tells no free memory",
    "cores_online": "the system does not tell which cores are on",
    "governor": "no cpufreq in sysfs",
    "frequency_hz": "no cpufreq in sysfs",
    "frequency_allowed_hz": "no cpufreq in sysfs",
    "throttle_count": "no throttle counters in sysfs",
    "temperature_c": "no thermal zone and no thermal service",
    "thermal_status": "no Android thermal service",
    "battery_percent": "no battery",
    "battery_plugged": "no battery, or it does not tell",
    "battery_charging": "no battery, or it does not tell",
    "battery_temperature_c": "no battery, or it does not tell",
    "screen_on": "no screen of Android's",
}
"""By fact, why a device has no value for it."""


def told(now: Conditions) -> Facts:
    """The conditions as a Run keeps them: units in the names, and a reason for every null."""
    battery = now.battery
    values: dict[str, Any] = {
        "load_1min": now.load_1min,
        "memory_available_bytes": now.available_bytes,
        "cores_online": now.cores,
        "governor": sorted({clock.governor for clock in now.clocks if clock.governor}) or None,
        "frequency_hz": [_hz(clock.now_khz) for clock in now.clocks] or None,
        "frequency_allowed_hz": [_hz(clock.allowed_khz) for clock in now.clocks] or None,
        "throttle_count": now.throttle_count,
        "throttling": list(now.throttling),
        "temperature_c": temperatures(now) or None,
        "thermal_status": now.thermal_status,
        "battery_percent": battery.level_percent if battery else None,
        "battery_plugged": battery.plugged if battery else None,
        "battery_charging": battery.charging if battery else None,
        "battery_temperature_c": battery.temperature_c if battery else None,
        "screen_on": now.screen_on,
    }
    return Facts(values, {name: _MISSING[name] for name, value in values.items() if value is None})


def temperatures(now: Conditions) -> dict[str, float]:
    """Every temperature that the device tells, in °C: the kernel's zones by number and name, Android's sensors."""
    zones = {f"{number}:{zone.name}": zone.temperature_c for number, zone in enumerate(now.zones)}
    return zones | {sensor.name: sensor.temperature_c for sensor in now.sensors}


def _hz(khz: int | None) -> int | None:
    return None if khz is None else khz * 1000
