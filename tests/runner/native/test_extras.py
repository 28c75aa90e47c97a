"""Sustained runs and energy: the native runner tells what its twin tells, of the same model and the same /sys."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from fake_sysfs import Sysfs

from edgekit.bench.energy import read_energy
from edgekit.bench.sustained import read_chunks
from edgekit.runner.sustain import KEPT
from tests.runner.native.conftest import SANITIZED_ENVIRONMENT, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.artifact import Artifact

pytestmark = pytest.mark.slow

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def sysfs() -> Iterator[Sysfs]:
    with Sysfs() as made:
        yield made


def inside(sysfs: Sysfs, program: Program) -> Program:
    """The same program where that tree is /sys."""
    return Program((*sysfs.enter, *program.command), program.environment)


@pytest.fixture
def request_of(
    converted: Callable[[str, str], Artifact], request_for: Callable[..., dict[str, Any]]
) -> Callable[..., dict[str, Any]]:
    return lambda do, **more: request_for(converted("digits_cnn", "tflite:int8"), do, **more)


def test_a_sustained_run(
    native: Program, python: Program, sanitized: Program, sysfs: Sysfs, request_of: Callable[..., dict[str, Any]]
) -> None:
    sysfs.reset()
    request = request_of("sustain", threads=1, duration_ns=SECOND // 2, chunk_ns=SECOND // 5)
    answers = [inside(sysfs, program)(request) for program in (native, python, sanitized)]
    for answer in answers:
        assert answer.status == 0
        chunks = [event for event in answer.events if event["event"] == "chunk"]
        assert answer.order == ["hello", "facts", "runtime", "golden", *["chunk"] * len(chunks), "facts", "done"]
        assert len(chunks) == 3
        for chunk in chunks:
            step = next(2**k for k in range(40) if chunk["n"] <= KEPT * 2**k)
            assert len(chunk["kept_ns"]) == math.ceil(chunk["n"] / step)
            assert max(chunk["kept_ns"]) <= chunk["max_ns"] <= chunk["total_ns"]
            assert (chunk["temperature_c"], chunk["frequency_hz"], chunk["missing"]) == (41.5, 1_800_000_000, {})
        found = read_chunks(chunks, 0.5, None)
        assert found.complete
        assert found.seconds[-1] == pytest.approx(0.5, abs=0.1)
    for ours, theirs in zip(answers[0].events, answers[1].events, strict=False):
        if ours["event"] == theirs["event"] == "chunk":
            assert ours.keys() == theirs.keys()


def test_without_zones_and_clocks_it_says_why(native: Program, request_of: Callable[..., dict[str, Any]]) -> None:
    with Sysfs() as bare:
        for name in ("class/thermal/thermal_zone0/temp", "cpu/cpu0/cpufreq/scaling_cur_freq",
                     "cpu/cpu1/cpufreq/scaling_cur_freq"):  # fmt: skip
            (bare.folder / name).unlink()
        answer = inside(bare, native)(request_of("sustain", threads=1, duration_ns=1, chunk_ns=1))
    chunk = answer.named("chunk")
    assert chunk["n"] == len(chunk["kept_ns"]) == 1
    assert chunk["missing"] == {"temperature_c": "no thermal zone in sysfs", "frequency_hz": "no cpufreq in sysfs"}


@pytest.mark.parametrize("field", ["duration_ns", "chunk_ns"])
def test_a_request_without_its_bounds_is_refused(
    native: Program, request_of: Callable[..., dict[str, Any]], field: str
) -> None:
    request = request_of("sustain", threads=1, duration_ns=SECOND, chunk_ns=SECOND)
    del request[field]
    error = native(request).named("error")
    assert (error["kind"], error["message"]) == ("protocol", f"the request lacks the field '{field}'")


TREES: dict[str, dict[str, object]] = {
    "nothing": {},
    "powercap": {
        "powercap/intel-rapl:0/name": "package-0", "powercap/intel-rapl:0/energy_uj": 5_000_000,
        "powercap/intel-rapl:0/max_energy_range_uj": 10_000_000, "powercap/intel-rapl:0:0/name": "core",
    },
    "a counter in hwmon": {"hwmon/hwmon0/energy1_input": 7, "hwmon/hwmon0/name": "amd_energy"},
    "a sensor": {"hwmon/hwmon2/power1_input": 4_000_000, "hwmon/hwmon2/name": "ina226"},
    "a board": {
        "hwmon/hwmon1/in1_label": "VDD_SOC", "hwmon/hwmon1/in1_input": 5000, "hwmon/hwmon1/curr1_input": 100,
        "hwmon/hwmon1/in2_label": "VDD_IN", "hwmon/hwmon1/in2_input": 5000, "hwmon/hwmon1/curr2_input": 900,
    },
    "a battery": {
        "power_supply/BAT0/type": "Battery", "power_supply/BAT0/status": "Discharging",
        "power_supply/BAT0/current_now": -500_000, "power_supply/BAT0/voltage_now": 4_000_000,
    },
}  # fmt: skip


@pytest.mark.parametrize("tree", TREES)
def test_energy_is_what_its_twin_says(
    tree: str, native: Program, python: Program, sysfs: Sysfs, request_of: Callable[..., dict[str, Any]]
) -> None:
    sysfs.reset()
    for path, value in TREES[tree].items():
        sysfs.write(f"class/{path}", value)
    request = request_of("bench", min_ns=1_700_000_000 if tree == "a board" else 1, max_ns=3 * SECOND)
    ours, theirs = (read_energy(inside(sysfs, program)(request).named("energy")) for program in (native, python))
    assert (ours.source, ours.because) == (theirs.source, theirs.because)
    assert ours.idle_w == (None if theirs.idle_w is None else pytest.approx(theirs.idle_w))
    if ours.joules is not None:
        assert theirs.joules is not None
        assert ours.joules / ours.seconds == pytest.approx(theirs.joules / theirs.seconds)
    assert (ours.joules is None) == (tree in ("nothing", "a sensor", "a battery"))


def test_energy_under_the_sanitizers(
    sanitized: Program, sysfs: Sysfs, request_of: Callable[..., dict[str, Any]]
) -> None:
    sysfs.reset()
    sysfs.write("class/power_supply/BAT0/type", "Battery")
    sysfs.write("class/power_supply/BAT0/status", "Charging " + "x" * 500)
    sysfs.write("class/hwmon/hwmon9/in1_input", "many")
    sysfs.write("class/hwmon/hwmon9/in1_label", "L" * 300)
    sysfs.write("class/hwmon/hwmon9/curr1_input", "none")
    sysfs.write("class/powercap/intel-rapl:0/name", "package-0")
    assert sanitized.environment == SANITIZED_ENVIRONMENT
    energy = inside(sysfs, sanitized)(request_of("bench")).named("energy")
    assert energy["source"] is None
    assert "only while it discharges" in energy["because"]
