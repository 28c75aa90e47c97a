"""The throw-away sshd: up, used, gone."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from edgekit.devices import connect, load_target
from edgekit.devices import throwaway_sshd as module
from edgekit.devices.throwaway_sshd import ThrowawaySshd
from edgekit.errors import EdgeKitError

pytestmark = pytest.mark.device


def test_it_has_a_home_of_its_own_and_leaves_nothing(sshd: ThrowawaySshd, tmp_path: Path) -> None:
    with ThrowawaySshd() as server:
        target = load_target(str(server.write_target(tmp_path / "x.toml", "x", "~/.edgekit")))
        with connect(target) as device:
            assert device.root == str(server.home / ".edgekit")
            assert device.run(["sh", "-c", 'echo "$HOME"'], step="asking").stdout.decode().strip() == str(server.home)
    assert not server.folder.exists()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_no_sshd_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda *_, **__: None)
    with pytest.raises(EdgeKitError, match=r"no sshd on this machine.*apt install openssh-server"):
        ThrowawaySshd().start()
