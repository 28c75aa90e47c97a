"""Which targets answer: one that hangs costs the deadline, not more, and not the others."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.devices import connect, load_target
from edgekit.devices import survey as survey_module
from edgekit.devices.adb_server import Attached
from edgekit.devices.survey import survey

if TYPE_CHECKING:
    import pytest

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
        found = {seen.name: seen for seen in survey(folder, deadline_s=3.0, patience_s=10)}
        took = time.monotonic() - began
    assert found["a"].state == "reachable"
    assert found["a"].answered_in_s is not None
    assert found["a"].answered_in_s < 3
    assert found["hangs1"].answered_in_s is None
    assert {found[name].state for name in ("hangs1", "hangs2", "hangs3")} == {"unreachable"}
    assert "no answer within 3 s" in found["hangs1"].what
    assert took < 5


def test_a_link_that_drops_every_packet_costs_our_patience_and_no_more(sshd: ThrowawaySshd, tmp_path: Path) -> None:
    for number in range(5):
        sshd.write_target(tmp_path / f"up{number}.toml", f"up{number}", str(tmp_path / "root"))
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # a queue that is full and that nobody empties: the kernel drops what comes after
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        for number in range(5):
            (tmp_path / f"down{number}.toml").write_text(SSH.format(port=full.getsockname()[1]))
        began = time.monotonic()
        found = survey(tmp_path, deadline_s=20, patience_s=3)
        took = time.monotonic() - began
    assert [seen.name for seen in found if seen.state == "reachable"] == [f"up{number}" for number in range(5)]
    assert took < 6, "3 s where nothing else runs"


def test_a_name_that_never_resolves_costs_our_patience_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "board.toml").write_text('schema = 1\ntransport = "ssh"\n[ssh]\nhost = "board.local"\n')
    monkeypatch.setattr(survey_module, "attached", lambda _: [])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(8) or [])
    began = time.monotonic()
    (seen,) = survey(tmp_path, patience_s=0.5)
    assert time.monotonic() - began < 3
    assert seen.what == "no answer within 0.5 s"


def test_a_device_in_use_is_told_with_its_user(sshd: ThrowawaySshd, tmp_path: Path) -> None:
    path = sshd.write_target(tmp_path / "a.toml", "a", str(tmp_path / "root"))
    with connect(load_target(str(path))) as device, device.lock("a long bench"):
        (seen,) = (seen for seen in survey(tmp_path, deadline_s=20, patience_s=10) if seen.state != "unclaimed")
    assert seen.lock is not None
    assert "a long bench" in seen.lock.told


def test_attached_devices_without_a_target_are_listed_with_the_way_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        Attached("A1", "device", "Pixel 7, usb 1-1"),
        Attached("B2", "unauthorized", ""),
        Attached("C3", "device", ""),
    ]
    monkeypatch.setattr(survey_module, "attached", lambda _: found)
    (tmp_path / "c.toml").write_text('schema = 1\ntransport = "adb"\n[adb]\nserial = "C3"\n')
    unclaimed = [seen for seen in survey(tmp_path, deadline_s=3.0) if seen.state == "unclaimed"]
    assert [seen.name for seen in unclaimed] == ["A1", "B2"]
    assert unclaimed[0].what == "Pixel 7, usb 1-1, device; make it a target: edgekit targets add NAME adb:A1"
    assert "unauthorized" in unclaimed[1].what
    del found[1:]
    (tmp_path / "c.toml").write_text('schema = 1\ntransport = "adb"\n')
    assert "unclaimed" not in {seen.state for seen in survey(tmp_path, deadline_s=3.0)}, "the only one is that target's"


def test_nothing_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "attached", lambda _: [])
    assert survey(tmp_path / "nowhere", deadline_s=1.0) == []
