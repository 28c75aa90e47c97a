"""Guards around a block: is the device fit to be measured, and did it stay what it was meanwhile?

Before a block the device must be within its target's limits (`[limits]`); outside, EdgeKit waits, with one bound for
all of a run, for it to cool down or calm down. After the block it must still be within them, and nothing may have
changed under it: the governor, a core, the frequency that it may run at, a throttle counter. A block that something
happened to is measured again, `retries` times; then it is given up, which the run tells, and no statistic counts it.

The load is a limit before a block alone: after it, the load is the measurement's own. What a device does not tell is no
reason to refuse it; the run names the limits that could not be checked. While it waits, the device's lock is kept.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from edgekit.bench.facts import Facts, temperatures, told
from edgekit.devices.android import THERMAL_STATUS
from edgekit.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.devices import RunnerDevice, Target
    from edgekit.devices.conditions import Conditions

FIXED = frozenset({"performance", "userspace"})
"""Governors that keep one frequency: under them another one is the work of somebody else, or of heat."""
AT_OTHERS = 0.05
"""The share of a block's time that a core may have run below its fastest frequency under such a governor."""
SLOWER = 0.8
"""Without times, the share of its frequency before that a core must still have after."""


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the host saw around a block. All of it was read before the process started and after it had ended.

    frequency_mean_hz: by frequency policy, over the block; None where the kernel counts no times.
    unchecked: limits of the target that this device does not tell enough for.
    waited_s: for the device to come within its limits.
    """

    before: Facts
    after: Facts
    frequency_mean_hz: dict[str, float] | None = None
    unchecked: tuple[str, ...] = ()
    waited_s: float = 0.0


class Patience:
    """How long one run may still wait for its device."""

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds


def await_limits(
    device: RunnerDevice, patience: Patience, on_wait: Callable[[str], object] = lambda _outside: None
) -> tuple[Conditions, str]:
    """Waits until the device is within its target's limits, or patience ends.

    Args:
        device: the caller holds its lock.
        patience: what it waits is taken off it.
        on_wait: told why, each time it looks in vain.

    Returns:
        Its conditions, and how it is outside of the limits: empty if it is within them.

    Raises:
        DeviceError: the link failed, or somebody took the lock over.
    """
    limits = device.target.limits
    while True:
        now = device.conditions(watch_s=0)
        outside = "; ".join(violations(now, device.target, before=True))
        if not outside or patience.left_s <= 0:
            return now, outside
        on_wait(outside)
        pause = min(limits.poll_s, patience.left_s)
        patience.left_s -= pause
        device.keep_lock()
        time.sleep(pause)


def violations(now: Conditions, target: Target, *, before: bool) -> Iterator[str]:
    """How a device is outside of its target's limits; `before` a block, its load counts as well."""
    limits, battery = target.limits, now.battery
    most_load = max_load_1min(target)
    if before and most_load is not None and now.load_1min is not None and now.load_1min > most_load:
        yield f"it has a load of {now.load_1min:.2f}, above the {most_load:g} that its target allows"
    degrees = temperatures(now)
    if limits.max_temperature_c is not None and degrees:
        zone = max(degrees, key=lambda name: degrees[name])
        if degrees[zone] > limits.max_temperature_c:
            name = printable(zone[:60])
            yield f"{name} is at {degrees[zone]:.1f} °C, above the {limits.max_temperature_c:g} that its target allows"
    most_status = limits.max_thermal_status
    if most_status is not None and now.thermal_status is not None and now.thermal_status > most_status:
        names = dict(enumerate(THERMAL_STATUS))
        yield f"its thermal status is {names.get(now.thermal_status, now.thermal_status)}, above {names[most_status]}"
    least = limits.min_available_bytes
    if least is not None and now.available_bytes is not None and now.available_bytes < least:
        yield f"{now.available_bytes / 1e6:.0f} MB of memory are free, and its target asks for {least / 1e6:.0f}"
    charge = limits.min_battery_percent
    if charge is not None and battery is not None and battery.level_percent < charge:
        yield f"its battery is at {battery.level_percent:.0f} %, below the {charge:g} that its target asks for"
    if limits.plugged is not None and battery is not None and battery.plugged not in (None, limits.plugged):
        yield f"it is {'' if battery.plugged else 'not '}plugged in"
    governors = {clock.governor for clock in now.clocks if clock.governor}
    if limits.governor is not None and governors - {limits.governor}:
        yield f"its governor is {printable(', '.join(sorted(governors))[:80])}, not {limits.governor}"
    if limits.screen is not None and now.screen_on is not None and now.screen_on != (limits.screen == "on"):
        yield f"its screen is {'on' if now.screen_on else 'off'}"


def unchecked(now: Conditions, target: Target) -> tuple[str, ...]:
    """The target's limits that this device does not tell enough for."""
    limits, battery = target.limits, now.battery
    asked = {
        "max_load_1min": (max_load_1min(target), now.load_1min),
        "max_temperature_c": (limits.max_temperature_c, temperatures(now) or None),
        "max_thermal_status": (limits.max_thermal_status, now.thermal_status),
        "min_available_bytes": (limits.min_available_bytes, now.available_bytes),
        "min_battery_percent": (limits.min_battery_percent, battery),
        "plugged": (limits.plugged, battery.plugged if battery else None),
        "governor": (limits.governor, next((clock.governor for clock in now.clocks if clock.governor), None)),
        "screen": (limits.screen, now.screen_on),
    }
    return tuple(name for name, (limit, value) in asked.items() if limit is not None and value is None)


def disturbances(before: Conditions, after: Conditions) -> Iterator[str]:
    """What changed under a block, of the things that must not."""
    was, now = ({clock.core: clock for clock in some.clocks} for some in (before, after))
    governors = [sorted({clock.governor for clock in some.clocks}) for some in (before, after)]
    if governors[0] != governors[1]:
        yield f"the governor changed from {_listed(governors[0])} to {_listed(governors[1])}"
    if before.cores != after.cores:
        yield f"{before.cores} cores were on before, and {after.cores} after"
    capped = [core for core in was.keys() & now.keys() if was[core].allowed_khz != now[core].allowed_khz]
    if capped:
        core = min(capped)
        yield f"core {core} may run at {_ghz(now[core].allowed_khz)} after, and at {_ghz(was[core].allowed_khz)} before"
    if (after.throttle_count or 0) > (before.throttle_count or 0):
        yield f"the processor slowed itself down {(after.throttle_count or 0) - (before.throttle_count or 0)} times"
    throttling = [name for name in after.throttling if name not in before.throttling]
    if throttling:
        yield f"it throttled: {printable(', '.join(throttling)[:120])}"
    if before.thermal_status is not None and (after.thermal_status or 0) > before.thermal_status:
        yield f"its thermal status rose from {before.thermal_status} to {after.thermal_status}"
    if before.power_mode != after.power_mode:
        yield f"its power mode changed from {before.power_mode} to {after.power_mode}"
    if set(governors[0]) <= FIXED and governors[0] == governors[1] and not capped:
        yield from _slowed(before, after)


def _slowed(before: Conditions, after: Conditions) -> Iterator[str]:
    """Cores that did not keep the frequency that their governor promises."""
    spent = _spent(before, after)
    for policy, ticks in spent.items():
        total, main = sum(ticks.values()), max(ticks, key=lambda khz: ticks[khz])
        if total and 1 - ticks[main] / total > AT_OTHERS:
            yield f"policy {policy} ran at other frequencies than {_ghz(main)} for {1 - ticks[main] / total:.0%} of it"
            return
    if spent:
        return
    after_khz = {clock.core: clock.now_khz for clock in after.clocks}
    for clock in before.clocks:
        khz = after_khz.get(clock.core)
        if clock.now_khz and khz and khz < SLOWER * clock.now_khz:
            yield f"core {clock.core} ran at {_ghz(clock.now_khz)} before and at {_ghz(khz)} after"
            return


def frequency_means(before: Conditions, after: Conditions) -> dict[str, float] | None:
    """By policy, the mean frequency between two readings, in Hz; None where the kernel counts no times."""
    found = {
        policy: sum(khz * 1000.0 * count for khz, count in ticks.items()) / sum(ticks.values())
        for policy, ticks in _spent(before, after).items()
        if sum(ticks.values())
    }
    return found or None


def guard(before: Conditions, after: Conditions, target: Target, waited_s: float) -> Guard:
    """What a Run keeps of two readings."""
    return Guard(told(before), told(after), frequency_means(before, after), unchecked(before, target), waited_s)


def max_load_1min(target: Target) -> float | None:
    """The limit on the load, wherever the target has it."""
    return target.limits.max_load_1min if target.limits.max_load_1min is not None else target.bench.max_load_1min


def _spent(before: Conditions, after: Conditions) -> dict[str, dict[int, int]]:
    """Ticks at each frequency between two readings, by policy."""
    return {
        policy: {khz: max(0, count - before.ticks[policy].get(khz, 0)) for khz, count in ticks.items()}
        for policy, ticks in after.ticks.items()
        if policy in before.ticks and ticks
    }


def _listed(names: list[str]) -> str:
    return printable(", ".join(names)[:80]) or "none"


def _ghz(khz: int | None) -> str:
    return "an unknown frequency" if khz is None else f"{khz / 1e6:.2f} GHz"
