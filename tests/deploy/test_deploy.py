"""Deploy, status, rollback: the current artifact changes in one step, after everything was verified there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.deploy import deploy, rollback, status
from edgekit.devices import Device, connect
from edgekit.devices.progress import Progress
from edgekit.errors import (
    ConnectionLostError,
    CorruptArtifactError,
    DeviceBusyError,
    DeviceStorageError,
    NothingToRollBackError,
)
from edgekit.specs import is_model_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from cut_proxy import CutProxy

    from edgekit.artifact import Artifact
    from edgekit.devices import Target

pytestmark = pytest.mark.device


@pytest.fixture
def versions(make_artifact: Callable[..., Artifact]) -> list[Artifact]:
    return [make_artifact(payload=bytes([n]) * 5000) for n in range(4)]


def current(device: Device, model: str = "tiny") -> str:
    return Path(device.path("models", model, "current")).resolve(strict=True).name


def payload(device: Device, model: str = "tiny") -> bytes:
    return Path(device.path("models", model, "current", "payload/model.tflite")).read_bytes()


def tree(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def test_a_deployed_artifact_is_current(device: Device, versions: list[Artifact]) -> None:
    done = deploy(device, versions[0])
    assert (done.model, done.artifact_id, done.previous_id) == ("tiny", versions[0].id, None)
    assert done.sent_bytes > 5000
    assert not done.already_there
    assert current(device) == versions[0].id
    assert str(Path(device.path("models/tiny/current")).readlink()) == f"../../store/{versions[0].id}"


def test_deploying_it_again_sends_and_changes_nothing(device: Device, versions: list[Artifact]) -> None:
    deploy(device, versions[0])
    deploy(device, versions[1])
    before = tree(Path(device.path("models")))
    again = deploy(device, versions[1])
    assert (again.sent_bytes, again.already_there, again.previous_id) == (0, True, versions[0].id)
    assert tree(Path(device.path("models"))) == before


def test_the_one_before_is_kept_and_rollback_swaps(device: Device, versions: list[Artifact]) -> None:
    for artifact in versions[:3]:
        done = deploy(device, artifact)
    assert done.previous_id == versions[1].id
    back = rollback(device, "tiny")
    assert (back.artifact_id, back.previous_id, back.sent_bytes) == (versions[1].id, versions[2].id, 0)
    assert payload(device) == bytes([1]) * 5000
    rollback(device, "tiny")
    assert current(device) == versions[2].id


def test_deploying_the_previous_one_sends_nothing(device: Device, versions: list[Artifact]) -> None:
    deploy(device, versions[0])
    deploy(device, versions[1])
    done = deploy(device, versions[0])
    assert (done.artifact_id, done.previous_id, done.sent_bytes) == (versions[0].id, versions[1].id, 0)


def test_models_do_not_touch_each_other(device: Device, make_artifact: Callable[..., Artifact]) -> None:
    one, two = make_artifact(model="one"), make_artifact(model="two")
    deploy(device, one)
    deploy(device, two)
    assert [(s.model, s.current_id, s.previous_id) for s in status(device)] == [
        ("one", one.id, None),
        ("two", two.id, None),
    ]


def test_status_tells_what_is_whole(device: Device, versions: list[Artifact]) -> None:
    assert status(device) == []
    deploy(device, versions[0])
    deploy(device, versions[1])
    (one,) = status(device)
    assert (one.current_id, one.previous_id) == (versions[1].id, versions[0].id)
    assert (one.title, one.payload_bytes, one.whole) == ("tiny tflite:int8", 5000, True)
    file = Path(device.path("models/tiny/current/payload/model.tflite"))
    file.chmod(0o644)
    file.write_bytes(b"?" + file.read_bytes()[1:])
    assert not status(device)[0].whole
    deploy(device, versions[1])
    assert status(device)[0].whole
    assert status(device)[0].previous_id == versions[0].id


def test_status_does_not_believe_a_foreign_manifest(device: Device, versions: list[Artifact]) -> None:
    deploy(device, versions[0])
    manifest = Path(device.path("models/tiny/current/manifest.json"))
    for content in (manifest.read_bytes().replace(b"tiny", b"evil"), b"{", b""):
        manifest.chmod(0o644)
        manifest.write_bytes(content)
        (one,) = status(device)
        assert (one.title, one.payload_bytes, one.whole) == ("tiny", None, False)
    shutil.rmtree(device.path("store", versions[0].id))
    assert not status(device)[0].whole


def test_status_leaves_out_what_edgekit_would_not_have_written(device: Device, versions: list[Artifact]) -> None:
    deploy(device, versions[0])
    models = Path(device.path("models"))
    for name in ("a\tb", "new\nline", "-rf", "$(x)", "sp ace"):
        (models / name).mkdir()
    (models / "lost").mkdir()
    (models / "lost" / "current").symlink_to("../../../etc")
    found = {one.model: one for one in status(device)}
    assert set(found) == {"tiny", "lost"}
    assert found["lost"].current_id is None


@pytest.mark.parametrize("name", ["v2.1-small", "A", "0", "a_b-c.d"])
def test_every_name_that_a_model_may_have_is_found_again(
    device: Device, make_artifact: Callable[..., Artifact], name: str
) -> None:
    """One rule for names, in Python and in the device's shell."""
    assert is_model_name(name)
    deploy(device, make_artifact(model=name))
    assert [one.model for one in status(device)] == [name]


def test_nothing_to_roll_back(device: Device, versions: list[Artifact]) -> None:
    with pytest.raises(NothingToRollBackError, match="has no model 'tiny'; it has none"):
        rollback(device, "tiny")
    deploy(device, versions[0])
    with pytest.raises(NothingToRollBackError, match=f"{versions[0].short_id} is the only one"):
        rollback(device, "tiny")
    with pytest.raises(NothingToRollBackError, match=r"has no model '../x'; it has tiny \(cannot be rolled back\)"):
        rollback(device, "../x")
    assert current(device) == versions[0].id


def test_rollback_to_a_damaged_artifact_is_refused(device: Device, versions: list[Artifact]) -> None:
    deploy(device, versions[0])
    deploy(device, versions[1])
    Path(device.path("store", versions[0].id, "payload/model.tflite")).unlink()
    with pytest.raises(NothingToRollBackError, match="is damaged"):
        rollback(device, "tiny")
    assert current(device) == versions[1].id


def test_an_artifact_that_is_damaged_here_is_not_sent(device: Device, versions: list[Artifact]) -> None:
    (versions[0].path / "payload/model.tflite").write_bytes(b"damaged")
    with pytest.raises(CorruptArtifactError):
        deploy(device, versions[0])
    assert not Path(device.path("store")).exists()


def test_a_link_cut_in_the_middle_leaves_the_old_one_current_and_the_next_attempt_works(
    proxied_target: Target, proxy: CutProxy, versions: list[Artifact], make_artifact: Callable[..., Artifact]
) -> None:
    large = make_artifact(payload=os.urandom(6_000_000))
    with connect(proxied_target) as device:
        deploy(device, versions[0])
        proxy.cut_after_bytes = proxy.passed_bytes + 3_000_000
        with pytest.raises(ConnectionLostError, match="Nothing was activated"):
            deploy(device, large)
    with connect(proxied_target) as device:
        assert current(device) == versions[0].id
        assert status(device)[0].whole
        done = deploy(device, large)
        assert (done.artifact_id, done.previous_id) == (large.id, versions[0].id)
        assert not list(Path(device.path("tmp")).iterdir())


def test_a_full_disk_leaves_the_old_one_current(
    small_disk: Path, device: Device, versions: list[Artifact], make_artifact: Callable[..., Artifact]
) -> None:
    deploy(device, versions[0])
    with pytest.raises(DeviceStorageError, match="no space left"):
        deploy(device, make_artifact(payload=os.urandom(2_000_000)))
    assert current(device) == versions[0].id
    assert status(device)[0].whole
    deploy(device, versions[1])
    assert rollback(device, "tiny").artifact_id == versions[0].id


def test_ctrl_c_leaves_the_old_one_current_and_the_device_unlocked(device: Device, versions: list[Artifact]) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    deploy(device, versions[0])
    with pytest.raises(KeyboardInterrupt):
        deploy(device, versions[1], Progress(interrupt))
    assert current(device) == versions[0].id
    assert not Path(device.path("lock")).exists()


def test_a_busy_device_is_left_alone(target: Target, device: Device, versions: list[Artifact]) -> None:
    with (
        connect(target) as other,
        other.lock("bench"),
        pytest.raises(DeviceBusyError, match="bench"),
    ):
        deploy(device, versions[0])
    assert not Path(device.path("models")).exists()


@pytest.mark.parametrize("knows", ["-fh", "nothing"])
def test_systems_whose_mv_cannot_replace_links(
    local_target: Target, versions: list[Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows: str
) -> None:
    fake = tmp_path / "bin"
    fake.mkdir()
    real = shutil.which("mv")
    (fake / "mv").write_text(
        f'#!/bin/sh\ncase $1 in\n-fT) exit 64;;\n-fh) [ "{knows}" = -fh ] || exit 64; shift; exec {real} -fT "$@";;\n'
        "esac\n"
        f'exec {real} "$@"\n'
    )
    (fake / "mv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    with connect(local_target) as device:
        for artifact in versions:
            deploy(device, artifact)
            assert current(device) == artifact.id
        assert status(device)[0].previous_id == versions[2].id
