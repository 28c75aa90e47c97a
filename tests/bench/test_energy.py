"""Energy, read by the real runner from counters and sensors of a tree that the tests keep counting."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.bench.energy import Energy, middle_net_j, read_energy
from edgekit.bench.measure import bench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fake_sysfs import Sysfs

    from edgekit.artifact import Artifact


class Rapl:
    """A package that counts `watts`, in a file, and wraps."""

    RANGE = 60_000_000

    def __init__(self, sysfs: Sysfs) -> None:
        self.watts = 5.0
        self._sysfs = sysfs
        sysfs.write("class/powercap/intel-rapl:0/name", "package-0")
        sysfs.write("class/powercap/intel-rapl:0/max_energy_range_uj", self.RANGE)
        sysfs.write("class/powercap/intel-rapl:0:0/name", "core")  # a part of it, which must not count twice
        self._count(0)

    def _count(self, microjoules: float) -> None:
        self._sysfs.write("class/powercap/intel-rapl:0/energy_uj", int(microjoules) % self.RANGE)

    @contextmanager
    def counting(self) -> Iterator[Rapl]:
        ended = threading.Event()

        def count() -> None:
            spent, last = 50_000_000.0, time.monotonic()
            while not ended.wait(0.005):
                now = time.monotonic()
                spent += 1e6 * self.watts * (now - last)
                last = now
                self._count(spent)

        counter = threading.Thread(target=count)
        counter.start()
        try:
            yield self
        finally:
            ended.set()
            counter.join()


def test_a_counter_that_wraps(board: Any, sysfs: Sysfs, twice: Artifact) -> None:
    with Rapl(sysfs).counting() as rapl:

        def work(_block: int, event: dict[str, Any]) -> None:
            if event["event"] == "warmup":
                rapl.watts = 25.0

        run = bench(long_blocks(board()), twice, threads=1, blocks=1, on_event=work)
    energy = run.blocks[0].energy
    assert energy is not None
    assert energy.source == "powercap"
    assert energy.idle_w == pytest.approx(5, rel=0.3)
    assert energy.joules is not None
    assert energy.joules / energy.seconds == pytest.approx(25, rel=0.3)
    assert energy.net_j == pytest.approx(20 * energy.seconds / energy.invokes, rel=0.4)
    assert energy.invokes == run.blocks[0].samples.n


def long_blocks(device: Any, seconds: float = 1.0) -> Any:
    device.target = msgspec.structs.replace(
        device.target, bench=msgspec.structs.replace(device.target.bench, min_s=seconds, max_s=seconds + 1)
    )
    return device


def test_a_board_s_sensor_of_all_it_takes(board: Any, sysfs: Sysfs, twice: Artifact) -> None:
    for rail, label, milliamperes in ((1, "VDD_CPU_GPU_CV", 100), (2, "VDD_IN", 900)):
        sysfs.write(f"class/hwmon/hwmon3/in{rail}_label", label)
        sysfs.write(f"class/hwmon/hwmon3/in{rail}_input", 5000)
        sysfs.write(f"class/hwmon/hwmon3/curr{rail}_input", milliamperes)
    energy = bench(long_blocks(board(), 1.8), twice, threads=1, blocks=1).blocks[0].energy
    assert energy is not None
    assert energy.source == "hwmon VDD_IN"
    assert energy.idle_w == pytest.approx(4.5)
    assert energy.joules == pytest.approx(4.5 * energy.seconds)
    assert energy.net_j == pytest.approx(0, abs=1e-9)


def test_a_sensor_needs_time(board: Any, sysfs: Sysfs, twice: Artifact) -> None:
    sysfs.write("class/hwmon/hwmon0/power1_input", 4_000_000)
    sysfs.write("class/hwmon/hwmon0/name", "ina226")
    energy = bench(board(), twice, threads=1, blocks=1).blocks[0].energy
    assert energy is not None
    assert energy.joules is None
    assert energy.because == "2 readings of hwmon ina226 are too few for a mean: raise min_s in the target"


@pytest.mark.parametrize(
    ("status", "because"), [("Discharging", "2 readings of battery"), ("Full", "only while it discharges; it is: Full")]
)
def test_a_battery_tells_only_while_it_discharges(
    board: Any, sysfs: Sysfs, twice: Artifact, status: str, because: str
) -> None:
    for name, value in (("type", "Battery"), ("status", status), ("current_now", -500_000), ("voltage_now", 4_000_000)):
        sysfs.write(f"class/power_supply/BAT0/{name}", value)
    energy = bench(board(), twice, threads=1, blocks=1).blocks[0].energy
    assert energy is not None
    assert energy.joules is None
    assert energy.because is not None
    assert because in energy.because
    if status == "Discharging":
        assert energy.idle_w == pytest.approx(2.0)


def test_without_any_it_is_null_with_a_reason(board: Any, twice: Artifact) -> None:
    energy = bench(board(), twice, threads=1, blocks=1).blocks[0].energy
    assert energy is not None
    assert (energy.source, energy.joules, energy.net_j) == (None, None, None)
    assert energy.because == "no powercap, no energy or power in hwmon, no battery in sysfs"


def test_a_runner_that_does_not_tell() -> None:
    assert read_energy(None).because == "this runner does not tell"
    with pytest.raises(msgspec.ValidationError):
        read_energy({"event": "energy", "source": 3})


def test_the_middle_of_blocks() -> None:
    def of(joules: float) -> Energy:
        return Energy("powercap", joules, 1.0, 1.0, 10)

    assert middle_net_j([of(2.0), of(11.0), of(3.0)]) == pytest.approx(0.2)
    assert middle_net_j([of(2.0), of(4.0)]) == pytest.approx(0.2)
    assert middle_net_j([read_energy(None)]) is None
