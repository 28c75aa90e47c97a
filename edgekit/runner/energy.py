"""What an inference costs in energy, where the device has a counter. Read between invokes, never by a thread.

    powercap        RAPL's counters of the processor packages (Intel and AMD), in µJ; for root alone on most systems
    hwmon energy    a driver's counter, in µJ
    hwmon power     a sensor, in µW (INA219 to INA260, Jetson's INA3221 by its voltage and current)
    battery         what flows out of it, while it is discharging: power_now, or current_now × voltage_now

A sensor tells power at an instant: it is read twice a second and its mean is taken, which needs `LEAST_READINGS`. What
the device takes while the process sleeps is measured before the model is loaded, so that the host can subtract it.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SYSFS = "/sys/class"
IDLE_S = 1.0
TICK_S = 0.5
IDLE_TICK_S = 0.1
LEAST_READINGS = 4
_TOTALS = ("vdd_in", "pom_5v_in", "vin_sys", "ppt", "total", "psys")
"""Labels of sensors that see all of a board, the first one found counts; without any, the first sensor does."""


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read().strip()


def _number(path: str) -> int:
    return int(_read(path))


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(SYSFS, folder)))
    except OSError:
        return []


class Counter:
    """Counters of energy in µJ, which may wrap at `ranges`. Reads joules since its first reading."""

    kind = "counter"

    def __init__(self, source: str, paths: list[str], ranges: list[int]) -> None:
        self.source, self._paths, self._ranges = source, paths, ranges
        self._last = [_number(path) for path in paths]
        self._total = 0

    def joules(self) -> float:
        for i, path in enumerate(self._paths):
            now = _number(path)
            grown = now - self._last[i]
            self._total += grown if grown >= 0 else grown + self._ranges[i]
            self._last[i] = now
        return self._total / 1e6


class Sensor:
    """A sensor of power: `watts()` now, the product of the files' numbers by a unit."""

    kind = "sensor"

    def __init__(self, source: str, paths: list[str], unit: float) -> None:
        self.source, self._paths, self._unit = source, paths, unit
        self.watts()

    def watts(self) -> float:
        product = 1.0
        for path in self._paths:
            product *= abs(_number(path))
        return product / self._unit


def _powercap() -> Any:
    paths, ranges = [], []
    for entry in _entries("powercap"):
        folder = os.path.join(SYSFS, "powercap", entry)
        if entry.count(":") == 1 and _read(os.path.join(folder, "name")).startswith("package"):
            paths.append(os.path.join(folder, "energy_uj"))
            ranges.append(_number(os.path.join(folder, "max_energy_range_uj")))
    return Counter("powercap", paths, ranges) if paths else None


def _hwmon(suffix: str) -> list[tuple[str, str]]:
    """(label, path) of the inputs of a kind, such as `power`; those that see all of the board first."""
    found = []
    for entry in _entries("hwmon"):
        folder = os.path.join(SYSFS, "hwmon", entry)
        for name in sorted(os.listdir(folder)):
            if not (name.startswith(suffix) and name.endswith("_input")):
                continue
            label = os.path.join(folder, name[: -len("_input")] + "_label")
            chip = os.path.join(folder, "name")
            told = _read(label) if os.path.exists(label) else _read(chip) if os.path.exists(chip) else entry
            found.append((told, os.path.join(folder, name)))
    ranks = {name: rank for rank, name in enumerate(_TOTALS)}
    return sorted(found, key=lambda one: ranks.get(one[0].lower(), len(ranks)))


def _hwmon_energy() -> Any:
    found = _hwmon("energy")
    return Counter("hwmon " + found[0][0], [found[0][1]], [1 << 64]) if found else None


def _hwmon_power() -> Any:
    found = _hwmon("power")
    if found:
        label, path = found[0]
        return Sensor("hwmon " + label, [path], 1e6)
    for label, volts in _hwmon("in"):
        amperes = os.path.join(os.path.dirname(volts), "curr" + os.path.basename(volts)[2:])
        if os.path.exists(amperes):
            return Sensor("hwmon " + label, [volts, amperes], 1e6)  # mV and mA
    return None


def _battery() -> Any:
    for entry in _entries("power_supply"):
        folder = os.path.join(SYSFS, "power_supply", entry)
        if _read(os.path.join(folder, "type")) != "Battery":
            continue
        status = _read(os.path.join(folder, "status"))
        if status != "Discharging":
            raise LookupError(
                "the battery's gauge: it tells what a device takes only while it discharges; it is: %s" % status
            )
        power, current, voltage = (os.path.join(folder, n) for n in ("power_now", "current_now", "voltage_now"))
        if os.path.exists(power):
            return Sensor("battery", [power], 1e6)
        return Sensor("battery", [current, voltage], 1e12)  # µA and µV
    return None


_PROBES = (_powercap, _hwmon_energy, _hwmon_power, _battery)


def find() -> tuple[Any, str]:
    """The first source that can be read, or None and why there is none."""
    reasons = []
    for probe in _PROBES:
        try:
            source = probe()
        except (OSError, ValueError, LookupError) as error:
            reasons.append(str(error))
            continue
        if source is not None:
            return source, ""
    return None, "; ".join(reasons) or "no powercap, no energy or power in hwmon, no battery in sysfs"


def not_measured(because: str) -> dict[str, Any]:
    """The `energy` event's fields where nothing was measured."""
    return {"source": None, "joules": None, "idle_w": None, "seconds": 0.0, "invokes": 0, "because": because}


class Meter:
    """Measures the energy of what happens between `start` and `stop`; `tick` is called after every invoke."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._because = find()
        self._clock = clock
        self._idle_w = None  # type: float | None
        self._readings = []  # type: list[float]
        self._next = float("inf")
        self._began = self._joules = 0.0

    def idle(self) -> None:
        """Measures what the device takes while this process sleeps. Takes no time where there is no source."""
        if self._source is None:
            return
        try:
            began = self._clock()
            if self._source.kind == "counter":
                before = self._source.joules()
                time.sleep(IDLE_S)
                self._idle_w = (self._source.joules() - before) / (self._clock() - began)
                return
            readings = []
            while self._clock() - began < IDLE_S:
                readings.append(self._source.watts())
                time.sleep(IDLE_TICK_S)
            self._idle_w = sum(readings) / len(readings)
        except (OSError, ValueError) as error:
            self._give_up(error)

    def start(self) -> None:
        self._began = self._clock()
        if self._source is None:
            return
        try:
            if self._source.kind == "counter":
                self._joules = self._source.joules()
            else:
                self._readings = [self._source.watts()]
                self._next = self._began + TICK_S
        except (OSError, ValueError) as error:
            self._give_up(error)

    def tick(self) -> None:
        """Reads a sensor if it is time to. For after every invoke: it costs a look at the clock."""
        if self._clock() < self._next:
            return
        try:
            self._readings.append(self._source.watts())
            self._next = self._clock() + TICK_S
        except (OSError, ValueError) as error:
            self._give_up(error)

    def stop(self, invokes: int) -> dict[str, Any]:
        """The `energy` event's fields: joules of all that happened since `start`, idle watts, why there are none."""
        seconds = self._clock() - self._began
        self._next = float("inf")
        joules = None  # type: float | None
        if self._source is not None:
            try:
                if self._source.kind == "counter":
                    joules = self._source.joules() - self._joules
                else:
                    self._readings.append(self._source.watts())
                    if len(self._readings) >= LEAST_READINGS:
                        joules = seconds * sum(self._readings) / len(self._readings)
                    else:
                        self._because = "%d readings of %s are too few for a mean: raise min_s in the target" % (
                            len(self._readings), self._source.source,
                        )  # fmt: skip
            except (OSError, ValueError) as error:
                self._give_up(error)
        return {
            "source": self._source.source if self._source is not None else None,
            "joules": joules,
            "idle_w": self._idle_w,
            "seconds": seconds,
            "invokes": invokes,
            "because": None if joules is not None else self._because,
        }

    def _give_up(self, error: Exception) -> None:
        self._source, self._next, self._idle_w = None, float("inf"), None
        self._because = str(error)
