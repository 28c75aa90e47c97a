"""Pulls that meet: real processes of edgekit-device, and a host that switches the same links meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.artifact import Artifact, open_artifact
from edgekit.deploy import deploy
from edgekit.deploy.device_program import follow
from edgekit.deploy.on_device import Links, StoreError, links, record
from edgekit.deploy.on_device.exclusive import exclusive
from edgekit.deploy.on_device.pull import Config
from edgekit.devices import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.devices import Device, Target
    from tests.deploy.conftest import Releases
    from tests.deploy.web_server import WebServer

pytestmark = [pytest.mark.device, pytest.mark.slow]
MODEL = "digits_cnn"
HELD_AT = 70_000


@pytest.fixture
def device(local_target: Target, releases: Releases, server: WebServer, digits: Path) -> Iterator[Device]:
    """It follows a channel that has one release."""
    releases.release([open_artifact(digits / "tflite-float32")])
    with connect(local_target) as connected:
        follow(connected, releases.repository.root_bytes(), Config(server.url, "beta"))
        yield connected


@pytest.fixture
def artifact(digits: Path) -> Artifact:
    return open_artifact(digits / "tflite-float32")


def begin(device: Device) -> subprocess.Popen[str]:
    """`edgekit-device pull`, as a timer starts it."""
    argv = [sys.executable, device.path("bin/edgekit-device.pyz"), "pull", MODEL]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def activations(device: Device) -> int:
    return [entry.kind for entry in record.read(device.path("models", MODEL))].count("activated")


def partial(device: Device) -> list[str]:
    return sorted(path.name for path in Path(device.path("releases/partial", MODEL)).iterdir())


def test_of_two_at_once_one_downloads_and_the_other_finds_it_done(
    device: Device, server: WebServer, artifact: Artifact
) -> None:
    done = [ended(process) for process in [begin(device), begin(device)]]
    assert sorted(one["changed"] for one in done) == [False, True]
    assert {one["artifact_id"] for one in done} == {artifact.id}
    assert server.sent_bytes(artifact.id) == (artifact.path / "manifest.json").stat().st_size, "downloaded once"
    assert activations(device) == 1


def test_of_ten_at_once_one_is_killed_in_its_download_and_the_others_go_on_there(
    device: Device, server: WebServer, artifact: Artifact
) -> None:
    payload = max(artifact.shipped_files(), key=lambda entry: entry.bytes)
    assert payload.bytes > 2 * HELD_AT
    server.hold_after = HELD_AT
    first = begin(device)
    assert server.holding.wait(60)
    others = [begin(device) for _ in range(9)]
    assert not Path(device.path("store", artifact.id)).exists()
    first.kill()
    assert first.wait(60) == -signal.SIGKILL
    server.go_on.set()
    done = [ended(process) for process in others]
    assert [one["changed"] for one in done].count(True) == 1
    assert server.sent_bytes(payload.sha256) < payload.bytes + 16_384, "what the killed one had is not sent again"
    assert activations(device) == 1
    assert links.read(device.root, MODEL) == Links(artifact.id, None)
    assert partial(device) == ["fetching", "pulling"]


def test_what_was_left_of_a_release_that_is_no_longer_wanted_goes(
    device: Device, server: WebServer, artifact: Artifact, releases: Releases, digits: Path
) -> None:
    server.hold_after = HELD_AT
    killed = begin(device)
    assert server.holding.wait(60)
    killed.kill()
    killed.wait(60)
    server.go_on.set()
    assert partial(device) == sorted([artifact.id, "fetching", "pulling"])
    releases.release([open_artifact(digits / "tflite-int8")])
    assert ended(begin(device))["changed"]
    assert partial(device) == ["fetching", "pulling"]


def test_a_pull_waits_for_a_host_that_switches_the_links(
    device: Device, artifact: Artifact, make_artifact: Callable[..., Artifact]
) -> None:
    """Both changed `current` in the end; the one that came first is the one to roll back to."""
    before = make_artifact(model=MODEL)
    deploy(device, before)
    with links.switching(device.root, MODEL):
        pulling = begin(device)
        mark = time.monotonic() + 60
        while not Path(device.path("store", artifact.id)).exists() and time.monotonic() < mark:
            time.sleep(0.05)
        with pytest.raises(subprocess.TimeoutExpired):
            pulling.wait(3)
        assert links.read(device.root, MODEL).current == before.id
    assert ended(pulling)["changed"]
    assert links.read(device.root, MODEL) == Links(artifact.id, before.id)


def test_what_a_pull_made_current_during_a_push_is_what_a_rollback_returns_to(
    device: Device, artifact: Artifact, make_artifact: Callable[..., Artifact]
) -> None:
    """The host read the links, proved its artifact for a while, and meets others when it switches them."""
    first, pushed = make_artifact(model=MODEL, payload=b"1" * 99), make_artifact(model=MODEL, payload=b"2" * 99)
    deploy(device, first)

    def prove(*_: object) -> Any:
        assert ended(begin(device))["changed"]

    deploy(device, pushed, prove=prove)
    assert links.read(device.root, MODEL) == Links(pushed.id, artifact.id)


def test_a_lock_that_is_not_given_back_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "folder/lock")
    with (
        exclusive(path, 1, "another pull of tiny"),
        pytest.raises(StoreError, match=r"another pull of tiny has not ended for 0 s; it holds .*folder/lock"),
        exclusive(path, 0.2, "another pull of tiny"),
    ):
        pytest.fail("it was taken twice")
    with exclusive(path, 0, "free again"):
        pass
