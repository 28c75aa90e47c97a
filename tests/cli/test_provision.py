"""Provisioning, adding targets and sharing a device, as the program does them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edgekit.devices import connect, load_target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer, Board

pytestmark = pytest.mark.device


@pytest.mark.slow
def test_a_bare_python_benches_a_real_model_once_provisioned(
    edgekit: Callable[..., Answer], digits: Path, board: Board, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    target = tmp_path / "bare.toml"
    text = board.target.read_text().replace('name = "board"', 'name = "bare"')
    target.write_text(text.replace(sys.executable, str(bare / "bin" / "python")))
    bench = ("bench", digits / "tflite-int8", "--on", target, "--blocks", "1", "--out", tmp_path)

    without = edgekit(*bench)
    assert without.code == 1
    assert "edgekit provision bare --runtime litert" in without.err

    first = edgekit("provision", target, "--json").document["environment"]
    assert first["sent_bytes"] > 1_000_000
    again = edgekit("provision", target, "--json").document["environment"]
    assert (again["id"], again["sent_bytes"], again["already_there"]) == (first["id"], 0, True)
    run = edgekit(*bench, "--json")
    assert run.code == 0, run.err
    assert run.document["runs"][0]["run"]["context"]["package"] == "ai_edge_litert"
    subjects = {f["subject"]: f for f in edgekit("doctor", target, "--json").document["findings"]}
    assert subjects["environment"]["level"] == "ok"
    assert "litert, whole, for x86_64" in subjects["environment"]["what"]

    next((board.root / "env" / "current" / "site" / "numpy").glob("__init__.py")).unlink()
    damaged = {f["subject"]: f for f in edgekit("doctor", target, "--json").document["findings"]}["environment"]
    assert (damaged["level"], damaged["remedy"]) == ("warning", "Run: edgekit provision bare")

    assert edgekit("provision", target, "--remove", "--json").document["removed"]
    assert not (board.root / "env").exists()
    assert edgekit(*bench).code == 1


def test_remove_goes_with_nothing_else(edgekit: Callable[..., Answer]) -> None:
    assert edgekit("provision", "local", "--remove", "--runtime", "litert").code == 2


def test_a_target_is_added_and_never_overwritten(edgekit: Callable[..., Answer], board: Board, tmp_path: Path) -> None:
    sshd = board.sshd
    add = ("targets", "add", "new", f"ssh://{sshd.user}@127.0.0.1:{sshd.port}", "--identity-file", sshd.identity_file,
           "--targets", tmp_path)  # fmt: skip
    refused = edgekit(*add)
    assert refused.code == 1
    fingerprint = re.search(r"--fingerprint (SHA256:\S+)", refused.err)
    assert fingerprint is not None
    added = edgekit(*add, "--fingerprint", fingerprint[1], "--json")
    assert added.code == 0, added.err
    assert added.document["target"]["ssh"]["port"] == sshd.port
    assert edgekit(*add).code == 1
    assert edgekit(*add, "--force").code == 0
    assert [t["name"] for t in edgekit("targets", "list", "--targets", tmp_path, "--json").document["targets"]] == [
        "new"
    ]
    assert edgekit("targets", "show", "new", "--targets", tmp_path, "--json").document["target"]["name"] == "new"


def test_who_waits_is_told_for_whom_and_for_how_long(
    edgekit: Callable[..., Answer], board: Board, tmp_path: Path
) -> None:
    with connect(load_target(str(board.target))) as device, device.lock("a long bench"):
        refused = edgekit("provision", board.target, "--remove", "--wait", "1s")
        assert edgekit("status", board.target, "--json").document["lock"]["owner"]["purpose"] == "a long bench"
    assert refused.code == 1
    waiting, error = refused.err.splitlines()
    assert re.match(
        r"board is in use by .* since 20.* \(a long bench\), lease ends in 15 min .*; waiting for up to 1 s", waiting
    )
    assert "edgekit targets unlock board" in error
    assert edgekit("provision", board.target, "--remove", "--wait", "soon").code == 2


def test_a_lock_is_broken_only_when_that_is_confirmed(edgekit: Callable[..., Answer], board: Board) -> None:
    with connect(load_target(str(board.target))) as device, device.lock("gone for lunch"):
        asked = edgekit("targets", "unlock", board.target)
        assert asked.code == 1
        assert "gone for lunch" in asked.err
        assert "--yes" in asked.err
        broken = edgekit("targets", "unlock", board.target, "--yes", "--json")
        assert (broken.code, broken.document["broken"]) == (0, True)
        assert edgekit("targets", "unlock", board.target).code == 0


def test_devices_ends_well_while_connections_hang(edgekit: Callable[..., Answer], tmp_path: Path) -> None:
    """The interpreter's own end would crash in cryptography under the threads that still wait."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        for number in range(4):
            (tmp_path / f"hangs{number}.toml").write_text(
                f'schema = 1\ntransport = "ssh"\n[ssh]\nhost = "127.0.0.1"\nport = {silent.getsockname()[1]}\n'
            )
        for arguments in ((), ("--json",), ("--deadline", "0.5")):
            answer = edgekit("devices", "--targets", tmp_path, *arguments)
            assert (answer.code, answer.err) == (0, "")
            assert answer.out.count("unreachable") == 4
