"""The whole way to a phone over ADB: a real adbd, mksh and toybox, and a Python with LiteRT shown in its root."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.bench.run import read_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from adb_network import Adbd
    from conftest import Answer

pytestmark = [pytest.mark.device, pytest.mark.slow]


@pytest.fixture
def target(phone: Adbd, tmp_path: Path) -> Path:
    """A target as a user would write it; its root is the default one."""
    file = tmp_path / "phone.toml"
    file.write_text(f"""
schema = 1
transport = "adb"
python = "{sys.executable}"

[adb]
host = "127.0.0.1"
port = {phone.port}

[bench]
min_s = 0.2
max_warmup_s = 2.0
""")
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
