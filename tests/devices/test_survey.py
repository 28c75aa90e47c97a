"""Which targets answer: one that hangs costs the deadline, not more, and not the others."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.devices.survey import survey

if TYPE_CHECKING:
    from edgekit.devices.throwaway_sshd import ThrowawaySshd

SSH = 'schema = 1\ntransport = "ssh"\n[ssh]\nhost = "127.0.0.1"\nport = {port}\n'


def test_a_hanging_device_does_not_hold_the_others(sshd: ThrowawaySshd, tmp_path: Path) -> None:
    folder = tmp_path / "targets"
    folder.mkdir()
    sshd.write_target(folder / "a.toml", "a", str(tmp_path / "root"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name in ("hangs1", "hangs2", "hangs3"):
            (folder / f"{name}.toml").write_text(SSH.format(port=silent.getsockname()[1]))
        began = time.monotonic()
        found = {seen.name: seen for seen in survey(folder, deadline_s=3.0)}
        took = time.monotonic() - began
    assert found["a"].state == "reachable"
    assert {found[name].state for name in ("hangs1", "hangs2", "hangs3")} == {"unreachable"}
    assert "no answer within 3 s" in found["hangs1"].what
    assert took < 5


def test_nothing_to_ask(tmp_path: Path) -> None:
    assert survey(tmp_path / "nowhere", deadline_s=1.0) == []
