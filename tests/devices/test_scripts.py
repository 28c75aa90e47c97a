"""Every script that EdgeKit runs on a device, under every shell and set of tools that devices have."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from boxes import BOXES, make_box

from edgekit.artifact import FileEntry
from edgekit.deploy import deploy, rollback, status
from edgekit.devices import Device, Target, connect
from edgekit.devices.progress import Progress
from edgekit.devices.scripts.files import DIAGNOSE, RECEIVE, RECEIVE_MORE
from edgekit.devices.scripts.running import WATCH
from edgekit.devices.scripts.upload import ASSEMBLE, DESCRIBE, STAGE, SURVEY, UNPACK
from edgekit.devices.store import Store
from edgekit.errors import DeviceBusyError, DeviceStorageError, RemoteCommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.artifact import Artifact

pytestmark = pytest.mark.device

HOSTILE = ["a b", "it's", '"q"', "$(touch pwned)", "`id`", "*", "-n", "--", "\\", "line\nbreak", "ü→", ";&|<>", "~"]


@pytest.fixture(params=BOXES)
def box(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A box's commands are all that there is."""
    monkeypatch.setenv("PATH", str(make_box(request.param, tmp_path / "box")))
    return str(request.param)


@pytest.fixture
def device(box: str, local_target: Target) -> Iterator[Device]:
    with connect(local_target) as connected:
        yield connected


def test_the_box_is_what_it_says(box: str) -> None:
    """Else the whole matrix would test this machine's own tools."""
    shell = subprocess.run(["sh", "-c", 'echo "$KSH_VERSION"'], capture_output=True, text=True).stdout
    tool = Path(str(shutil.which("mv"))).resolve().name
    assert ("MIRBSD" in shell) == ("toybox" in box)
    assert tool == {"coreutils": "mv", "bash": "mv", "busybox": "busybox", "toybox": "toybox", "old-toybox": "mv"}[box]
    assert subprocess.run(["sh", "-c", "command -v python3 || command -v perl"], capture_output=True).returncode != 0


def test_a_root_in_the_home_folder_or_anywhere(
    box: str, local_target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "my home"))
    (tmp_path / "behind").mkdir()
    (tmp_path / "link").symlink_to("behind")
    for root, place in {
        "~": "my home",
        "~/.edgekit": "my home/.edgekit",
        "-r": "my home/-r",
        f"{tmp_path}/link/x": "behind/x",
    }.items():
        with connect(msgspec.structs.replace(local_target, root=root)) as device:
            assert device.root == str(tmp_path / place)
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceStorageError, match="making its root folder"):
        connect(msgspec.structs.replace(local_target, root=f"{tmp_path}/file/below"))


def test_samples_are_brought_once_and_others_make_room(device: Device, tmp_path: Path) -> None:
    names, root = [], Path(device.root, "data")
    for number in range(3):
        source = tmp_path / f"input-{number}.npy"
        source.write_bytes(bytes([number]) * 1000)
        sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
        names.append(sha256)
        path = Store(device).put_data(sha256, [(source, FileEntry("input-0.npy", 1000, sha256))], keeping=names[:1])
        assert Path(path, "input-0.npy").read_bytes() == source.read_bytes()
    assert sorted(path.name for path in root.iterdir()) == sorted([names[0], names[2]])
    (root / "a b $(touch pwned)").mkdir()
    before = (root / names[2]).stat().st_ino
    Store(device).put_data(names[2], [(source, FileEntry("input-0.npy", 1000, names[2]))], keeping=())
    assert [path.name for path in root.iterdir()] == [names[2]]
    assert (root / names[2]).stat().st_ino == before
    damaged = root / names[2] / "input-0.npy"
    damaged.chmod(0o600)
    damaged.write_bytes(b"damaged")
    Store(device).put_data(names[2], [(source, FileEntry("input-0.npy", 1000, names[2]))], keeping=())
    assert damaged.read_bytes() == source.read_bytes()
    Store(device).keep_data(())
    assert list(root.iterdir()) == []


def test_push_deploy_roll_back_and_look(device: Device, make_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    hostile = {f"golden/{name}/{name}": name.encode() for name in HOSTILE}
    first, second = make_artifact(more=hostile), make_artifact(payload=b"second" * 1000)
    assert not deploy(device, first).already_there
    for entry in first.shipped_files():
        there = Path(device.path("store", first.id, entry.path))
        assert there.read_bytes() == (first.path / entry.path).read_bytes()
        assert there.stat().st_mode & 0o222 == 0
    assert deploy(device, second).previous_id == first.id
    current = Path(device.path("models/tiny/current"))
    assert str(current.readlink()) == f"../../store/{second.id}"
    assert rollback(device, "tiny").artifact_id == first.id
    assert str(current.readlink()) == f"../../store/{first.id}"
    assert sorted(path.name for path in current.parent.iterdir()) == ["current", "log", "previous"]
    assert [one.model for one in status(device)] == ["tiny"]
    assert deploy(device, first).already_there
    assert list(Path(device.path("tmp")).iterdir()) == []
    assert not list(tmp_path.rglob("pwned"))


def test_only_what_changed_is_sent_and_on_after_a_cut(device: Device, make_artifact: Callable[..., Artifact]) -> None:
    payload = random.Random(1).randbytes(1_200_000)  # where chunks end is a matter of the bytes
    old = make_artifact(payload=payload)
    new = make_artifact(payload=payload[:400_001] + b"inserted" * 5000 + payload[400_001:])

    def cut(count: int) -> None:
        sent.append(count)
        if sum(sent) >= 1_000_000:
            raise LookupError

    sent: list[int] = []
    with pytest.raises(LookupError):
        Store(device).push(old, Progress(cut))
    done = Store(device).push(old)
    assert done.resumed_bytes > 800_000
    done = Store(device).push(new)
    assert done.reused_bytes > 800_000
    for artifact in (old, new):
        assert Store(device).has(artifact.id, artifact.shipped_files())
    assert list(Path(device.path("tmp")).iterdir()) == []


def test_compressed_bytes_are_unpacked(device: Device, tmp_path: Path) -> None:
    content = os.urandom(1000) * 1000
    there = Path(device.path("file"))
    there.write_bytes(b"before ")
    packed = gzip.compress(content)
    argv = ["sh", "-c", UNPACK, "edgekit", str(there)]
    done = device.transport.feed(argv, (packed[at : at + 1000] for at in range(0, len(packed), 1000)), step="unpacking")
    assert (done.code, done.stdout, done.stderr) == (0, b"", b"")
    assert there.read_bytes() == b"before " + content


def test_a_damaged_artifact_is_replaced(device: Device, tiny_artifact: Artifact) -> None:
    Store(device).push(tiny_artifact)
    payload = Path(device.path("store", tiny_artifact.id, "payload/model.tflite"))
    content = payload.read_bytes()
    for damage in (lambda: payload.write_bytes(content[:-1] + b"!"), payload.mkdir, lambda: None):
        payload.unlink()
        damage()
        assert not Store(device).has(tiny_artifact.id, tiny_artifact.shipped_files())
        assert not Store(device).push(tiny_artifact).already_there
        assert payload.read_bytes() == content


@pytest.mark.parametrize(("meanwhile", "hashed"), [("nothing", 1), ("replaced", 2), ("cut", 1)])
def test_a_file_is_hashed_while_it_arrives(box: str, device: Device, meanwhile: str, hashed: int) -> None:
    """And not again at the end, unless it is another file by then. busybox calls its own sha256sum, unseen."""
    calls = counting_calls("sha256sum")
    Path(device.path("tmp")).mkdir()
    device.script(STAGE, device.root, "ab", "new/", "chunks", "file", step="staging")
    plan = b"edgekit chunks 1\nsteps\ntmp/ab/pack 9 0 -\nlist\nedgekit chunks 1\n9 of it\n"
    device.script(DESCRIBE, device.root, "ab", "new/chunks", stdin=plan, step="describing")
    assert Path(device.path("tmp/ab/new/chunks")).read_bytes() == b"edgekit chunks 1\n9 of it\n"
    pack, there = Path(device.path("tmp/ab/pack")), Path(device.path("tmp/ab/new/file"))

    def words() -> Iterator[bytes]:
        yield b"more\n"
        deadline = time.monotonic() + 20
        while not (pack if box == "busybox" else calls).exists() and time.monotonic() < deadline:
            time.sleep(0.01)  # it has not opened the file yet
        for piece in (b"one", b"two", b"thr", b" and what is of other files"):
            with pack.open("ab") as file:
                file.write(piece)
            yield b"flush\n" if piece == b"two" else b"more\n"
        if meanwhile == "replaced":
            pack.with_name("other").write_bytes(b"something else")
            pack.with_name("other").rename(pack)
        if meanwhile != "cut":
            yield b"all\nassemble\n"

    arguments = (device.root, "ab", "store/x", "9", "-", "", "", "new/file")
    if meanwhile == "cut":
        with pytest.raises(RemoteCommandError, match="ended early"):
            device.feed(ASSEMBLE, *arguments, stdin=words(), step="testing")
        assert pack.read_bytes() == b"onetwothr and what is of other files"
    else:
        answer = device.feed(ASSEMBLE, *arguments, stdin=words(), step="testing")
        assert there.read_bytes() == (b"something" if meanwhile == "replaced" else b"onetwothr")
        assert answer[:64] == hashlib.sha256(there.read_bytes()).hexdigest().encode()
    if box != "busybox":
        assert len(calls.read_text().splitlines()) == hashed


def counting_calls(name: str) -> Path:
    """Has a command of the box write a line to this file each time it is called."""
    box = Path(os.environ["PATH"])
    (box / "real").mkdir()
    real = (box / name).rename(box / "real" / name)
    calls = box / f"{name}.calls"
    (box / name).write_text(f"#!/bin/sh\necho >> '{calls}'\nexec '{real}' \"$@\"\n")
    (box / name).chmod(0o755)
    return calls


def test_free_space_is_told(device: Device) -> None:
    surveyed = device.script(SURVEY, device.root, "", step="asking").splitlines()[0].removeprefix(b"= free ")
    diagnosed = device.script(DIAGNOSE, device.root, step="asking")
    there = os.statvfs(device.root)  # toybox counts what is reserved for root, if root asks
    for told in (surveyed, diagnosed):
        assert 0.95 * there.f_bavail * there.f_frsize <= int(told) * 1024 <= 1.05 * there.f_bfree * there.f_frsize


def test_a_full_disk_is_told(small_disk: Path, device: Device, make_artifact: Callable[..., Artifact]) -> None:
    with pytest.raises(DeviceStorageError, match=r"it needs 3.0 MB, and \d"):
        Store(device).push(make_artifact(payload=b"x" * 3_000_000))
    full = device.run(["sh", "-c", RECEIVE, "edgekit", device.path("file")], stdin=b"x" * 3_000_000, step="filling it")
    assert full.code != 0
    assert b"no space left" in full.stderr.lower()
    assert not Path(device.path("file")).exists()


def test_the_lock_is_held_renewed_refused_stolen_and_freed(device: Device, local_target: Target) -> None:
    with connect(local_target) as other:
        with device.lock("bench 'of' $(it)") as lock:
            lock.renew()
            with pytest.raises(DeviceBusyError, match=r"bench 'of' \$\(it\)"), other.lock("deploy"):
                pass
        with other.lock("deploy", lease_s=1) as expired:
            time.sleep(1.5)
            with device.lock("bench"), pytest.raises(DeviceBusyError, match="taken over"):
                expired.renew()
        Path(device.path("lock/takeover")).mkdir(parents=True)
        os.utime(device.path("lock/takeover"), (time.time() - 300,) * 2)
        with device.lock("after a crash"):
            pass
    assert not Path(device.path("lock")).exists()


def watched(*argv: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A watched command whose input and output are one socket, as adbd has it; and our end of that socket."""
    ours, theirs = socket.socketpair()
    command = ["sh", "-c", WATCH, "edgekit", *argv]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    theirs.close()
    ours.settimeout(10)
    return process, ours


def until_closed(sock: socket.socket) -> bytes:
    said = b""
    while data := sock.recv(4096):
        said += data
    return said


def test_a_watched_command_ends_by_itself_and_nothing_holds_its_output(box: str) -> None:
    process, sock = watched("sh", "-c", 'echo "$1"; echo err >&2; cat; exit 7', "sh", "a  b")
    assert until_closed(sock) == b"a  b\nerr\n"
    assert process.wait(5) == 7
    process, sock = watched("/no/such/program")
    assert b"/no/such/program" in until_closed(sock)
    assert process.wait(5) == 127


def test_a_watched_command_that_is_done_at_once_is_done(box: str) -> None:
    """Before whoever waits for the end of its input has begun to."""
    for _ in range(20):
        process, sock = watched("true")
        assert until_closed(sock) == b""
        assert process.wait(5) == 0


@pytest.mark.parametrize("how", ["obeys", "ignores"])
def test_a_watched_command_ends_when_its_input_does(box: str, how: str) -> None:
    trap = "trap '' TERM; " if how == "ignores" else ""
    process, sock = watched("sh", "-c", f"{trap}echo $$; while :; do sleep 1; done")
    pid = int(sock.recv(100))
    sock.shutdown(socket.SHUT_WR)
    try:
        process.wait(8)
        deadline = time.monotonic() + 5
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{pid}").exists()
    finally:
        for left in (pid, process.pid):
            if Path(f"/proc/{left}").exists():
                os.kill(left, signal.SIGKILL)


def test_bytes_are_received_whole_and_appended(device: Device) -> None:
    data = bytes(range(256)) * 4000
    for script in (RECEIVE, RECEIVE_MORE):
        path = device.path("-a 'file'\n")
        done = device.run(["sh", "-c", script, "edgekit", path], stdin=data, step="receiving")
        assert done.code == 0, done.stderr
    assert Path(path).read_bytes() == data * 2
