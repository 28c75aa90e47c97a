"""The store: whole or not there, believed only after hashing on the device, by every transport."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit import plugins
from edgekit.devices import Device, Target, connect
from edgekit.devices.device import Device as DeviceClass
from edgekit.devices.progress import Progress
from edgekit.devices.store import Store
from edgekit.errors import ArtifactError, ConnectionLostError, DeviceStorageError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cut_proxy import CutProxy

    from edgekit.artifact import Artifact
    from edgekit.devices.source import Source
    from edgekit.devices.throwaway_sshd import ThrowawaySshd

pytestmark = pytest.mark.device


def there(device: Device, artifact: Artifact) -> Path:
    return Path(Store(device).artifact_path(artifact.id))


def assert_clean(device: Device) -> None:
    """Nothing half-written, nobody's lock."""
    assert list(Path(device.path("tmp")).glob("*")) == []
    assert not Path(device.path("lock")).exists()


def test_a_push_brings_every_file_and_the_second_sends_nothing(device: Device, tiny_artifact: Artifact) -> None:
    told: list[int] = []
    first = Store(device).push(tiny_artifact, Progress(told.append))
    size = sum(entry.bytes for entry in tiny_artifact.shipped_files())
    assert (first.sent_files, first.already_there, first.reused_bytes, first.resumed_bytes) == (5, False, 0, 0)
    assert sum(told) == first.sent_bytes == size
    for entry in tiny_artifact.shipped_files():
        assert (there(device, tiny_artifact) / entry.path).read_bytes() == (
            tiny_artifact.path / entry.path
        ).read_bytes()
    assert_clean(device)
    told.clear()
    second = Store(device).push(tiny_artifact, Progress(told.append))
    assert (second.sent_bytes, second.sent_files, second.already_there) == (0, 0, True)
    assert told == []


def test_stored_files_are_read_only(device: Device, tiny_artifact: Artifact) -> None:
    Store(device).push(tiny_artifact)
    assert (there(device, tiny_artifact) / "payload/model.tflite").stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("damage", ["changed", "missing", "folder"])
def test_a_damaged_artifact_is_noticed_and_replaced(device: Device, tiny_artifact: Artifact, damage: str) -> None:
    store = Store(device)
    store.push(tiny_artifact)
    files = tiny_artifact.shipped_files()
    assert store.has(tiny_artifact.id, files)
    payload = there(device, tiny_artifact) / "payload/model.tflite"
    content = payload.read_bytes()
    payload.unlink()
    if damage == "changed":
        payload.write_bytes(content[:-1] + b"!")
    if damage == "folder":
        payload.mkdir()
    assert not store.has(tiny_artifact.id, files)
    assert not store.push(tiny_artifact).already_there
    assert store.has(tiny_artifact.id, files)
    assert payload.read_bytes() == content
    assert_clean(device)


def corrupting(base: type) -> type:
    class Corrupting(base):
        def _put(self, source: Source, remote: str, *, append: bool, on_bytes: Callable[[int], None]) -> None:
            super()._put(source, remote, append=append, on_bytes=on_bytes)
            if remote.endswith("pack"):
                with Path(remote).open("r+b") as file:
                    file.write(b"?")

    return Corrupting


def test_bytes_that_change_on_the_way_are_noticed_and_removed(target: Target, tiny_artifact: Artifact) -> None:
    transport = corrupting(plugins.load("transport", target.transport))(target)
    transport.connect()
    with DeviceClass(target, transport) as device:
        with pytest.raises(TransferError, match=r"received tiny tflite:int8 damaged.*manifest.json") as caught:
            Store(device).push(tiny_artifact)
        assert caught.value.exit_status == 3
        assert not there(device, tiny_artifact).exists()
        assert_clean(device)
    with connect(target) as device:
        Store(device).push(tiny_artifact)
        assert Store(device).has(tiny_artifact.id, tiny_artifact.shipped_files())


def test_an_artifact_that_does_not_fit_is_refused_before_anything_is_sent(
    small_disk: Path, device: Device, make_artifact: Callable[..., Artifact]
) -> None:
    told: list[int] = []
    with pytest.raises(DeviceStorageError, match=r"it needs 3.0 MB, and 1.\d MB are free"):
        Store(device).push(make_artifact(payload=b"x" * 3_000_000), Progress(told.append))
    assert told == []
    assert_clean(device)


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half_written_and_the_next_attempt_works(
    small_disk: Path, device: Device, make_artifact: Callable[..., Artifact]
) -> None:
    artifact = make_artifact(payload=os.urandom(700_000))
    filler = small_disk / "filler"

    def fill(_: int) -> None:
        if not filler.exists():
            with suppress(OSError):  # over ADB all is written when the first count is told: then it takes what is left
                filler.write_bytes(b"x" * 500_000)

    with pytest.raises(DeviceStorageError, match="no space left"):
        Store(device).push(artifact, Progress(fill))
    assert not there(device, artifact).exists()
    assert_clean(device)
    filler.unlink()
    assert Store(device).push(artifact).sent_files == 4


def test_a_root_that_cannot_be_made(device: Device, tiny_artifact: Artifact, tmp_path: Path) -> None:
    import msgspec

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DeviceStorageError, match="making its root folder"):
        connect(msgspec.structs.replace(device.target, root=str(tmp_path / "file" / "below")))


def test_a_root_in_the_home_folder(sshd: ThrowawaySshd, ssh_target: Target, tiny_artifact: Artifact) -> None:
    import msgspec

    for root in ("~/.edgekit", ".edgekit"):
        with connect(msgspec.structs.replace(ssh_target, root=root)) as device:
            assert device.root == str(sshd.home / ".edgekit")


def test_a_link_cut_in_the_middle_of_an_upload(
    proxied_target: Target, proxy: CutProxy, make_artifact: Callable[..., Artifact]
) -> None:
    artifact = make_artifact(payload=os.urandom(8_000_000))
    with connect(proxied_target) as device:
        proxy.cut_after_bytes = proxy.passed_bytes + 4_000_000
        with pytest.raises(ConnectionLostError, match="'far'.*was lost while uploading tiny tflite:int8"):
            Store(device).push(artifact)
        assert not there(device, artifact).exists()
        assert list(Path(device.path("tmp")).iterdir()) != []
    with connect(proxied_target) as device:
        assert Store(device).push(artifact).sent_files == 4
        assert Store(device).has(artifact.id, artifact.shipped_files())
        assert_clean(device)


def test_a_session_killed_in_the_middle_of_an_upload(
    sshd: ThrowawaySshd, ssh_target: Target, make_artifact: Callable[..., Artifact]
) -> None:
    artifact = make_artifact(payload=os.urandom(8_000_000))

    def kill_session(_: int) -> None:
        children = Path(f"/proc/{sshd.pid}/task/{sshd.pid}/children").read_text().split()
        for pid in children:
            os.kill(int(pid), signal.SIGKILL)

    with connect(ssh_target) as device, pytest.raises(ConnectionLostError):
        Store(device).push(artifact, Progress(kill_session))
    with connect(ssh_target) as device:
        assert not Store(device).push(artifact).already_there
        assert_clean(device)


def test_ctrl_c_in_the_middle_of_an_upload(device: Device, tiny_artifact: Artifact) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(device).push(tiny_artifact, Progress(interrupt))
    assert not there(device, tiny_artifact).exists()
    assert not Path(device.path("lock")).exists()
    assert not Store(device).push(tiny_artifact).already_there
    assert_clean(device)


def test_ids_are_hashes_and_nothing_else(device: Device) -> None:
    for bad in ("", "../../etc", "a" * 63, "A" * 64, "a" * 64 + "\n"):
        with pytest.raises(ArtifactError, match="not an artifact's id"):
            Store(device).artifact_path(bad)


def test_the_runners_file_is_sent_once_and_repaired(device: Device, tmp_path: Path) -> None:
    import hashlib

    file = tmp_path / "runner.pyz"
    file.write_bytes(b"runner")
    sha256 = hashlib.sha256(b"runner").hexdigest()
    remote = Path(Store(device).put_file(file, sha256))
    assert remote == Path(device.path("runner", f"{sha256}.pyz"))
    before = remote.stat().st_mtime_ns, remote.stat().st_ino
    Store(device).put_file(file, sha256)
    assert (remote.stat().st_mtime_ns, remote.stat().st_ino) == before
    remote.unlink()
    remote.write_bytes(b"ruiner")
    Store(device).put_file(file, sha256)
    assert remote.read_bytes() == b"runner"


@pytest.mark.parametrize("tool", ["sha256sum", "shasum", "openssl"])
def test_any_of_three_tools_computes_the_hashes(local_target: Target, tiny_artifact: Artifact, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch, tool: str) -> None:  # fmt: skip
    import shutil

    bare = tmp_path / "bin"
    bare.mkdir()
    needed = ["sh", "mkdir", "mv", "rm", "ln", "cat", "sync", "df", "date", "find", "chmod", "rmdir", "readlink",
              "ls", "sed", "wc", "dd", "head", "tail"]  # fmt: skip
    for name in [*needed, tool] + (["perl"] if tool == "shasum" else []):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not on this machine")
        (bare / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(bare))
    with connect(local_target) as device:
        Store(device).push(tiny_artifact)
        assert Store(device).has(tiny_artifact.id, tiny_artifact.shipped_files())


def test_busybox_is_enough(local_target: Target, tiny_artifact: Artifact, tmp_path: Path,
                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    import shutil

    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not on this machine")
    bare = tmp_path / "bin"
    bare.mkdir()
    subprocess.run([busybox, "--install", "-s", str(bare)], check=True)
    monkeypatch.setenv("PATH", str(bare))
    with connect(local_target) as device:
        Store(device).push(tiny_artifact)
        assert Store(device).has(tiny_artifact.id, tiny_artifact.shipped_files())
        assert_clean(device)
