"""The whole way to a phone over ADB: a real adbd, mksh and toybox, and a Python with LiteRT shown in its root."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.bench.run import read_run
from tests.machine import processes_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adb_network import Adbd, AdbNetwork
    from conftest import Answer

pytestmark = [pytest.mark.device, pytest.mark.slow]


REPOSITORY = Path(__file__).parents[2]
TARGET = """
schema = 1
transport = "adb"
python = "{python}"
{root}

[adb]
host = "127.0.0.1"
port = {port}

[bench]
min_s = {min_s}
max_warmup_s = 2.0
idle_timeout_s = {idle_s}
"""


@pytest.fixture
def target(phone: Adbd, tmp_path: Path) -> Path:
    """A target as a user would write it; its root is the default one."""
    file = tmp_path / "phone.toml"
    file.write_text(TARGET.format(python=sys.executable, root="", port=phone.port, min_s=0.2, idle_s=60))
    return file


def test_deploy_bench_and_roll_back_on_a_phone(
    edgekit: Callable[..., Answer], digits: Path, target: Path, phone: Adbd, tmp_path: Path
) -> None:
    for precision in ("float32", "int8"):
        deployed = edgekit("deploy", digits / f"tflite-{precision}", "--to", target, "--json")
        assert deployed.code == 0, deployed.err
    assert (
        phone.seen("/data/local/tmp/edgekit/models/digits_cnn/current").readlink().name
        == (deployed.document["deployment"]["artifact_id"])
    )
    answer = edgekit(
        "bench", digits / "tflite-int8", "--on", target, "--blocks", "2", "--out", tmp_path / "results", "--json"
    )
    assert answer.code == 0, answer.err
    run = read_run(Path(answer.document["runs"][0]["file"]))
    assert (run.context.transport, run.context.runtime, len(run.blocks)) == ("adb", "litert", 2)
    assert run.worst_golden_snr_db is None or run.worst_golden_snr_db > 20
    assert edgekit("rollback", "digits_cnn", "--on", target).code == 0
    status = edgekit("status", target)
    assert status.code == 0, status.err
    assert "float32" in status.out
    assert edgekit("deploy", digits / "tflite-float32", "--to", target, "--json").document["deployment"][
        "already_there"
    ]


@pytest.fixture
def mortal(adb_network: AdbNetwork) -> Iterator[Adbd]:
    """A real adbd of this test alone, which shows this machine's files and may be killed."""
    device = adb_network.adbd(15900 + len(adb_network.started))
    yield device
    device.kill()
    adb_network.adb("disconnect", device.serial)


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_a_bench_whose_adbd_is_killed_or_that_is_interrupted(
    edgekit: Callable[..., Answer], digits: Path, mortal: Adbd, tmp_path: Path, how: str
) -> None:
    root = tmp_path / "root"
    target = tmp_path / "mortal.toml"
    settings = {"python": sys.executable, "root": f'root = "{root}"', "port": mortal.port}
    target.write_text(TARGET.format(**settings, min_s=30.0, idle_s=5))
    command = ["bench", str(digits / "tflite-int8"), "--on", str(target), "--blocks", "1", "--out", str(tmp_path / "o")]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *command], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    try:
        assert within(60, lambda: bool(runners(root))), "the runner never started"
        time.sleep(1)
        if how == "killed":
            mortal.kill()
        else:
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=90)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (130 if how == "interrupted" else 1)
    assert "Traceback" not in said
    if how == "killed":
        assert said.rpartition("Error: ")[2].startswith("The connection to the device 'mortal'")
        mortal.start()
    assert within(15, lambda: not runners(root)), "the runner must not outlive its benchmark"
    target.write_text(TARGET.format(**settings, min_s=0.2, idle_s=60))
    again = edgekit(*command)
    assert again.code == 0, again.err


def runners(root: Path) -> list[int]:
    """Process ids of runners that work in a store."""
    return processes_with(str(root), ".pyz", without="sh\0-c")


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
