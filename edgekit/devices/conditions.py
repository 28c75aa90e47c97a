"""The conditions a device is in now: all that can distort a measurement, asked by one script without Python.

Linux tells by /proc and /sys, Android and macOS by commands of their own, the Raspberry Pi and the Jetson by both.
Whatever a device does not tell is None or empty; nothing here judges (`edgekit.bench.distortions` does).

The parts for macOS were written against its documentation, and never run there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from edgekit.devices.android import Battery, Sensor, read_battery, read_screen, read_thermal
from edgekit.devices.scripts.looking import CONDITIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edgekit.devices.device import Device


class Clock(msgspec.Struct, frozen=True):
    """The clock of one core, in kHz: what the processor can do, what it may do now, what it does; None: not told."""

    core: int
    governor: str
    most_khz: int | None
    allowed_khz: int | None
    now_khz: int | None


class Zone(msgspec.Struct, frozen=True):
    """A thermal zone, in degrees Celsius. `passive_c` is where the kernel begins to throttle, if it says so."""

    name: str
    temperature_c: float
    passive_c: float | None


class Conditions(msgspec.Struct, frozen=True):
    """See the module. `busy` and `stolen` are shares of all cores during the time that was watched.

    ticks: by frequency policy and frequency in kHz, how long its cores ran at it since the start, in 10 ms.
    throttle_count: how often the processor's own guard has slowed a core down since the start, all cores together.
    """

    system: str = ""
    busy: float | None = None
    stolen: float | None = None
    load_1min: float | None = None
    cores: int | None = None
    cores_present: int | None = None
    clocks: tuple[Clock, ...] = ()
    zones: tuple[Zone, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    ticks: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)
    throttle_count: int | None = None
    throttling: tuple[str, ...] = ()
    throttled_since_boot: tuple[str, ...] = ()
    thermal_status: int | None = None
    speed_limit_percent: int | None = None
    power_mode: str | None = None
    memory_bytes: int | None = None
    available_bytes: int | None = None
    swap_used_bytes: int | None = None
    swapped_pages: int | None = None
    battery: Battery | None = None
    saves_power: bool | None = None
    screen_on: bool | None = None
    build_type: str | None = None
    debuggable: bool | None = None
    emulator: bool = False


def ask_conditions(device: Device, *, watch_s: int = 1) -> Conditions:
    """Asks a device, in one round trip. `watch_s`: how long it watches who else is busy; 0 leaves that out.

    Raises:
        DeviceError: the link failed.
    """
    argv = ["sh", "-c", CONDITIONS, "edgekit", str(watch_s)]
    answer = device.run(argv, timeout_s=60, step="asking for its load, clocks and temperatures")
    return read_conditions(answer.stdout.decode("utf-8", "replace"))


def read_conditions(text: str) -> Conditions:
    """The conditions from the script's sections."""
    get = _Sections(dict(re.findall(r"^== (\w+)\n(.*?)(?=^== |\Z)", text, re.MULTILINE | re.DOTALL)))
    busy, stolen = _shares(get["stat"], get["stat_after"])
    memory = {key: int(value) * 1024 for key, value in re.findall(r"^(\w+):\s+(\d+)", get["meminfo"], re.MULTILINE)}
    now, before = _firmware(get["throttled"])
    status, sensors = read_thermal(get["thermalservice"])
    load = re.search(r"\d+\.\d+", get["loadavg"])
    properties = dict(re.findall(r"^([\w.]+)=(.+)$", get["properties"], re.MULTILINE))
    mode = re.search(r"NV Power Mode: *(\S.*)", get["nvpmodel"])
    limit = re.search(r"CPU_Speed_Limit\s*=\s*(\d+)", get["pmset_therm"])
    screen = read_screen(get["power"])
    return Conditions(
        system=get["system"].strip(),
        busy=busy,
        stolen=stolen,
        load_1min=float(load[0]) if load else None,
        cores=_count(get["online"]),
        cores_present=_count(get["present"]),
        clocks=tuple(_clocks(get["cpus"])),
        zones=tuple(_zones(get["zones"])),
        sensors=sensors,
        ticks=dict(_ticks(get["states"])),
        throttle_count=_count_throttles(get["throttles"]),
        throttling=(*now, *_cooling(get["cooling"])),
        throttled_since_boot=before,
        thermal_status=status,
        speed_limit_percent=int(limit[1]) if limit else None,
        power_mode=mode[1].strip() if mode else None,
        memory_bytes=memory.get("MemTotal"),
        available_bytes=memory.get("MemAvailable"),
        swap_used_bytes=memory["SwapTotal"] - memory.get("SwapFree", 0) if "SwapTotal" in memory else None,
        swapped_pages=_swapped(get["vmstat"], get["vmstat_after"]),
        battery=read_battery(get["battery"]) or _supplies(get["supplies"]) or _pmset(get["pmset_batt"]),
        saves_power={"1": True, "0": False}.get(get["low_power"].strip()),
        screen_on=screen,
        build_type=properties.get("ro.build.type"),
        debuggable={"1": True, "0": False}.get(properties.get("ro.debuggable", "")),
        emulator="1" in (properties.get("ro.kernel.qemu"), properties.get("ro.boot.qemu")),
    )


class _Sections:
    def __init__(self, parts: Mapping[str, str]) -> None:
        self._parts = parts

    def __getitem__(self, name: str) -> str:
        return self._parts.get(name, "")


def _shares(before: str, after: str) -> tuple[float | None, float | None]:
    """Busy and stolen shares between two `cpu` lines of /proc/stat: user nice system idle iowait irq softirq steal."""
    first, last = ([int(word) for word in text.split()[1:9] if word.isdigit()] for text in (before, after))
    if len(first) < 4 or len(first) != len(last):
        return None, None
    spent = [b - a for a, b in zip(first, last, strict=True)]
    total = sum(spent)
    if total <= 0:
        return None, None
    idle = spent[3] + (spent[4] if len(spent) > 4 else 0)
    stolen = spent[7] if len(spent) > 7 else 0
    return round((total - idle - stolen) / total, 3), round(stolen / total, 3)


def _count(ranges: str) -> int | None:
    """`0-3,6` is five."""
    found = re.findall(r"(\d+)(?:-(\d+))?", ranges)
    return sum(int(last or first) - int(first) + 1 for first, last in found) or None


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d+", text.strip()) else None


def _rows(text: str, least: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) >= least:
            yield fields


def _clocks(text: str) -> Iterator[Clock]:
    for core, governor, most, allowed, now, *_ in _rows(text, 5):
        if core.isdigit():
            yield Clock(int(core), governor, _whole(most), _whole(allowed), _whole(now))


def _ticks(text: str) -> Iterator[tuple[str, dict[int, int]]]:
    for policy, *states in _rows(text, 2):
        pairs = [re.fullmatch(r"(\d+) (\d+)", state) for state in states]
        yield policy, {int(pair[1]): int(pair[2]) for pair in pairs if pair is not None}


def _count_throttles(text: str) -> int | None:
    counts = [int(line) for line in text.split() if line.isdigit()]
    return sum(counts) if counts else None


def _zones(text: str) -> Iterator[Zone]:
    for name, temperature, *trips in _rows(text, 2):
        millidegrees = _whole(temperature)
        if millidegrees is None:
            continue
        passive = [
            int(degrees) / 1000 for kind, _, degrees in (trip.partition(" ") for trip in trips)
            if kind == "passive" and degrees.isdigit() and int(degrees) > 0
        ]  # fmt: skip
        yield Zone(name, millidegrees / 1000, min(passive, default=None))


def _cooling(text: str) -> Iterator[str]:
    """Cooling devices that hold the processor back now. A fan holds nothing back."""
    for kind, now, most, *_ in _rows(text, 3):
        state = _whole(now)
        holds = re.search(r"cpu|processor", kind, re.IGNORECASE) is not None and "idle" not in kind
        if holds and state is not None and state > 0:
            yield f"{kind} at step {state} of {most}"


_FIRMWARE = ("under-voltage", "clock capped", "throttled", "soft temperature limit")


def _firmware(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The Raspberry Pi's `throttled=0x50005`: bits 0 to 3 are now, 16 to 19 since boot."""
    found = re.search(r"throttled=0x([0-9a-fA-F]+)", text)
    bits = int(found[1], 16) if found else 0
    return (
        tuple(name for bit, name in enumerate(_FIRMWARE) if bits >> bit & 1),
        tuple(name for bit, name in enumerate(_FIRMWARE) if bits >> (bit + 16) & 1),
    )


def _swapped(before: str, after: str) -> int | None:
    pages = [sum(map(int, re.findall(r"^pswp(?:in|out) (\d+)", text, re.MULTILINE))) for text in (before, after)]
    return max(0, pages[1] - pages[0]) if "pswp" in before and "pswp" in after else None


def _supplies(text: str) -> Battery | None:
    """From /sys/class/power_supply: `TYPE|CAPACITY|STATUS|ONLINE|` a supply."""
    rows = list(_rows(text, 4))
    plugged = [row[3] == "1" for row in rows if row[0] in ("Mains", "USB", "Wireless") and row[3]]
    for kind, capacity, status, *_ in rows:
        if kind == "Battery" and capacity.isdigit():
            return Battery(float(capacity), any(plugged) if plugged else None, status == "Charging", None)
    return None


def _pmset(text: str) -> Battery | None:
    found = re.search(r"InternalBattery.*?(\d+)%;\s*([\w ]+)", text)
    if found is None:
        return None
    return Battery(float(found[1]), "AC Power" in text, found[2].strip() == "charging", None)
