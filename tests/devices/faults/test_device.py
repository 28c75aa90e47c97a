"""Devices that fail underneath: full, read-only and emptied disks, servers that die, reboots, clocks that jump."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.bench import bench
from edgekit.deploy import deploy, rollback, status
from edgekit.devices import Target, connect
from edgekit.devices import lock as lock_module
from edgekit.devices.progress import Progress
from edgekit.errors import (
    ConnectionLostError,
    DeviceBusyError,
    DeviceStorageError,
    NothingToRollBackError,
    RebootedError,
    RunnerError,
)
from tests.devices.faults.cuts import EVENTS, stub_runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from cut_proxy import CutProxy

    from edgekit.artifact import Artifact
    from edgekit.devices import Device
    from edgekit.devices.throwaway_sshd import ThrowawaySshd

pytestmark = pytest.mark.device


def current(root: Path) -> str:
    return (root / "models/tiny/current").resolve(strict=True).name


def with_stub(target: Target, folder: Path, events: list[dict[str, Any]] = EVENTS) -> Target:
    return msgspec.structs.replace(target, python=str(stub_runner(folder, events)), runner="python")


# Disks


def test_a_full_disk_stops_every_step_and_keeps_what_is_current(
    small_disk: Path, ssh_target: Target, make_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    old = make_artifact(payload=b"o" * 5000)
    target = with_stub(ssh_target, tmp_path)
    with connect(target) as device:
        deploy(device, old)
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
    with connect(target) as device:
        for step in (
            lambda: deploy(device, make_artifact(payload=b"n" * 60_000)),
            lambda: bench(device, old, threads=1, blocks=1),  # there is no room for the runner
        ):
            with pytest.raises(DeviceStorageError, match=r"'board'.*no space left while .*Free some space"):
                step()
    assert current(small_disk) == old.id
    (small_disk / "filler").unlink()
    with connect(target) as device:
        assert bench(device, old, threads=1, blocks=1).summary.n == 5
        assert status(device)[0].whole


def test_a_read_only_disk_stops_every_step_and_keeps_what_is_current(
    small_disk: Path, ssh_target: Target, make_artifact: Callable[..., Artifact]
) -> None:
    old, new = make_artifact(payload=b"o" * 5000), make_artifact(payload=b"n" * 5000)
    with connect(ssh_target) as device:
        deploy(device, old)
        deploy(device, new)
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        for step in (lambda: rollback(device, "tiny"), lambda: deploy(device, old)):
            with pytest.raises(DeviceStorageError, match=r"'board'.*read-only file system while .*writable"):
                step()
        assert status(device)[0].current_id == new.id  # looking takes no lock
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        assert rollback(device, "tiny").artifact_id == old.id


def test_a_store_that_is_deleted_underneath_is_told_and_comes_back(
    ssh_target: Target, root: Path, make_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    old, new = make_artifact(payload=b"o" * 5000), make_artifact(payload=b"n" * 5000)
    target = with_stub(ssh_target, tmp_path)
    with connect(target) as device:
        deploy(device, old)
        deploy(device, new)
        shutil.rmtree(root / "store")
        assert not status(device)[0].whole
        with pytest.raises(NothingToRollBackError, match="damaged.*Deploy"):
            rollback(device, "tiny")
        assert not deploy(device, new).already_there
        assert status(device)[0].whole
        shutil.rmtree(root)
        assert bench(device, old, threads=1, blocks=1).summary.n == 5
    with connect(target) as device:
        assert status(device) == []


def test_a_store_that_is_deleted_during_an_upload(
    ssh_target: Target, root: Path, make_artifact: Callable[..., Artifact]
) -> None:
    artifact = make_artifact(payload=os.urandom(3_000_000))
    gone: list[int] = []

    def delete(_: int) -> None:
        if not gone:
            gone.append(1)
            shutil.rmtree(root)

    with connect(ssh_target) as device:
        with pytest.raises(Exception, match=r"'board'.*while") as caught:
            deploy(device, artifact, Progress(delete))
        assert type(caught.value).__module__ == "edgekit.errors"
    with connect(ssh_target) as device:
        assert not deploy(device, artifact).already_there
        assert status(device)[0].whole


# Servers


def test_an_sshd_that_is_killed_with_all_its_sessions(tmp_path: Path, make_artifact: Callable[..., Artifact]) -> None:
    from edgekit.devices import load_target
    from edgekit.devices.throwaway_sshd import ThrowawaySshd

    artifact = make_artifact(payload=os.urandom(3_000_000))

    def kill(server: ThrowawaySshd) -> None:
        for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        os.kill(server.pid, signal.SIGKILL)

    root = tmp_path / "root"
    with ThrowawaySshd() as server:
        target = load_target(str(server.write_target(tmp_path / "t.toml", "dies", str(root))))
        with connect(target) as device, pytest.raises(ConnectionLostError, match=r"'dies'.*while uploading tiny"):
            deploy(device, artifact, Progress(lambda _: kill(server)))
    assert not (root / "models").exists()
    with ThrowawaySshd() as server:
        target = load_target(str(server.write_target(tmp_path / "t.toml", "dies", str(root))))
        with connect(target) as device:
            assert deploy(device, artifact).artifact_id == artifact.id


# Reboots


def rebooting(events: list[dict[str, Any]], **boot_ids: str) -> list[dict[str, Any]]:
    return [
        {**event, "values": {**event["values"], "boot_id": boot_ids[event["when"]]}}
        if event["event"] == "facts"
        else event
        for event in events
    ]


def test_a_reboot_within_a_block_is_told(ssh_target: Target, tiny_artifact: Artifact, tmp_path: Path) -> None:
    target = with_stub(ssh_target, tmp_path, rebooting(EVENTS, before="11111111-a", after="22222222-b"))
    with (
        connect(target) as device,
        pytest.raises(
            RebootedError, match=r"'board'.*rebooted while measuring tiny.*11111111 and is 22222222 now.*run it again"
        ),
    ):
        bench(device, tiny_artifact, threads=1, blocks=1)


def test_a_reboot_between_blocks_is_told(ssh_target: Target, tiny_artifact: Artifact, tmp_path: Path) -> None:
    target = with_stub(ssh_target, tmp_path, rebooting(EVENTS, before="11111111-a", after="11111111-a"))

    def reboot(_block: int, event: dict[str, Any]) -> None:
        if event["event"] == "done":
            stub_runner(tmp_path, rebooting(EVENTS, before="22222222-b", after="22222222-b"))

    with connect(target) as device, pytest.raises(RebootedError, match="rebooted while measuring"):
        bench(device, tiny_artifact, threads=1, blocks=2, on_event=reboot)


def test_a_link_that_is_lost_by_a_reboot_is_told_as_one(
    proxied_target: Target, proxy: CutProxy, tiny_artifact: Artifact, tmp_path: Path
) -> None:
    before = rebooting(EVENTS, before="11111111-a", after="11111111-a")  # the real one is another

    def cut(block: int, event: dict[str, Any]) -> None:
        if block == 1 and event["event"] == "runtime":
            proxy.cut()

    with (
        connect(with_stub(proxied_target, tmp_path, before)) as device,
        pytest.raises(RebootedError, match=r"'far'.*rebooted while measuring tiny"),
    ):
        bench(device, tiny_artifact, threads=1, blocks=2, on_event=cut)


def test_a_link_that_is_merely_cut_is_no_reboot(
    proxied_target: Target, proxy: CutProxy, tiny_artifact: Artifact, tmp_path: Path
) -> None:
    real = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def cut(block: int, event: dict[str, Any]) -> None:
        if block == 1 and event["event"] == "runtime":
            proxy.cut()

    target = with_stub(proxied_target, tmp_path, rebooting(EVENTS, before=real, after=real))
    with connect(target) as device, pytest.raises(ConnectionLostError, match="was lost while running the runner"):
        bench(device, tiny_artifact, threads=1, blocks=2, on_event=cut)


# Clocks


@pytest.fixture
def clock(tmp_path: Path, sshd: ThrowawaySshd, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Moves the clock of `local` devices, as their `date` tells it, by so many seconds."""
    folder = tmp_path / "clock"
    folder.mkdir()
    real = shutil.which("date")
    (folder / "date").write_text(
        f'#!/bin/sh\n[ "$1" = +%s ] || exec {real} "$@"\necho $(($({real} +%s) + $(cat \'{folder}/offset\')))\n'
    )
    (folder / "date").chmod(0o755)
    (folder / "offset").write_text("0")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda seconds: (folder / "offset").write_text(str(seconds)) and None


YEARS = 10 * 365 * 86400


def hold_and_vanish(target: Target, monkeypatch: pytest.MonkeyPatch) -> object:
    """A lock of another machine's, which is not released as long as what is returned lives."""
    with connect(target) as device, monkeypatch.context() as other:
        other.setattr(lock_module, "_machine", lambda: "another machine")
        held = device.lock("vanishing")
        held.__enter__()
        return held


def test_a_clock_that_goes_back_years_does_not_lock_for_years(
    local_target: Target, clock: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = hold_and_vanish(local_target, monkeypatch)
    assert held  # its end would release the lock
    with connect(local_target) as device, pytest.raises(DeviceBusyError, match="within 15 min"), device.lock("x"):
        pass
    clock(-YEARS)  # a board without a battery, after a power cut
    with connect(local_target) as device:
        with device.lock("after"):
            pass
        assert not Path(device.path("lock")).exists()


def test_a_crashed_takeover_and_a_clock_that_went_back(local_target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(local_target) as device:
        takeover = Path(device.path("lock", "takeover"))
        takeover.mkdir(parents=True)
        Path(device.path("lock", "lease")).write_text("dead\n1\n")
        in_years = time.time() + YEARS
        os.utime(takeover, (in_years, in_years))
        with device.lock("after"):
            pass


def test_a_clock_that_goes_forward_frees_the_lock_and_its_holder_is_told(
    local_target: Target, clock: Callable[[int], None]
) -> None:
    with connect(local_target) as device, connect(local_target) as other, device.lock("first") as lock:
        clock(YEARS)
        lock.renew()  # nobody else came: it is still ours
        with pytest.raises(DeviceBusyError), other.lock("second"):
            pass
        clock(2 * YEARS)
        with other.lock("second"), pytest.raises(DeviceBusyError, match="taken over by .*second"):
            lock.renew()


def test_a_holder_whose_clock_goes_back_keeps_its_lock(local_target: Target, clock: Callable[[int], None]) -> None:
    with connect(local_target) as device, connect(local_target) as other, device.lock("first") as lock:
        clock(-600)
        with pytest.raises(DeviceBusyError), other.lock("second"):
            pass
        lock.renew()
        with pytest.raises(DeviceBusyError), other.lock("second"):
            pass


def test_latencies_that_a_jumping_clock_gave_are_refused(
    ssh_target: Target, tiny_artifact: Artifact, tmp_path: Path
) -> None:
    events = [{**e, "samples_ns": [8, -3_600_000_000_000, 9]} if e["event"] == "samples" else e for e in EVENTS]
    with connect(with_stub(ssh_target, tmp_path, events)) as device, pytest.raises(RunnerError, match="clock"):
        bench(device, tiny_artifact, threads=1, blocks=1)


# What a device says of its files


@pytest.mark.parametrize(
    ("name", "leads_to"),
    [("..", "../../store/" + "a" * 64), ("tiny", "../../../../etc"), ("tiny", "../../store/../../../etc/passwd"),
     ("tiny\x1b[2J", "../../store/" + "a" * 64)],
)  # fmt: skip
def test_links_that_lead_elsewhere_are_not_followed(device: Device, name: str, leads_to: str) -> None:
    folder = Path(device.path("models", name))
    if name != "..":
        folder.mkdir(parents=True)
        (folder / "current").symlink_to(leads_to)
    assert [one.current_id for one in status(device)] in ([], [None])
    with pytest.raises(NothingToRollBackError) as caught:
        rollback(device, name)
    assert str(caught.value).isprintable()
