"""Guards: what is outside of a target's limits waits, what was disturbed is measured again, and both have an end.

The board is a real sshd whose sessions find a tree of the tests' own at /sys; what reads it is what reads any board's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.bench.compare import compare_runs
from edgekit.bench.doctor import examine
from edgekit.bench.gate import Plan, gate
from edgekit.bench.guards import disturbances, frequency_means, unchecked, violations
from edgekit.bench.measure import bench
from edgekit.devices import connect
from edgekit.devices.android import Battery
from edgekit.devices.conditions import Clock, Conditions, Zone
from edgekit.devices.lock import holder
from edgekit.devices.target import Limits, Target
from edgekit.errors import OutsideLimitsError
from tests.bench.doubling import brief, doubling, with_doubling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fake_sysfs import Sysfs

    from edgekit.artifact import Artifact


class Story:
    """What happens to a board while it is measured: for each kind of event what to do, one after the other."""

    def __init__(self, **acts: list[Callable[[], object]]) -> None:
        self._acts = acts
        self.waits: list[str] = []

    def __call__(self, _block: int, event: dict[str, Any]) -> None:
        if event["event"] == "waiting":
            self.waits.append(event["because"])
        coming = self._acts.get(event["event"], [])
        if coming:
            coming.pop(0)()


def heat(sysfs: Sysfs, degrees: float) -> Callable[[], None]:
    return lambda: setattr(sysfs, "temperature_c", degrees)


def test_a_hot_board_is_waited_for(board: Any, sysfs: Sysfs, twice: Artifact) -> None:
    sysfs.temperature_c = 85
    story = Story(waiting=[heat(sysfs, 75), heat(sysfs, 72), heat(sysfs, 60)])
    run = bench(board(max_temperature_c=70), twice, threads=1, blocks=1, on_event=story)
    (block,) = run.blocks
    assert story.waits[0] == "0:cpu-thermal is at 85.0 °C, above the 70 that its target allows"
    assert len(story.waits) == 3
    assert block.attempts == 1
    assert block.guard is not None
    assert block.guard.waited_s == pytest.approx(0.15)
    assert block.guard.before.values["temperature_c"] == {"0:cpu-thermal": 60.0}
    assert block.guard.before.values["governor"] == ["performance"]
    assert block.guard.before.values["frequency_hz"] == [1_800_000_000] * 2
    assert run.given_up == ()


def test_a_block_that_ends_too_hot_is_measured_again(board: Any, sysfs: Sysfs, twice: Artifact) -> None:
    story = Story(first=[heat(sysfs, 80)], waiting=[heat(sysfs, 50)])
    run = bench(board(max_temperature_c=70), twice, threads=1, blocks=1, on_event=story)
    assert run.blocks[0].attempts == 2
    assert run.blocks[0].disturbed == ""
    assert "80.0 °C" in story.waits[0]


def test_one_that_never_cools_down_is_given_up_in_time(board: Any, sysfs: Sysfs, twice: Artifact) -> None:
    sysfs.temperature_c = 85
    device, began = board(max_temperature_c=70, wait_s=0.3), time.monotonic()
    with pytest.raises(OutsideLimitsError, match=r"has waited for 0\.3 s: 0:cpu-thermal is at 85\.0 °C"):
        bench(device, twice, threads=1, blocks=4)
    assert time.monotonic() - began < 15  # one wait for all four, not one each


def test_what_was_measured_before_it_overheated_counts(board: Any, sysfs: Sysfs, twice: Artifact) -> None:
    story = Story(facts=[lambda: None, lambda: None, lambda: None, heat(sysfs, 90)])
    run = bench(board(max_temperature_c=70, wait_s=0.2, retries=0), twice, threads=1, blocks=3, on_event=story)
    assert len(run.blocks) == 1
    assert [given.number for given in run.given_up] == [1, 2]
    hot, never = run.given_up
    assert hot.block is not None
    assert hot.block.disturbed == hot.because
    assert "90.0 °C" in hot.because
    assert never.block is None
    assert never.attempts == 0
    assert run.summary.n == run.blocks[0].samples.n
    (comparison,) = compare_runs([(run, run)])
    assert comparison.verdict.outcome == "inconclusive"
    assert "2 of 3 of tflite:float32" in comparison.verdict.because


CHANGES: dict[str, tuple[Callable[[Sysfs], None], str]] = {
    "governor": (
        lambda sysfs: sysfs.cores("scaling_governor", "powersave"), "governor changed from performance to powersave"
    ),
    "cap": (lambda sysfs: sysfs.cores("scaling_max_freq", 900_000), "core 0 may run at 0.90 GHz after, and at 1.80"),
    "throttle counter": (
        lambda sysfs: sysfs.write("cpu/cpu1/thermal_throttle/core_throttle_count", 5), "slowed itself down 2 times"
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_in_the_middle_of_a_block_marks_it(board: Any, sysfs: Sysfs, twice: Artifact, change: str) -> None:
    act, says = CHANGES[change]
    story = Story(golden=[lambda: act(sysfs)])
    run = bench(board(), twice, threads=1, blocks=1, on_event=story)
    assert run.blocks[0].attempts == 2
    assert says in story.waits[0]


def test_a_block_that_is_disturbed_every_time_is_given_up(board: Any, sysfs: Sysfs, twice: Artifact) -> None:
    names = ["powersave", "performance"] * 4
    story = Story(golden=[lambda: sysfs.cores("scaling_governor", names.pop(0))] * 8)
    with pytest.raises(
        OutsideLimitsError, match=r"measured 3 times, .* governor changed from performance to powersave"
    ):
        bench(board(retries=2), twice, threads=1, blocks=1, on_event=story)
    assert len(names) == 5


@pytest.mark.parametrize("turn_s", [0.0, 0.005])
def test_a_pair_of_a_gate_is_given_up_whole(
    board: Any, sysfs: Sysfs, twice: Artifact, tmp_path: Path, turn_s: float
) -> None:
    other, seen = doubling(tmp_path / "artifacts", model="other"), []

    def on_block(side: str, number: int, event: dict[str, Any]) -> None:
        if event["event"] == "golden":
            seen.append((side, number))
            if len(seen) == 4:  # the second block of the second pair
                sysfs.cores("scaling_governor", "powersave")

    plan = Plan(pairs=4, max_pairs=4, seed=1, tolerance=0.5)
    device = board(retries=0)
    device.target = msgspec.structs.replace(
        device.target, bench=msgspec.structs.replace(device.target.bench, turn_s=turn_s)
    )
    found = gate(device, twice, other, plan=plan, threads=1, on_block=on_block)
    assert len(found.baseline.blocks) == len(found.candidate.blocks) == 3
    whole, half = sorted((run.given_up[0].because for run in (found.baseline, found.candidate)), reverse=True)
    assert whole.startswith("the governor changed")
    if turn_s:  # measured at once, disturbed at once
        assert half == whole
    else:
        assert half.endswith("'s block of the same pair was given up")
    assert found.baseline.given_up[0].number == found.candidate.given_up[0].number == 1


def test_the_lock_is_kept_while_it_waits(board: Any, board_target: Target, sysfs: Sysfs, twice: Artifact) -> None:
    sysfs.temperature_c = 85
    began, holders = time.monotonic(), []
    with connect(board_target) as onlooker:

        def look(_block: int, event: dict[str, Any]) -> None:
            if event["event"] == "waiting" and time.monotonic() - began > 4.5:
                holders.append(holder(onlooker))
                sysfs.temperature_c = 40

        device = board(max_temperature_c=70, poll_s=0.2)
        with device.lock("test", lease_s=3):
            bench(device, twice, threads=1, blocks=1, on_event=look)
    assert holders[0] is not None  # longer than the lease would have lasted


def test_every_transport_tells_the_same(target: Target, twice: Artifact, tmp_path: Path) -> None:
    with connect(brief(target, max_temperature_c=70, min_battery_percent=20)) as device:
        run = bench(with_doubling(device, tmp_path), twice, threads=1, blocks=1)
    guard = run.blocks[0].guard
    assert guard is not None
    for facts in (guard.before, guard.after):
        assert facts.values["load_1min"] >= 0
        assert facts.values["memory_available_bytes"] > 0
        assert facts.missing.keys() == {name for name, value in facts.values.items() if value is None}
        assert facts.missing["thermal_status"] == "no Android thermal service"
    if guard.before.values["battery_percent"] is None:
        assert "min_battery_percent" in guard.unchecked


def test_a_loaded_device_is_given_up(target: Target, twice: Artifact, tmp_path: Path) -> None:
    limited = brief(target, wait_s=0)
    limited = msgspec.structs.replace(limited, bench=msgspec.structs.replace(limited.bench, max_load_1min=1e-9))
    with connect(limited) as device, pytest.raises(OutsideLimitsError, match=r"has a load of .*, above the 1e-09"):
        bench(with_doubling(device, tmp_path), twice, threads=1, blocks=1)


def test_the_doctor_holds_a_device_against_its_limits(board: Any, sysfs: Sysfs) -> None:
    sysfs.temperature_c = 85
    findings = [finding for finding in examine(board(max_temperature_c=70, screen="off")) if finding.subject == "limit"]
    assert [finding.what for finding in findings] == [
        "0:cpu-thermal is at 85.0 °C, above the 70 that its target allows", "it does not tell enough to check screen"
    ]  # fmt: skip


def told(**limits: Any) -> Target:
    return Target(name="x", transport="local", limits=Limits(**limits))


WARM = Conditions(
    load_1min=3.0, available_bytes=100_000_000, zones=(Zone("soc", 71.0, None),), thermal_status=2, screen_on=True,
    battery=Battery(12.0, plugged=False, charging=False, temperature_c=41.0),
    clocks=(Clock(0, "schedutil", 2_000_000, 2_000_000, 900_000),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ({"max_temperature_c": 70.0}, "0:soc is at 71.0 °C"),
        ({"max_load_1min": 1.0}, "a load of 3.00, above the 1"),
        ({"max_thermal_status": 1}, "thermal status is moderate, above light"),
        ({"min_available_bytes": 200_000_000}, "100 MB of memory are free"),
        ({"min_battery_percent": 30.0}, "battery is at 12 %, below the 30"),
        ({"plugged": True}, "it is not plugged in"),
        ({"governor": "performance"}, "its governor is schedutil, not performance"),
        ({"screen": "off"}, "its screen is on"),
    ],
)
def test_each_limit(limit: dict[str, Any], says: str) -> None:
    (found,) = violations(WARM, told(**limit), before=True)
    assert says in found
    assert list(violations(WARM, told(), before=True)) == []
    assert list(violations(Conditions(), told(**limit), before=True)) == []  # what is not told cannot be refused
    assert unchecked(Conditions(), told(**limit)) == (next(iter(limit)),)
    assert unchecked(WARM, told(**limit)) == ()


def test_after_a_block_the_load_is_its_own() -> None:
    assert list(violations(WARM, told(max_load_1min=1.0), before=False)) == []


def ticking(governor: str, ticks: dict[int, int]) -> Conditions:
    return Conditions(clocks=(Clock(0, governor, 2_000_000, 2_000_000, 2_000_000),), ticks={"0": ticks})


def test_what_else_may_change() -> None:
    before = ticking("performance", {})
    slower = msgspec.structs.replace(before, clocks=(Clock(0, "performance", 2_000_000, 2_000_000, 600_000),))
    assert list(disturbances(before, slower)) == ["core 0 ran at 2.00 GHz before and at 0.60 GHz after"]
    fewer = msgspec.structs.replace(before, cores=1)
    assert list(disturbances(msgspec.structs.replace(before, cores=2), fewer)) == [
        "2 cores were on before, and 1 after"
    ]
    hotter = msgspec.structs.replace(WARM, thermal_status=3, throttling=("clock capped",))
    assert list(disturbances(WARM, hotter)) == ["it throttled: clock capped", "its thermal status rose from 2 to 3"]
    assert list(disturbances(WARM, WARM)) == []


def test_time_at_other_frequencies_counts_only_under_a_fixed_governor() -> None:
    before, after = {600_000: 50, 2_000_000: 1000}, {600_000: 90, 2_000_000: 1160}
    (found,) = disturbances(ticking("performance", before), ticking("performance", after))
    assert found == "policy 0 ran at other frequencies than 2.00 GHz for 20% of it"
    assert list(disturbances(ticking("schedutil", before), ticking("schedutil", after))) == []
    assert frequency_means(ticking("x", before), ticking("x", after)) == {"0": pytest.approx(1.72e9)}
    assert frequency_means(Conditions(), Conditions()) is None
