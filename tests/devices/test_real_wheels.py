"""What is fetched for users: real wheels from the package index, onto a real adbd that was added by asking it."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from edgekit.artifact import open_artifact
from edgekit.bench.verify import verify
from edgekit.devices import connect, load_target
from edgekit.devices.environment import provision, remove
from edgekit.errors import RuntimeMissingError

if TYPE_CHECKING:
    from pathlib import Path

    from adb_network import Adbd, AdbNetwork

pytestmark = [pytest.mark.device, pytest.mark.slow]

FORMATS = {"litert": "tflite-int8", "onnxruntime": "onnx-float32", "tvm": "tvm-float32-x86_64-linux-gnu"}


def edgekit(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_device_of_the_adb_server_becomes_a_target_by_being_asked(
    adbd: Adbd, phone: Adbd, adb_network: AdbNetwork, tmp_path: Path
) -> None:
    for one in (adbd, phone):  # two attached: the serial tells which
        adb_network.adb("connect", one.serial)
    edgekit("targets", "add", "pixel", f"adb:{adbd.serial}", "--targets", tmp_path)
    target = load_target("pixel", tmp_path)
    assert target.adb is not None
    assert (target.transport, target.adb.serial) == ("adb", adbd.serial)
    assert platform.machine() in target.labels
    with connect(msgspec.structs.replace(target, root=str(tmp_path / "root"))) as device:
        assert device.run(["echo", "hello"], step="greeting").stdout == b"hello\n"
    assert "exists" in edgekit("targets", "add", "pixel", f"adb:{adbd.serial}", "--targets", tmp_path, code=1)
    said = edgekit("targets", "add", "other", "adb:R5CT", "--targets", tmp_path, code=1)
    assert "R5CT) was not found while connecting: adb sees" in " ".join(said.split())
    assert not (tmp_path / "other.toml").exists()


def test_every_runtime_that_has_wheels_runs_what_was_proved_here(
    adbd: Adbd, bare_python: str, digits: Path, tmp_path: Path
) -> None:
    """In a Python that has nothing but the standard library before, and after it was taken away again."""
    target = msgspec.structs.replace(adbd.target("board", root=str(tmp_path / "root")), python=bare_python)
    with connect(target) as device:
        result = provision(device, list(FORMATS))
        assert result.sent_bytes > 0
        assert {one.name for one in result.packages} >= {"ai-edge-litert", "onnxruntime", "apache-tvm", "numpy"}
        for runtime, name in FORMATS.items():
            assert verify(device, open_artifact(digits / name), push=True).passed
            assert device.runners[runtime].kind == "python"
        assert remove(device)
        assert not remove(device)
    with connect(target) as device, pytest.raises(RuntimeMissingError, match="numpy"):
        verify(device, open_artifact(digits / FORMATS["litert"]), push=True)
