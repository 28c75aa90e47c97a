"""Many devices at once, over real connections: in parallel, one at a time on one machine, and none stops another."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from edgekit.bench.fleet import exit_status_of, measure_all, worst
from edgekit.devices import connect, load_target
from edgekit.devices.lock import holder
from edgekit.devices.throwaway_sshd import ThrowawaySshd
from edgekit.errors import DeviceBusyError, RunnerError, UnreachableDeviceError, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgekit.bench.fleet import Part
    from edgekit.devices import Target

pytestmark = pytest.mark.device
OTHER_BOOT = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'


@dataclass
class Jobs:
    """A job that takes its device for a while, and remembers who was measured when."""

    seconds: float = 0.3
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    most: int = 0
    now: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, target: Target, go_on: Callable[[], None]) -> str:
        with connect(target) as device, device.lock("fleet"):
            began = time.monotonic()
            with self.guard:
                self.now += 1
                self.most = max(self.most, self.now)
            while time.monotonic() < began + self.seconds:
                go_on()
                time.sleep(0.01)
            with self.guard:
                self.now -= 1
            self.spans[target.name] = (began, time.monotonic())
            return device.target.name

    def overlap(self, a: str, b: str) -> bool:
        (a0, a1), (b0, b1) = self.spans[a], self.spans[b]
        return a0 < b1 and b0 < a1


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Target]]:
    """Three SSH servers that are other machines, as far as they tell: each shows a boot id of its own."""
    folder = tmp_path_factory.mktemp("others")
    with ExitStack() as stack:
        found = []
        for name in ("pi", "jetson", "nuc"):
            boot_id = folder / f"{name}.boot_id"
            boot_id.write_text(f"{uuid.uuid4()}\n")
            server = ThrowawaySshd(enter=["unshare", "--mount", "sh", "-c", OTHER_BOOT, str(boot_id)])
            stack.enter_context(server)
            found.append(load_target(str(server.write_target(folder / f"{name}.toml", name, str(folder / name)))))
        yield found


@pytest.fixture
def away(sshd: ThrowawaySshd, tmp_path: Path) -> Target:
    return load_target(str(sshd.write_target(tmp_path / "away.toml", "away", str(tmp_path / "away"), port=1)))


def states(parts: list[Part[str]]) -> dict[str, object]:
    return {part.target.name: part.found or type(part.error) for part in parts}


def test_devices_are_measured_in_parallel(others: list[Target]) -> None:
    jobs = Jobs(seconds=1.0)
    parts = measure_all(others, jobs)
    assert states(parts) == {"pi": "pi", "jetson": "jetson", "nuc": "nuc"}
    assert [part.target for part in parts] == others
    assert jobs.most == 3


def test_no_more_at_a_time_than_there_are_workers(others: list[Target]) -> None:
    jobs = Jobs()
    assert len(measure_all(others, jobs, workers=2)) == 3
    assert jobs.most == 2


def test_targets_that_are_one_machine_take_turns_and_this_one_comes_last(
    others: list[Target], ssh_target: Target, local_target: Target
) -> None:
    jobs = Jobs()
    parts = measure_all([local_target, ssh_target, *others[:2]], jobs)
    assert all(part.found for part in parts)
    assert not jobs.overlap("here", "board")
    assert max(jobs.spans[name][1] for name in ("pi", "jetson")) <= min(jobs.spans[n][0] for n in ("here", "board"))


def test_who_is_away_or_locked_stops_nobody(others: list[Target], away: Target, local_target: Target) -> None:
    seen: list[str] = []
    with connect(others[1]) as device, device.lock("somebody else"):
        parts = measure_all([away, *others, local_target], Jobs(), on_part=lambda part: seen.append(part.target.name))
    found = states(parts)
    assert found == {
        "away": UnreachableDeviceError,
        "pi": "pi",
        "jetson": DeviceBusyError,
        "nuc": "nuc",
        "here": "here",
    }
    assert [part.away for part in parts] == [True, False, True, False, False]
    assert sorted(seen) == sorted(found)


def test_when_all_are_away_nothing_is_measured(away: Target) -> None:
    jobs = Jobs()
    assert states(measure_all([away], jobs)) == {"away": UnreachableDeviceError}
    assert jobs.spans == {}


def test_a_job_that_breaks_is_raised_when_the_others_are_done(others: list[Target]) -> None:
    jobs = Jobs()

    def job(target: Target, go_on: Callable[[], None]) -> str:
        if target.name == "pi":
            raise ZeroDivisionError
        return jobs(target, go_on)

    with pytest.raises(ZeroDivisionError):
        measure_all(others, job)
    assert set(jobs.spans) == {"jetson", "nuc"}


def test_interrupted_all_of_them_end_and_release_their_locks(others: list[Target], away: Target) -> None:
    def interrupt(part: Part[str]) -> None:
        raise KeyboardInterrupt

    jobs = Jobs(seconds=0.4)

    def job(target: Target, go_on: Callable[[], None]) -> str:
        return Jobs(seconds=60)(target, go_on) if target.name != "nuc" else jobs(target, go_on)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        measure_all(others, job, on_part=interrupt)
    assert time.monotonic() - began < 15
    for target in others:
        with connect(target) as device:
            assert holder(device) is None


@pytest.mark.parametrize(
    ("statuses", "all_together"), [([0, 0], 0), ([0, 4], 4), ([4, 3, 0], 3), ([4, 3, 1], 1), ([], 0)]
)
def test_exit_status_of_all_together(statuses: list[int], all_together: int) -> None:
    assert worst(statuses) == all_together


def test_a_device_that_is_away_is_inconclusive() -> None:
    errors = [UnreachableDeviceError("x"), DeviceBusyError("x"), WrongAnswerError("x"), RunnerError("x")]
    assert [exit_status_of(error) for error in errors] == [4, 4, 3, 1]
