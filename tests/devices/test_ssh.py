"""The ssh transport against a real sshd: host keys, keys, links that are cut, frozen or not there."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from edgekit.devices import Target, assembling, connect, load_target
from edgekit.devices import ssh as ssh_module
from edgekit.devices.store import Store
from edgekit.devices.throwaway_sshd import ThrowawaySshd
from edgekit.errors import (
    AuthenticationError,
    ConnectionLostError,
    DeviceStorageError,
    HostKeyError,
    RemoteCommandError,
    RemoteTimeoutError,
    UnreachableDeviceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cut_proxy import CutProxy

    from edgekit.artifact import Artifact


pytestmark = pytest.mark.device


def with_ssh(target: Target, **changes: object) -> Target:
    return msgspec.structs.replace(target, ssh=msgspec.structs.replace(target.ssh, **changes))


def fingerprint_of(key: Path) -> str:
    return subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True).stdout.split()[1]


def new_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path], check=True)
    return path


def test_an_unknown_host_key_is_refused_and_the_command_it_names_accepts_it(
    ssh_target: Target, sshd: ThrowawaySshd, tmp_path: Path
) -> None:
    empty = tmp_path / "known hosts"
    target = with_ssh(ssh_target, known_hosts=str(empty))
    with pytest.raises(HostKeyError) as caught:
        connect(target)
    assert fingerprint_of(sshd.host_key) in caught.value.what
    command = caught.value.remedy.rpartition("accept it: ")[2]
    assert command.startswith(f"ssh-keyscan -p {sshd.port} -t ed25519 127.0.0.1 >> ")
    subprocess.run(command, shell=True, check=True, capture_output=True)
    connect(target).close()


def test_a_changed_host_key_is_refused_with_both_fingerprints(
    ssh_target: Target, sshd: ThrowawaySshd, tmp_path: Path
) -> None:
    other = new_key(tmp_path / "other")
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{sshd.port} {Path(f'{other}.pub').read_text()}")
    with pytest.raises(HostKeyError, match="HAS CHANGED") as caught:
        connect(with_ssh(ssh_target, known_hosts=str(known)))
    assert fingerprint_of(other) in caught.value.what
    assert fingerprint_of(sshd.host_key) in caught.value.what
    forget = caught.value.remedy.partition("old key: ")[2].partition(" and then ")[0]
    assert forget == f"ssh-keygen -R '[127.0.0.1]:{sshd.port}' -f {known}"
    subprocess.run(forget, shell=True, check=True, capture_output=True)
    with pytest.raises(HostKeyError, match="is not known"):
        connect(with_ssh(ssh_target, known_hosts=str(known)))


def test_hashed_names_count_and_revoked_keys_are_refused(
    ssh_target: Target, sshd: ThrowawaySshd, tmp_path: Path
) -> None:
    known = tmp_path / "known"
    shutil.copy(sshd.known_hosts, known)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    connect(with_ssh(ssh_target, known_hosts=str(known))).close()
    known.write_text(known.read_text() + "@revoked * " + Path(f"{sshd.host_key}.pub").read_text())
    with pytest.raises(HostKeyError, match="@revoked"):
        connect(with_ssh(ssh_target, known_hosts=str(known)))


def test_a_wrong_user_key_is_refused_and_named(ssh_target: Target, tmp_path: Path) -> None:
    key = new_key(tmp_path / "stranger")
    with pytest.raises(AuthenticationError, match=rf"tried: {key}.*ssh-copy-id"):
        connect(with_ssh(ssh_target, identity_file=str(key)))


def test_a_key_that_is_encrypted_missing_or_none_says_so(ssh_target: Target, tmp_path: Path) -> None:
    locked = new_key(tmp_path / "locked", passphrase="secret word")
    with pytest.raises(AuthenticationError, match="is encrypted.*ssh-add"):
        connect(with_ssh(ssh_target, identity_file=str(locked)))
    with pytest.raises(AuthenticationError, match="cannot be read"):
        connect(with_ssh(ssh_target, identity_file=str(tmp_path / "nowhere")))
    (tmp_path / "text").write_text("no key")
    with pytest.raises(AuthenticationError, match="not a private key"):
        connect(with_ssh(ssh_target, identity_file=str(tmp_path / "text")))


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_other_kinds_of_user_keys_work(kind: str, ssh_target: Target, sshd: ThrowawaySshd, tmp_path: Path) -> None:
    key = new_key(tmp_path / kind, kind)
    authorized = sshd.folder / "authorized_keys"
    before = authorized.read_text()
    authorized.write_text(before + Path(f"{key}.pub").read_text())
    try:
        connect(with_ssh(ssh_target, identity_file=str(key))).close()
    finally:
        authorized.write_text(before)


def test_nothing_listens(ssh_target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnreachableDeviceError, match="'board'.*while connecting: Connection refused"):
        connect(with_ssh(ssh_target, port=port))


def test_something_listens_that_never_speaks(ssh_target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        with pytest.raises(UnreachableDeviceError):
            connect(with_ssh(ssh_target, port=listener.getsockname()[1], connect_timeout_s=0.5))
    assert time.monotonic() - began < 5


def test_something_listens_that_is_no_ssh(ssh_target: Target) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        import threading

        def answer() -> None:
            sock, _ = listener.accept()
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            sock.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(UnreachableDeviceError):
            connect(with_ssh(ssh_target, port=listener.getsockname()[1], connect_timeout_s=2))


def test_a_link_cut_during_a_command(proxied_target: Target, proxy: CutProxy) -> None:
    import threading

    with connect(proxied_target) as device:
        threading.Timer(0.3, proxy.cut).start()
        with pytest.raises(ConnectionLostError, match="'far'.*was lost while waiting for nothing"):
            device.run(["sleep", "60"], step="waiting for nothing")
        with pytest.raises(ConnectionLostError):
            device.run(["true"], step="trying again")


def test_a_link_cut_during_a_stream_ends_the_command_on_the_device(
    proxied_target: Target, proxy: CutProxy, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    with connect(proxied_target) as device:
        argv = ["sh", "-c", 'echo $$ > "$1"; echo started; exec sleep 600', "sh", str(pid_file)]
        with (
            pytest.raises(ConnectionLostError),
            device.stream(argv, idle_timeout_s=20, step="measuring") as lines,
        ):
            for line in lines:
                assert line == "started"
                proxy.cut()
    assert_ends(int(pid_file.read_text()))


def assert_ends(pid: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} still runs")


def test_a_frozen_link_is_noticed_during_an_upload(
    proxied_target: Target, proxy: CutProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_module, "DEAD_LINK_S", 1)
    file = tmp_path / "file"
    file.write_bytes(b"x" * 40_000_000)
    with connect(proxied_target) as device:
        proxy.freeze_after_bytes = proxy.passed_bytes + 2_000_000
        began = time.monotonic()
        with pytest.raises(ConnectionLostError, match="was lost while uploading it"):
            device.transport.put(file, device.path("file"), step="uploading it")
        assert time.monotonic() - began < 10


def test_gcm_is_negotiated_and_a_large_upload_is_whole(ssh_target: Target, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 60_001)
    told: list[int] = []
    with connect(ssh_target) as device:
        assert "gcm" in device.transport._link.remote_cipher
        device.transport.put(file, device.path("copy"), on_bytes=told.append, step="uploading")
        assert Path(device.path("copy")).read_bytes() == file.read_bytes()
    assert sum(told) == file.stat().st_size
    assert len(told) > 10


def test_a_device_without_sftp_names_the_package(
    ssh_target: Target, sshd: ThrowawaySshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgekit.devices.throwaway_sshd import ThrowawaySshd as Server

    with Server() as other:
        configuration = other.folder / "sshd_config"
        configuration.write_text(configuration.read_text().replace("Subsystem sftp internal-sftp", ""))
        import os
        import signal

        from edgekit.devices import load_target

        os.kill(other.pid, signal.SIGHUP)  # reads its configuration again
        time.sleep(0.3)
        target = load_target(str(other.write_target(tmp_path / "bare.toml", "bare", str(tmp_path / "bare"))))
        (tmp_path / "file").write_bytes(b"x")
        with connect(target) as device, pytest.raises(RemoteCommandError, match="openssh-sftp-server"):
            device.transport.put(tmp_path / "file", device.path("file"), step="uploading")


def test_a_command_that_times_out_ends_on_the_device(ssh_target: Target, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with connect(ssh_target) as device:
        argv = ["sh", "-c", 'echo $$ > "$1"; exec sleep 600', "sh", str(pid_file)]
        with pytest.raises(RemoteTimeoutError, match=r"did not finish within 0.5 s while sleeping"):
            device.run(argv, timeout_s=0.5, step="sleeping")
        assert_ends(int(pid_file.read_text()))


def test_uploads_go_through_the_client_without_copies(ssh_target: Target, tmp_path: Path) -> None:
    """`PipelinedSftp` overrides a private method: a paramiko that renamed it would silently be slow again."""
    import paramiko

    from edgekit.devices.sftp import PipelinedSftp

    assert callable(getattr(paramiko.SFTPClient, "_write_all", None))
    with connect(ssh_target) as device, device.transport._alive().sftp() as sftp:
        assert isinstance(sftp, PipelinedSftp)


@pytest.mark.parametrize("sessions", [1, 2, 3])
def test_a_server_that_allows_few_sessions_at_a_time(
    sessions: int, make_artifact: Callable[..., Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One opens nothing ahead, two have no room to hash what arrives; uploads and commands work all the same."""
    monkeypatch.setattr(assembling, "MIN_BYTES", 1 << 16)
    with ThrowawaySshd(max_sessions=sessions) as sshd:
        target = load_target(str(sshd.write_target(tmp_path / "few.toml", "few", str(tmp_path / "root"))))
        with connect(target) as device:
            for content in (b"1", b"2"):
                artifact = make_artifact(payload=content * 1_000_000)
                Store(device).push(artifact)
                assert Store(device).push(artifact).already_there
            with pytest.raises(DeviceStorageError, match="while writing /proc/no"):
                device.transport.put(artifact.path / "manifest.json", "/proc/no", step="testing")
            assert device.run(["echo", "hello"], step="greeting").stdout == b"hello\n"


def test_the_agents_key_is_enough(sshd: ThrowawaySshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import re
    import signal
    import subprocess

    file = sshd.write_target(tmp_path / "agent.toml", "agent", str(tmp_path / "root"))
    text = re.sub(r"identity_file = .*\n", "", file.read_text().replace("use_agent = false", "use_agent = true"))
    file.write_text(text)
    monkeypatch.setenv("HOME", str(tmp_path))  # no default keys there
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(AuthenticationError, match="there is none"):
        connect(load_target(str(file)))

    said = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    pid = int(re.search(r"SSH_AGENT_PID=(\d+)", said)[1])
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", re.search(r"SSH_AUTH_SOCK=([^;]+)", said)[1])
        subprocess.run(["ssh-add", "-q", str(sshd.identity_file)], check=True)
        with connect(load_target(str(file))) as device:
            assert device.run(["echo", "hello"], step="greeting").stdout == b"hello\n"
    finally:
        os.kill(pid, signal.SIGTERM)
