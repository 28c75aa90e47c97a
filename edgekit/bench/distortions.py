"""What distorts a measurement, judged from a device's conditions, and what to do about each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.bench.finding import Finding
from edgekit.devices.android import THERMAL_STATUS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.devices.conditions import Conditions

BUSY_SHARE = 0.1
"""Of all cores, by others, while nobody measures."""
LOAD_SHARE = 0.5
STOLEN_SHARE = 0.01
HOT_C = 70.0
HOT_SKIN_C = 40.0
"""A phone's skin or battery at this temperature is near the first step of throttling."""
MARGIN_C = 10.0
LOW_BATTERY_PERCENT = 30.0
LOW_MEMORY_SHARE = 0.1
LOW_MEMORY_BYTES = 150_000_000
GOVERNORS = "/sys/devices/system/cpu/cpu*/cpufreq"


def judge(now: Conditions) -> Iterator[Finding]:
    """A finding for everything that the device told; what it does not tell is left out, except the governor."""
    yield from _load(now)
    yield from _clock(now)
    yield from _heat(now)
    yield from _memory(now)
    yield from _power(now)
    yield from _build(now)


def _load(now: Conditions) -> Iterator[Finding]:
    remedy = "Stop what else runs there: it will be in the measurement."
    if now.busy is not None:
        share = f"{now.busy:.0%} of all cores were busy during one second"
        load = f", load {now.load_1min:.2f}" if now.load_1min is not None else ""
        cores = f" on {now.cores} cores" if load and now.cores else ""
        busy = now.busy > BUSY_SHARE or (
            now.load_1min is not None and now.cores is not None and now.system == "Linux" and now.build_type is None
            and now.load_1min / now.cores > LOAD_SHARE
        )  # fmt: skip
        yield _finding(busy, "other load", f"{share}{load}{cores}", remedy)
    elif now.load_1min is not None:
        loaded = now.load_1min / (now.cores or 1) > LOAD_SHARE
        yield _finding(loaded, "other load", f"load {now.load_1min:.2f}", remedy)
    if now.stolen is not None and now.stolen > STOLEN_SHARE:
        yield Finding(
            "warning", "stolen time", f"{now.stolen:.0%} went to other virtual machines of the same host",
            "Measure when the host is idle, or on a real device.",
        )  # fmt: skip


def _clock(now: Conditions) -> Iterator[Finding]:
    governors = sorted({clock.governor for clock in now.clocks if clock.governor})
    if not governors:
        yield Finding("ok", "frequency governor", "not exposed")
    else:
        unsteady = governors != ["performance"]
        can = "with root: " if now.build_type is not None else ""
        yield _finding(
            unsteady, "frequency governor", ", ".join(governors),
            f"Set it to performance: {can}echo performance | sudo tee {GOVERNORS}/scaling_governor",
        )  # fmt: skip
    capped = [c for c in now.clocks if c.most_khz and c.allowed_khz and c.allowed_khz < c.most_khz]
    if capped:
        worst = min(capped, key=lambda clock: (clock.allowed_khz or 0) / (clock.most_khz or 1))
        yield Finding(
            "warning", "frequency cap",
            f"{len(capped)} of {len(now.clocks)} cores may not run at full speed: core {worst.core} at "
            f"{(worst.allowed_khz or 0) / 1e6:.2f} of {(worst.most_khz or 0) / 1e6:.2f} GHz",
            f"Find who lowered it (power mode, heat), or: cat {GOVERNORS}/cpuinfo_max_freq, and write it to "
            "scaling_max_freq.",
        )  # fmt: skip
    elif any(clock.allowed_khz for clock in now.clocks):
        yield Finding("ok", "frequency cap", "none")
    if now.cores and now.cores_present and now.cores < now.cores_present:
        yield Finding(
            "warning", "cores off", f"{now.cores} of {now.cores_present} are on",
            "Switch them on (Jetson: sudo nvpmodel -m 0), or measure with fewer threads.",
        )  # fmt: skip
    if now.power_mode is not None:
        fast = now.power_mode.upper().startswith("MAXN")
        yield _finding(
            not fast, "power mode", now.power_mode, "For full speed: sudo nvpmodel -m 0 && sudo jetson_clocks"
        )
    if now.speed_limit_percent is not None:
        limited = now.speed_limit_percent < 100
        yield _finding(limited, "speed limit", f"{now.speed_limit_percent} %", "Let it cool down, and plug it in.")


def _heat(now: Conditions) -> Iterator[Finding]:
    if now.zones:
        near = [z for z in now.zones if z.temperature_c >= (HOT_C if z.passive_c is None else z.passive_c - MARGIN_C)]
        hottest = max(near or now.zones, key=lambda zone: zone.temperature_c)
        begins = f", throttles at {hottest.passive_c:.0f} °C" if hottest.passive_c is not None else ""
        yield _finding(
            bool(near), "temperature", f"{hottest.temperature_c:.0f} °C ({hottest.name}){begins}",
            "Let it cool down, or cool it: near its limit it slows down in the middle of a measurement.",
        )  # fmt: skip
    if now.throttling:
        yield Finding(
            "warning", "throttling", f"now: {', '.join(now.throttling)}",
            "Use a stronger power supply and cable." if "under-voltage" in now.throttling else "Let it cool down.",
        )  # fmt: skip
    elif now.throttled_since_boot:
        yield Finding(
            "warning", "throttling", f"since its start: {', '.join(now.throttled_since_boot)}",
            "It comes under load: a stronger power supply (under-voltage), a fan (temperature). A restart forgets it.",
        )  # fmt: skip
    if now.thermal_status is not None:
        names = dict(enumerate(THERMAL_STATUS))
        yield _finding(
            now.thermal_status > 0, "thermal status", names.get(now.thermal_status, str(now.thermal_status)),
            "Android is throttling: let the phone cool down, out of its case and off the charger.",
        )  # fmt: skip
    hot = [sensor for sensor in now.sensors if sensor.status > 0]
    if hot:
        said = ", ".join(f"{sensor.name} {sensor.temperature_c:.0f} °C" for sensor in hot[:4])
        yield Finding("warning", "temperature", said, "Let it cool down.")


def _memory(now: Conditions) -> Iterator[Finding]:
    if now.memory_bytes and now.available_bytes is not None:
        low = now.available_bytes < max(LOW_MEMORY_BYTES, LOW_MEMORY_SHARE * now.memory_bytes)
        yield _finding(
            low, "memory", f"{now.available_bytes / 1e9:.2f} of {now.memory_bytes / 1e9:.2f} GB available",
            "Stop other programs: a model that has to wait for memory is slow, or killed.",
        )  # fmt: skip
    if now.swap_used_bytes is not None:
        swapping = bool(now.swapped_pages)
        what = f"{now.swap_used_bytes / 1e6:.0f} MB in use" if now.swap_used_bytes else "not in use"
        moved = f", {now.swapped_pages} pages moved during one second" if swapping else ""
        yield _finding(swapping, "swap", f"{what}{moved}", "Free memory, or switch it off: sudo swapoff -a")


def _power(now: Conditions) -> Iterator[Finding]:
    battery = now.battery
    if battery is not None:
        low = battery.level_percent < LOW_BATTERY_PERCENT and battery.plugged is not True
        supply = {True: ", plugged in", False: ", on battery", None: ""}[battery.plugged]
        warm = battery.temperature_c is not None and battery.temperature_c >= HOT_SKIN_C
        degrees = f", {battery.temperature_c:.0f} °C" if battery.temperature_c is not None else ""
        yield _finding(
            low or warm or battery.plugged is False,
            "battery",
            f"{battery.level_percent:.0f} %{supply}{degrees}",
            "Let it cool down: a warm battery makes a phone slow down." if warm and not low
            else "Plug it in: on battery, and more so on a low one, devices save power.",
        )  # fmt: skip
    if now.saves_power is not None:
        yield _finding(now.saves_power, "battery saver", "on" if now.saves_power else "off", "Switch it off.")
    if now.screen_on is not None:
        yield _finding(
            now.screen_on, "screen", "on" if now.screen_on else "off",
            "Switch it off (adb shell input keyevent 223): it takes power and cores. Or keep it on in every run.",
        )  # fmt: skip


def _build(now: Conditions) -> Iterator[Finding]:
    if now.build_type is not None:
        debug = now.build_type != "user" or bool(now.debuggable)
        yield _finding(
            debug, "system build", f"{now.build_type}{', debuggable' if now.debuggable else ''}",
            "Debug builds check more and run slower: compare only with others of the same build.",
        )  # fmt: skip
    if now.emulator:
        yield Finding(
            "warning", "emulator", "this is no real device", "Take its answers for proof, and its speed for nothing."
        )


def _finding(bad: bool, subject: str, what: str, remedy: str) -> Finding:
    return Finding("warning", subject, what, remedy) if bad else Finding("ok", subject, what)
