"""What a device says of itself: processor, clocks, temperatures, load, memory, system.

Every fact has a value, or a reason why it has none: `{"values": {...}, "missing": {name: reason}}`. Nothing here
raises for a device that does not expose a fact.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_CPU = "/sys/devices/system/cpu"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()


def _cpu_model() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware") and value.strip():
            return value.strip()
    raise LookupError("/proc/cpuinfo names no model")


def _per_core(name: str) -> list[str]:
    cores = sorted(e for e in os.listdir(_CPU) if e.startswith("cpu") and e[3:].isdigit())
    paths = [os.path.join(_CPU, core, "cpufreq", name) for core in cores]
    if not any(os.path.exists(path) for path in paths):
        raise LookupError("no cpufreq in sysfs")
    return [_read(path) for path in paths]


def _frequencies(name: str) -> list[int]:
    return [int(value) * 1000 for value in _per_core(name)]


def _temperatures() -> dict[str, float]:
    root = "/sys/class/thermal"
    zones = {}
    for entry in sorted(os.listdir(root)):
        if entry.startswith("thermal_zone"):
            try:
                kind = _read(os.path.join(root, entry, "type"))
                zones["%s:%s" % (entry[len("thermal_zone") :], kind)] = (
                    int(_read(os.path.join(root, entry, "temp"))) / 1000
                )
            except (OSError, ValueError):
                continue
    if not zones:
        raise LookupError("no thermal zone in sysfs")
    return zones


def hottest_c() -> float:
    """The hottest thermal zone, in °C. Raises LookupError or OSError where there is none."""
    return max(_temperatures().values())


def fastest_hz() -> int:
    """The frequency that the fastest core has now. Raises LookupError or OSError where the system does not tell."""
    return max(_frequencies("scaling_cur_freq"))


def _memory(key: str) -> int:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError("%s is not in /proc/meminfo" % key)


def _os_name() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip().strip('"')
    raise LookupError("/etc/os-release has no PRETTY_NAME")


def _affinity() -> list[int]:
    if not hasattr(os, "sched_getaffinity"):
        raise LookupError("this system has no CPU affinity")
    return sorted(os.sched_getaffinity(0))


_STEADY: dict[str, Callable[[], Any]] = {
    "cpu_model": _cpu_model,
    "cores": os.cpu_count,
    "affinity": _affinity,
    "machine": platform.machine,
    "kernel": lambda: "%s %s" % (platform.system(), platform.release()),
    "os": _os_name,
    "python": lambda: "%d.%d.%d" % sys.version_info[:3],
    "libc": lambda: "-".join(platform.libc_ver()).strip("-") or None,
    "boot_id": lambda: _read("/proc/sys/kernel/random/boot_id"),
    "memory_total_bytes": lambda: _memory("MemTotal"),
    "governor": lambda: sorted(set(_per_core("scaling_governor"))),
    "frequency_max_hz": lambda: _frequencies("cpuinfo_max_freq"),
}
_CHANGING: dict[str, Callable[[], Any]] = {
    "time_unix_s": lambda: round(time.time(), 3),
    "uptime_s": lambda: float(_read("/proc/uptime").split()[0]),
    "load_1min": lambda: os.getloadavg()[0],
    "memory_available_bytes": lambda: _memory("MemAvailable"),
    "frequency_hz": lambda: _frequencies("scaling_cur_freq"),
    "temperature_c": _temperatures,
}


def gather() -> dict[str, dict[str, Any]]:
    """All facts, see the module."""
    return _asked(dict(_STEADY, **_CHANGING))


def lasting() -> dict[str, dict[str, Any]]:
    """What holds for every program on this machine, all the time."""
    return _asked({name: probe for name, probe in _STEADY.items() if name not in ("python", "libc")})


def _asked(probes: dict[str, Callable[[], Any]]) -> dict[str, dict[str, Any]]:
    values: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, probe in probes.items():
        try:
            value = probe()
        except (OSError, LookupError, ValueError) as error:
            values[name], missing[name] = None, str(error)
            continue
        values[name] = value
        if value is None:
            missing[name] = "the system does not tell"
    return {"values": values, "missing": missing}
