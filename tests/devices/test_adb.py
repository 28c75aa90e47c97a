"""The adb transport against real adbds and a genuine server, and against devices that misbehave."""

from __future__ import annotations

import filecmp
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from test_ssh import assert_ends

from edgekit.deploy import deploy, rollback, status
from edgekit.devices import Target, adb, adb_server, adb_streams, connect
from edgekit.devices.adb_server import Attached, attached
from edgekit.devices.progress import Progress
from edgekit.devices.store import Store
from edgekit.devices.target import AdbSettings
from edgekit.errors import (
    AuthenticationError,
    ConnectionLostError,
    DeviceError,
    DeviceStorageError,
    RemoteCommandError,
    RemoteTimeoutError,
    TargetError,
    UnreachableDeviceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adb_network import Adbd, AdbNetwork

    from edgekit.artifact import Artifact

pytestmark = pytest.mark.device

HOSTILE = ["a b", "it's", '"q"', "$(touch pwned)", "`id`", "*", "-n", "\\", "line\nbreak", "ü→", ";&|<>", "a,33188"]
QUICK = 3.0


@pytest.fixture
def mortal(adb_network: AdbNetwork, request: pytest.FixtureRequest) -> Iterator[Adbd]:
    """A real adbd of this test alone, which may be killed or frozen."""
    port = 15700 + len(adb_network.started)
    device = adb_network.adbd(port)
    yield device
    device.kill()
    adb_network.adb("disconnect", device.serial)


@pytest.fixture
def fake(adb_network: AdbNetwork) -> Iterator[Callable[[str], Target]]:
    """Makes targets whose device misbehaves."""
    made = []

    def make(mode: str, root: str = "/nowhere") -> Target:
        made.append(adb_network.fake(15700 + len(adb_network.started), mode))
        return quick(made[-1].target(mode.partition("=")[0], root=root))

    yield make
    for device in made:
        device.kill()
        adb_network.adb("disconnect", device.serial)


def quick(target: Target, **changes: object) -> Target:
    settings = {"connect_timeout_s": QUICK, **changes}
    return msgspec.structs.replace(target, adb=msgspec.structs.replace(target.adb, **settings))


# What a phone is: mksh, toybox, /data/local/tmp.


def test_a_phone_is_deployed_to_and_rolled_back(phone: Adbd, make_artifact: Callable[..., Artifact]) -> None:
    target = phone.target("phone", root="/data/local/tmp/edgekit")
    first = make_artifact(more={f"golden/{name}/{name}": name.encode() for name in HOSTILE})
    second = make_artifact(payload=os.urandom(40 << 20))  # larger than what goes through sync
    with connect(target) as device:
        assert device.run(["sh", "-c", "echo $KSH_VERSION; getprop ro.product.model"], step="x").stdout == (
            b"@(#)MIRBSD KSH R59 2025/04/26 +Debian\nTest Phone\n"
        )
        for artifact in (first, second):
            assert not deploy(device, artifact).already_there
            for entry in artifact.shipped_files():
                there = phone.seen(device.path("store", artifact.id, entry.path))
                assert there.read_bytes() == (artifact.path / entry.path).read_bytes()
        assert deploy(device, second).already_there
        assert rollback(device, "tiny").artifact_id == first.id
        assert phone.seen(device.path("models/tiny/current")).readlink().name == first.id
        assert "tiny" in [one.model for one in status(device)]
        assert device.run(["sh", "-c", "find / -name pwned 2>/dev/null"], step="looking").stdout == b""
        assert list(phone.seen(device.path("tmp")).iterdir()) == []


def test_a_phones_disk_is_full_or_read_only(
    adb_network: AdbNetwork, make_artifact: Callable[..., Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adb_network import phone_root

    monkeypatch.setattr(adb, "_PROBE_BYTES", 1 << 20)

    small = adb_network.adbd(15700 + len(adb_network.started), root=phone_root(), disk="3m")
    with connect(small.target("small", root="/data/local/tmp/edgekit")) as device:
        with pytest.raises(DeviceStorageError, match=r"it needs 9.0 MB, and 3.\d MB are free"):
            Store(device).push(make_artifact(payload=b"x" * 9_000_000))
        for size, sync_s in ((9_000_000, 1), (adb._SYNC_BYTES + 1, 1), (adb._SYNC_BYTES + 1, 0)):  # each way
            monkeypatch.setattr(adb, "_SYNC_S", sync_s)
            (tmp_path / "file").write_bytes(b"x" * size)
            with pytest.raises(DeviceStorageError, match="has no space left while writing"):
                device.transport.put(tmp_path / "file", device.path("file"), step="filling it")
            assert not small.seen(device.path("file")).exists()
        fits = make_artifact(payload=b"x" * 1_000_000)
        Store(device).push(fits)
        enter = ["nsenter", f"--mount=/proc/{small.pid}/ns/mnt", "--"]
        disk = f"{adb_network.folder}/phone-{small.port}/root/data/local/tmp"
        subprocess.run([*enter, "mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(DeviceStorageError, match="read-only"):
            Store(device).push(make_artifact(payload=b"y"))
        for size in (1, adb._SYNC_BYTES + 1):
            (tmp_path / "file").write_bytes(b"x" * size)
            with pytest.raises(DeviceStorageError, match="read-only"):
                device.transport.put(tmp_path / "file", device.path("other"), step="writing")
        assert Store(device).has(fits.id, fits.shipped_files())
    small.kill()


# Which device.


def test_attached_devices_are_told(phone: Adbd, adbd: Adbd, adb_network: AdbNetwork) -> None:
    adb_network.adb("connect", phone.serial)
    adb_network.adb("connect", adbd.serial)
    found = {one.serial: one.state for one in attached(5)}
    assert (found[phone.serial], found[adbd.serial]) == ("device", "device")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            "0A171FDD4001VQ         device usb:1-1 product:oriole model:Pixel_6 device:oriole transport_id:1",
            ("0A171FDD4001VQ", "device", "Pixel 6, usb 1-1"),
        ),
        ("192.168.1.20:5555      offline transport_id:2", ("192.168.1.20:5555", "offline", "")),
        ("emulator-5554          unauthorized transport_id:3", ("emulator-5554", "unauthorized", "")),
        (
            "R58M                   no permissions (user in plugdev group; udev rules wrong?); see [...] usb:3-2",
            ("R58M", "no permissions", "usb 3-2"),
        ),
        ("(no serial number)     device usb:1-2 transport_id:5", ("(no serial number)", "device", "usb 1-2")),
        ("A\x1b[2J1    device model:\x1b]0;x\x07", ("A?[2J1", "device", "?]0;x?")),
        ("", None),
    ],
)
def test_lines_of_the_list_are_understood(line: str, found: tuple[str, str, str] | None) -> None:
    assert adb_server._parse(line) == (None if found is None else Attached(*found))


def test_two_devices_and_none_named(
    phone: Adbd, adbd: Adbd, adb_network: AdbNetwork, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for device in (phone, adbd):
        adb_network.adb("connect", device.serial)
    anyone = Target(name="any", transport="adb", root=str(tmp_path))
    with pytest.raises(TargetError, match=r"'any' does not say which device") as caught:
        connect(anyone)
    assert phone.serial in caught.value.what
    assert adbd.serial in caught.value.what
    assert 'serial = "..."' in caught.value.remedy
    monkeypatch.setenv("ANDROID_SERIAL", adbd.serial)
    with connect(anyone) as device:
        assert device.name == f"The device 'any' (adb {adbd.serial})"
    monkeypatch.setenv("ANDROID_SERIAL", "somebody else")
    with connect(msgspec.structs.replace(anyone, adb=AdbSettings(serial=adbd.serial))) as device:
        assert adbd.serial in device.name


def test_a_serial_that_is_not_attached_names_those_that_are(adbd: Adbd, adb_network: AdbNetwork) -> None:
    adb_network.adb("connect", adbd.serial)
    with pytest.raises(
        UnreachableDeviceError, match=rf"'x' \(adb R5CT\) was not found while connecting: adb sees .*{adbd.serial}"
    ):
        connect(Target(name="x", transport="adb", adb=AdbSettings(serial="R5CT")))


def test_a_serial_and_a_host_contradict_each_other() -> None:
    with pytest.raises(TargetError, match="both a `serial` and a `host`"):
        connect(Target(name="x", transport="adb", adb=AdbSettings(serial="R5CT", host="10.0.0.1")))


# Devices that are not ready.


def test_nothing_listens_there(adb_network: AdbNetwork) -> None:
    """`adb connect` answers this with exit status 0."""
    assert adb_network.adb("connect", "127.0.0.1:15999").returncode == 0
    target = Target(name="x", transport="adb", adb=AdbSettings(host="127.0.0.1", port=15999))
    with pytest.raises(UnreachableDeviceError, match=r"'x' \(adb 127.0.0.1:15999\) did not answer.*onnect"):
        connect(target)


def test_an_unauthorized_phone(fake: Callable[[str], Target]) -> None:
    with pytest.raises(AuthenticationError, match="not allowed this machine") as caught:
        connect(fake("unauthorized"))
    assert "allow USB debugging" in caught.value.remedy


def test_a_device_that_takes_the_connection_and_says_nothing(fake: Callable[[str], Target]) -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableDeviceError, match="'silent'"):
        connect(fake("silent"))
    assert time.monotonic() - began < 3 * QUICK


def test_a_device_that_is_ready_and_answers_nothing(fake: Callable[[str], Target]) -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableDeviceError, match="'deaf' .* is listed as ready but starts no command: no answer"):
        connect(fake("deaf"))
    assert time.monotonic() - began < 3 * QUICK


def test_an_android_that_is_too_old(fake: Callable[[str], Target]) -> None:
    with pytest.raises(UnreachableDeviceError, match="too old .*Android 7"):
        connect(fake("old"))


def test_a_device_that_dies_in_the_middle_of_a_file(fake: Callable[..., Target], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 20_000_000)
    with connect(fake("dies=3000000", root=str(tmp_path / "root"))) as device:
        with pytest.raises(ConnectionLostError, match="'dies' .* was lost while sending"):
            device.transport.put(tmp_path / "file", device.path("file"), step="sending")
        with pytest.raises(DeviceError, match="'dies'"):
            device.run(["true"], step="asking again")


# Links that fail while they are used.


@pytest.mark.parametrize("megabytes", [24, 48])
def test_an_adbd_killed_in_the_middle_of_a_push(
    mortal: Adbd, root: Path, make_artifact: Callable[..., Artifact], megabytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By either way that a file can take: nothing is activated, and the next attempt works."""
    monkeypatch.setattr(adb, "_SYNC_S", 0.01)  # a slow link
    target = mortal.target("mortal", root=str(root))
    old, new = make_artifact(payload=b"old"), make_artifact(payload=os.urandom(megabytes << 20))
    with connect(target) as device:
        deploy(device, old)
        sent = []

        def kill(count: int) -> None:
            sent.append(count)
            if sum(sent) > 4_000_000 and len(sent) > 1 and mortal.alive:
                mortal.kill()

        with pytest.raises(ConnectionLostError, match="'mortal' .* was lost while uploading"):
            deploy(device, new, Progress(on_bytes=kill))
        assert Path(device.path("models/tiny/current")).resolve().name == old.id
        assert not Path(Store(device).artifact_path(new.id)).exists()
    mortal.start()
    with connect(target) as device:
        again = deploy(device, new)
        assert again.previous_id == old.id
        if megabytes << 20 > adb._SYNC_BYTES:  # through `cat`: it goes on where it was
            assert again.resumed_bytes > 1_000_000
        assert Path(device.path("models/tiny/current")).resolve().name == new.id
        assert list(Path(device.path("tmp")).iterdir()) == []


@pytest.mark.parametrize(("moment_s", "ways"), [(1e9, ["_sync", "_sync"]), (0, ["_sync", "_feed"])])
def test_a_large_file_goes_as_adb_push_sends_it_if_it_takes_a_moment(
    adbd: Adbd, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment_s: float, ways: list[str]
) -> None:
    """After a first part that tells; whole, and each byte counted once."""
    monkeypatch.setattr(adb, "_SYNC_S", moment_s)
    size = adb._SYNC_BYTES + 1_000_001
    (tmp_path / "file").write_bytes(os.urandom(size))
    told: list[int] = []
    taken: list[str] = []
    for name in ("_sync", "_feed"):
        real = getattr(adb.AdbTransport, name)

        def way(*arguments: Any, _name: str = name, _real: Any = real, **more: Any) -> None:
            taken.append(_name)
            _real(*arguments, **more)

        monkeypatch.setattr(adb.AdbTransport, name, way)
    with connect(adbd.target("board", root=str(root))) as device:
        device.transport.put(tmp_path / "file", device.path("file"), on_bytes=told.append, step="sending")
        assert filecmp.cmp(tmp_path / "file", device.path("file"), shallow=False)
    assert (taken, sum(told)) == (ways, size)


def test_an_adbd_killed_while_a_command_runs_ends_the_command(mortal: Adbd, root: Path) -> None:
    with connect(mortal.target("mortal", root=str(root))) as device:
        argv = ["sh", "-c", "echo $$; exec sleep 600"]
        with (
            pytest.raises(ConnectionLostError, match="was lost while measuring"),
            device.stream(argv, idle_timeout_s=20, step="measuring") as lines,
        ):
            for line in lines:
                pid = int(line)
                mortal.kill()
        assert_ends(pid)


def test_ctrl_c_ends_the_command_on_the_device(adbd: Adbd, root: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with connect(adbd.target("board", root=str(root))) as device:

        def interrupt() -> None:
            while not pid_file.exists() or not pid_file.read_text().strip():
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            device.run(["sh", "-c", 'echo $$ > "$1"; exec sleep 600', "sh", str(pid_file)], step="sleeping")
        assert_ends(int(pid_file.read_text()))


def test_a_frozen_adbd_times_out_though_it_is_listed_as_ready(
    mortal: Adbd, root: Path, tmp_path: Path, adb_network: AdbNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (adb, adb_streams):
        monkeypatch.setattr(module, "DEAD_LINK_S", 1)
    monkeypatch.setattr(adb, "_DRAINED_S", 1)
    (tmp_path / "small").write_bytes(b"x" * 8_000_000)
    (tmp_path / "large").write_bytes(b"x" * (adb._SYNC_BYTES + 1))
    target = quick(mortal.target("mortal", root=str(root)))
    with connect(target) as device:
        with device.stream(["sh", "-c", "echo up; exec sleep 600"], idle_timeout_s=1, step="measuring") as lines:
            mortal.freeze()
            with pytest.raises(RemoteTimeoutError, match="said nothing for 1 s while measuring"):
                list(lines)
        assert next(one.state for one in attached(5) if one.serial == mortal.serial) == "device"
        began = time.monotonic()
        with pytest.raises(ConnectionLostError, match="was lost while asking: timed out"):
            device.run(["true"], step="asking")
        for name in ("small", "large"):
            with pytest.raises(ConnectionLostError, match="was lost while sending"):
                device.transport.put(tmp_path / name, device.path("file"), step="sending")
        with pytest.raises(UnreachableDeviceError, match="is listed as ready but starts no command"):
            connect(target)
        assert time.monotonic() - began < 15
        mortal.thaw()
    with connect(target) as device:
        assert device.run(["echo", "back"], step="asking").stdout == b"back\n"


def test_a_device_frozen_in_the_middle_of_a_file(
    mortal: Adbd, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb_streams, "DEAD_LINK_S", 1)
    (tmp_path / "file").write_bytes(b"x" * 60_000_000)
    with connect(mortal.target("mortal", root=str(root))) as device:
        began = time.monotonic()
        with pytest.raises(ConnectionLostError, match="was lost while sending: timed out"):
            device.transport.put(
                tmp_path / "file", device.path("file"), on_bytes=lambda _: mortal.freeze(), step="sending"
            )
        assert time.monotonic() - began < 10
    mortal.thaw()


def test_a_hundred_megabytes_of_output_are_cut_short(adbd: Adbd, root: Path) -> None:
    with connect(adbd.target("board", root=str(root))) as device:
        with pytest.raises(RemoteCommandError, match="printed more than 16 MiB"):
            device.run(["head", "-c", "100000000", "/dev/zero"], step="reading")
        script = "i=0; while [ $i -lt 100 ]; do head -c 999999 /dev/zero | tr '\\0' x; echo; i=$((i+1)); done"
        with device.stream(["sh", "-c", script], idle_timeout_s=20, step="reading") as lines:
            assert sum(len(line) for line in lines) == 99_999_900
            assert lines.wait().code == 0


def test_a_command_longer_than_adb_takes(adbd: Adbd, root: Path) -> None:
    with connect(adbd.target("board", root=str(root))) as device:
        assert len(device.run(["echo", "x" * 50_000], step="echoing").stdout) == 50_001
        with pytest.raises(RemoteCommandError, match="adb takes 65535"):
            device.run(["echo", "x" * 70_000], step="echoing")


# The server.


def test_no_server_and_no_adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"localfilesystem:{tmp_path}/nothing")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ANDROID_HOME", raising=False)
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    with pytest.raises(UnreachableDeviceError, match="there is no `adb` to start one") as caught:
        attached(2)
    assert "apt install adb" in caught.value.remedy


def test_a_server_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "platform-tools").mkdir()
    broken = tmp_path / "platform-tools/adb"
    broken.write_text("#!/bin/sh\necho 'cannot bind: no luck' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"localfilesystem:{tmp_path}/nothing")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path))
    with pytest.raises(UnreachableDeviceError, match=r"start-server` failed \(exit status 1\): .*no luck"):
        attached(2)


def test_a_server_elsewhere_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:127.0.0.2:{port}")
    with pytest.raises(UnreachableDeviceError, match="which the environment names"):
        attached(2)


def test_what_listens_is_no_adb_server_or_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.delenv("ADB_SERVER_SOCKET", raising=False)
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(listener.getsockname()[1]))
        with pytest.raises(UnreachableDeviceError, match="while asking what is attached: no answer within 0.5 s"):
            attached(0.5)

        def answer() -> None:
            listener.accept()[0].close()  # the one above
            sock, _ = listener.accept()
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            sock.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(UnreachableDeviceError, match="is no adb server"):
            attached(5)


def test_a_server_is_started_where_none_runs_by_several_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"localfilesystem:{tmp_path}/s")
    found: list[list[Attached]] = []
    try:
        threads = [threading.Thread(target=lambda: found.append(attached(20))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(found) == 4
    finally:
        subprocess.run(["adb", "kill-server"], capture_output=True, timeout=20)


def test_a_server_on_a_port_is_reached(adb_network: AdbNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual way; here through a relay, for the server listens in another namespace."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:127.0.0.1:{listener.getsockname()[1]}")

        def relay() -> None:
            sock, _ = listener.accept()
            with sock, socket.socket(socket.AF_UNIX) as server:
                server.connect(f"{adb_network.folder}/server")
                server.sendall(sock.recv(100))
                while data := server.recv(1000):
                    sock.sendall(data)

        threading.Thread(target=relay, daemon=True).start()
        assert isinstance(attached(5), list)
