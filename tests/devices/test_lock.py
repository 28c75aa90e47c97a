"""The device's lock: one holder, named to others, free again whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.devices import Device, Target, connect
from edgekit.devices import lock as lock_module
from edgekit.errors import ConnectionLostError, DeviceBusyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cut_proxy import CutProxy

pytestmark = pytest.mark.device


@pytest.fixture
def other(target: Target) -> Iterator[Device]:
    """Somebody else who is connected to the same device."""
    with connect(target) as connected:
        yield connected


def assert_free(device: Device) -> None:
    assert not Path(device.path("lock")).exists()
    with device.lock("looking"):
        pass


def test_a_held_lock_tells_who_since_when_and_what_for(device: Device, other: Device) -> None:
    with device.lock("bench of crepe_tiny"):
        with pytest.raises(DeviceBusyError) as caught, other.lock("deploy"):
            pass
        message = str(caught.value)
        assert f"process {os.getpid()}" in message
        assert "bench of crepe_tiny" in message
        assert "since 20" in message
        assert "within 15 min" in message
    assert_free(other)


def test_the_same_device_may_ask_again(device: Device, other: Device) -> None:
    with device.lock("outer") as outer:
        with device.lock("inner") as inner:
            assert inner is outer
        with pytest.raises(DeviceBusyError), other.lock("x"):
            pass


@pytest.mark.parametrize("trouble", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_it_is_released_on_any_way_out(device: Device, other: Device, trouble: type[BaseException]) -> None:
    with pytest.raises(trouble), device.lock("bench"):
        raise trouble
    assert_free(other)


def test_looking_tells_who_holds_it_and_changes_nothing(device: Device, other: Device) -> None:
    assert lock_module.holder(other) is None
    assert not Path(device.path("lock")).exists()
    with device.lock("bench of crepe_tiny") as lock:
        found = lock_module.holder(other)
        assert found is not None
        assert found.owner == lock.owner
        assert 14 * 60 < found.expires_in_s <= 15 * 60
        assert "bench of crepe_tiny" in found.told
        assert "lease ends in 15 min" in found.told
        lock.renew()
    assert lock_module.holder(other) is None


def test_it_can_be_broken_on_purpose_and_its_holder_notices(device: Device, other: Device) -> None:
    with device.lock("gone for lunch") as lock:
        found = lock_module.holder(other)
        assert found is not None
        assert lock_module.unlock(other, found)
        with other.lock("impatient"), pytest.raises(DeviceBusyError, match=r"taken over by .*impatient"):
            lock.renew()
        with other.lock("impatient"):
            assert not lock_module.unlock(other, found), "that holding is over: a later one is not broken"
            assert lock_module.holder(device) is not None


def test_waiting_has_a_bound_and_tells_whom_it_waits_for(device: Device, other: Device) -> None:
    told: list[lock_module.Holder] = []
    with other.lock("a long bench"):
        began = time.monotonic()
        with (
            pytest.raises(DeviceBusyError, match=r"a long bench.*--wait 15m.*targets unlock"),
            device.lock("patient", wait_s=1.2, on_wait=told.append),
        ):
            pass
        assert 1.1 < time.monotonic() - began < 5
    assert [found.owner.purpose for found in told if found.owner] == ["a long bench"], "told once, not at every look"


def test_waiting_for_it(device: Device, other: Device) -> None:
    ready, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with other.lock("short"):
            ready.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait(10)
    threading.Timer(0.5, leave.set).start()
    began = time.monotonic()
    with device.lock("patient", wait_s=10):
        assert time.monotonic() - began > 0.3
    thread.join()


def test_an_expired_lease_is_taken_over_and_its_holder_notices(device: Device, other: Device) -> None:
    with device.lock("sleepy", lease_s=1) as lost:
        time.sleep(2.1)
        with other.lock("awake"):
            with pytest.raises(DeviceBusyError, match="was taken over by .*awake"):
                lost.renew()
            assert json.loads(Path(device.path("lock", "owner.json")).read_text())["purpose"] == "awake"
    assert_free(other)


def test_a_late_release_does_not_free_the_new_holders_lock(device: Device, other: Device) -> None:
    sleepy = device.lock("sleepy", lease_s=1)
    sleepy.__enter__()
    time.sleep(2.1)
    with other.lock("awake"):
        sleepy.__exit__(None, None, None)
        with pytest.raises(DeviceBusyError, match="awake"), device.lock("third"):
            pass


def test_renewing_keeps_it(device: Device, other: Device) -> None:
    with device.lock("long", lease_s=2) as lock:
        for _ in range(3):
            time.sleep(1)
            lock.keep()
        with pytest.raises(DeviceBusyError), other.lock("x"):
            pass


def test_a_folder_that_nobody_owns_does_not_lock_forever(device: Device) -> None:
    Path(device.path("lock")).mkdir()
    assert_held_then_free(device)


def assert_held_then_free(device: Device) -> None:
    with device.lock("after a crash"):
        assert Path(device.path("lock", "owner.json")).exists()
    assert_free(device)


def test_garbage_in_the_lock_does_not_lock_forever(device: Device) -> None:
    Path(device.path("lock")).mkdir()
    Path(device.path("lock", "lease")).write_bytes(b"\xff\x00 $(touch pwned)\nnot a number\n")
    assert_held_then_free(device)


def test_a_crash_in_the_middle_of_a_takeover_does_not_lock_forever(device: Device) -> None:
    takeover = Path(device.path("lock", "takeover"))
    takeover.mkdir(parents=True)
    Path(device.path("lock", "lease")).write_text("dead\n1\n")
    with pytest.raises(DeviceBusyError), device.lock("bench"):
        pass  # somebody may be taking it over at this very moment
    two_minutes_ago = time.time() - 120
    os.utime(takeover, (two_minutes_ago, two_minutes_ago))
    assert_held_then_free(device)


def test_the_lock_of_a_dead_process_of_this_machine_is_free(target: Target, device: Device) -> None:
    script = (
        "import sys, os\nfrom edgekit.devices import connect\nimport msgspec\n"
        "from edgekit.devices import Target\n"
        "d = connect(msgspec.json.decode(sys.argv[1], type=Target))\n"
        "lock = d.lock('doomed')\nlock.__enter__()\nos._exit(9)\n"
    )
    import msgspec

    subprocess.run([sys.executable, "-c", script, msgspec.json.encode(target).decode()], check=False)
    assert Path(device.path("lock")).exists()
    assert_held_then_free(device)


def test_only_one_of_many_gets_an_expired_lock(target: Target, device: Device) -> None:
    Path(device.path("lock")).mkdir()
    Path(device.path("lock", "lease")).write_text("dead\n1\n")
    holding, most, refused = [0], [0], []
    guard = threading.Lock()

    def contend() -> None:
        try:
            with connect(target) as mine, mine.lock("me"):
                with guard:
                    holding[0] += 1
                    most[0] = max(most[0], holding[0])
                time.sleep(0.2)
                with guard:
                    holding[0] -= 1
        except DeviceBusyError as error:
            refused.append(error)

    threads = [threading.Thread(target=contend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert refused


def test_a_holder_whose_disk_is_slow_is_not_overtaken(
    local_target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, slow = tmp_path / "bin", tmp_path / "slow"
    fake.mkdir()
    (fake / "mv").write_text(
        f"#!/bin/sh\ncase $* in */.lease*) if rm '{slow}' 2>/dev/null; then sleep 4; fi ;; esac\n"
        f'exec {shutil.which("mv")} "$@"\n'
    )
    (fake / "mv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    with connect(local_target) as device, connect(local_target) as other:
        slow.touch()
        first = threading.Thread(target=device.lock("slow").__enter__)
        first.start()
        while slow.exists():
            time.sleep(0.01)
        with pytest.raises(DeviceBusyError), other.lock("hasty"):
            pass
        first.join()


def test_after_a_cut_link_the_next_attempt_gets_it_at_once(proxied_target: Target, proxy: CutProxy) -> None:
    with connect(proxied_target) as device, pytest.raises(ConnectionLostError), device.lock("cut"):
        proxy.cut()
        device.run(["true"], step="going on")
    with connect(proxied_target) as again:
        assert Path(again.path("lock")).exists()
        assert_held_then_free(again)


def test_another_machine_waits_for_the_lease(
    proxied_target: Target, proxy: CutProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(proxied_target) as device, pytest.raises(ConnectionLostError), device.lock("cut"):
        proxy.cut()
        device.run(["true"], step="going on")
    monkeypatch.setattr(lock_module, "_lost", set())
    with connect(proxied_target) as again, pytest.raises(DeviceBusyError), again.lock("x"):
        pass
