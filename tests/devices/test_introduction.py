"""`targets add`: the device is asked, its key confirmed, a file written that loads, and never one overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.devices import Target, connect, load_target
from edgekit.devices.host_keys import fingerprint
from edgekit.devices.introduction import (
    confirm_host_key,
    introduce,
    read_address,
    read_introduction,
    target_text,
    write_target,
)
from edgekit.devices.ssh import SshTransport
from edgekit.errors import HostKeyError, TargetError

if TYPE_CHECKING:
    from edgekit.devices.throwaway_sshd import ThrowawaySshd

pytestmark = pytest.mark.device

PI = """model=Raspberry Pi 5 Model B Rev 1.0
machine=aarch64
os=Debian GNU/Linux 12 (bookworm)
os=Linux 6.6.31+rpt-rpi-2712
core=2400000
core=2400000
core=2400000
core=2400000
memory_kib=8245568
home=/home/pi
python=/usr/bin/python3 3.11.2
package=ai_edge_litert
python=/usr/bin/python3.11 3.11.2
package=torch
"""
PHONE = """machine=aarch64
model=Google Pixel 7
os=Android 14
core=1803000
core=1803000
core=1803000
core=1803000
core=2348000
core=2348000
core=2850000
core=2850000
memory_kib=7700000
"""
PACKAGES = {"ai_edge_litert": "litert", "tflite_runtime": "litert", "torch": "torchlite"}


@pytest.fixture
def unknown(sshd: ThrowawaySshd) -> Target:
    """The sshd, as if its key had never been seen."""
    return read_address("board", f"ssh://{sshd.user}@127.0.0.1:{sshd.port}", str(sshd.identity_file))


@pytest.fixture
def presented(unknown: Target) -> str:
    """The fingerprint of its key."""
    return fingerprint(SshTransport(unknown).host_key().asbytes())


def test_an_unknown_key_is_refused_until_its_fingerprint_is_given(
    unknown: Target, presented: str, tmp_path: Path
) -> None:
    with pytest.raises(HostKeyError, match="is not known") as caught:
        confirm_host_key(unknown, tmp_path, expected=None, accept=False)
    assert f"--fingerprint {presented}" in str(caught.value)
    with pytest.raises(HostKeyError, match=r"and not SHA256:else"):
        confirm_host_key(unknown, tmp_path, expected="SHA256:else", accept=True)
    assert not list(tmp_path.iterdir())
    target = confirm_host_key(unknown, tmp_path, expected=presented, accept=False)
    assert (tmp_path / "known_hosts").read_text().startswith("[127.0.0.1]:")
    with connect(target):
        pass
    again = confirm_host_key(unknown, tmp_path, expected=None, accept=False)
    assert again == target, "known by now"


def test_a_pinned_key_that_has_changed_is_refused_whatever_is_given(
    unknown: Target, presented: str, tmp_path: Path
) -> None:
    assert unknown.ssh is not None
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIJq0cQjvSjZc3yPpiGMaKGEuhmyBGZ4cOGhE1Ve0ZkoX"
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{unknown.ssh.port} ssh-ed25519 {other}\n")
    for expected in (None, presented):
        with pytest.raises(HostKeyError, match="HAS CHANGED"):
            confirm_host_key(unknown, tmp_path, expected=expected, accept=True)


def test_the_file_that_is_written_reaches_the_device(unknown: Target, tmp_path: Path) -> None:
    target = confirm_host_key(unknown, tmp_path, expected=None, accept=True)
    told = introduce(target)
    assert told.machine
    assert told.core_khz
    write_target(target, told, tmp_path / "board.toml")
    loaded = load_target("board", tmp_path)
    assert loaded.ssh == target.ssh
    assert loaded.bench.threads == told.threads
    with pytest.raises(TargetError, match="exists"):
        write_target(target, told, tmp_path / "board.toml")
    write_target(target, told, tmp_path / "board.toml", overwrite=True)


def test_asking_leaves_nothing_on_the_device(unknown: Target, sshd: ThrowawaySshd, tmp_path: Path) -> None:
    before = set(sshd.home.rglob("*"))
    introduce(confirm_host_key(unknown, tmp_path, expected=None, accept=True))
    assert set(sshd.home.rglob("*")) == before


def test_a_board(tmp_path: Path) -> None:
    told = read_introduction(PI, PACKAGES)
    assert (told.python, told.python_version, told.runtimes) == ("/usr/bin/python3", "3.11.2", ("litert",))
    assert told.threads == 4
    assert told.labels == ("aarch64", "debian", "pi-5")
    path = tmp_path / "pi.toml"
    path.write_text(target_text(read_address("pi", "ssh://pi@10.0.0.7"), told, tmp_path))
    target = load_target(str(path))
    assert target.description == "Raspberry Pi 5 Model B Rev 1.0, Debian GNU/Linux 12 (bookworm)"
    assert (target.root, target.bench.threads) == ("~/.edgekit", 4)


def test_a_phone_has_no_python_and_few_fast_cores(tmp_path: Path) -> None:
    told = read_introduction(PHONE, PACKAGES)
    text = target_text(read_address("pixel", "adb:2A191FDH200CXY"), told, tmp_path)
    assert "2 of them fast" in text
    assert "native runner" in text
    (tmp_path / "pixel.toml").write_text(text)
    target = load_target("pixel", tmp_path)
    assert (target.transport, target.root, target.bench.threads) == ("adb", "/data/local/tmp/edgekit", 2)
    assert target.adb is not None
    assert target.adb.serial == "2A191FDH200CXY"


def test_what_a_device_says_cannot_break_the_file(tmp_path: Path) -> None:
    told = read_introduction('model="] \x1b[31m\nmachine=$(reboot)\nos=a"b\\c\ncore=x\nmemory_kib=-1\n', PACKAGES)
    (tmp_path / "odd.toml").write_text(target_text(read_address("odd", "ssh://h"), told, tmp_path))
    assert load_target("odd", tmp_path).description == '"] [31m, a"b\\c'


@pytest.mark.parametrize(
    "address", ["", "pi", "ssh://", "ssh://a b", "ssh://-oProxy", "ssh://h:0", "ssh://h:70000", "adb:"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(TargetError):
        read_address("pi", address)


def test_an_ipv6_address() -> None:
    target = read_address("pi", "ssh://pi@[fe80::1]:2222")
    assert target.ssh is not None
    assert (target.ssh.host, target.ssh.port, target.ssh.user) == ("fe80::1", 2222, "pi")
