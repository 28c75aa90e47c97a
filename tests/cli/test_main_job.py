"""The main job over a real sshd: deploy, status, bench, rollback; and each of them failing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.artifact import MANIFEST, open_artifact
from edgekit.bench import read_run
from edgekit.files import sha256_of
from tests.cli.conftest import REPOSITORY
from tests.machine import processes_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Answer, Board

pytestmark = [pytest.mark.slow, pytest.mark.device]


def test_inspect_and_verify(edgekit: Callable[..., Answer], digits: Path) -> None:
    shown = edgekit("inspect", digits / "tflite-int8", "--json").document
    assert shown["manifest"]["recipe"]["precision"] == "int8"
    assert shown["manifest"]["inputs"][0]["dtype"] == "int8"
    verified = edgekit("verify", digits / "tflite-int8", "--json")
    assert verified.code == 0
    assert verified.document["result"]["passed"]


def test_verify_fails_for_one_flipped_byte(edgekit: Callable[..., Answer], digits: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree((digits / "tflite-int8").resolve(), tmp_path / "copy"))
    payload = copy / "payload" / "model.tflite"
    payload.chmod(0o644)
    content = bytearray(payload.read_bytes())
    content[len(content) // 2] ^= 1
    payload.write_bytes(content)
    answer = edgekit("verify", copy)
    assert answer.code == 3
    assert "payload/model.tflite" in answer.err


def test_deploy_twice_status_rollback(edgekit: Callable[..., Answer], digits: Path, board: Board) -> None:
    first = edgekit("deploy", digits / "tflite-float32", "--to", board.target, "--json").document["deployment"]
    again = edgekit("deploy", digits / "tflite-float32", "--to", board.target, "--json").document["deployment"]
    assert first["sent_bytes"] > 0
    assert again["sent_bytes"] == 0
    assert again["already_there"]

    second = edgekit("deploy", digits / "tflite-int8", "--to", board.target, "--json").document["deployment"]
    assert second["previous_id"] == first["artifact_id"]
    model = edgekit("status", board.target, "--json").document["models"][0]
    assert (model["current_id"], model["whole"]) == (second["artifact_id"], True)

    back = edgekit("rollback", "digits_cnn", "--on", board.target, "--json").document["deployment"]
    assert back["artifact_id"] == first["artifact_id"]
    current = board.root / "models" / "digits_cnn" / "current"
    assert sha256_of(current / MANIFEST) == first["artifact_id"]


def test_status_tells_damage_on_the_device(edgekit: Callable[..., Answer], digits: Path, board: Board) -> None:
    deployed = edgekit("deploy", digits / "tflite-int8", "--to", board.target, "--json").document["deployment"]
    payload = board.root / "store" / deployed["artifact_id"] / "payload" / "model.tflite"
    payload.chmod(0o644)
    payload.write_bytes(b"not a model")
    answer = edgekit("status", board.target)
    assert answer.code == 3
    assert "damaged" in answer.out
    repaired = edgekit("deploy", digits / "tflite-int8", "--to", board.target, "--json").document["deployment"]
    assert repaired["sent_bytes"] > 0
    assert edgekit("status", board.target).code == 0


def test_bench_keeps_a_whole_run(edgekit: Callable[..., Answer], digits: Path, board: Board, tmp_path: Path) -> None:
    answer = edgekit(
        "bench", digits / "tflite-float32", digits / "tflite-int8", "--on", board.target, "--threads", "1,2",
        "--blocks", "2", "--out", tmp_path, "--json",
    )  # fmt: skip
    assert answer.code == 0
    files = [Path(run["file"]) for run in answer.document["runs"]]
    runs = [read_run(file) for file in files]
    assert [(run.recipe.precision, run.context.threads) for run in runs] == [
        ("float32", 1), ("float32", 2), ("int8", 1), ("int8", 2),
    ]  # fmt: skip
    for run in runs:
        assert len(run.blocks) == 2
        samples = np.concatenate([block.samples.unpack() for block in run.blocks])
        assert run.summary.n == len(samples) >= 100
        assert run.summary.p50.value_ns == pytest.approx(np.quantile(samples, 0.5))
        assert all(block.init_ns > 0 and block.first_ns > 0 and block.warmup.n for block in run.blocks)
        facts = run.blocks[0].before
        assert facts.values["cores"] == os.cpu_count()
        assert all(facts.missing.get(name) for name, value in facts.values.items() if value is None)
        assert run.artifact == open_artifact(digits / f"tflite-{run.recipe.precision}").id


def test_a_wrong_answer_is_a_failed_run(
    edgekit: Callable[..., Answer], digits: Path, liar: Path, board: Board, tmp_path: Path
) -> None:
    answer = edgekit("bench", liar, "--on", board.target, "--out", tmp_path / "results")
    assert answer.code == 3
    assert "wrong answers on board" in answer.err
    assert not (tmp_path / "results").exists(), "a failed run is no run"
    assert edgekit("verify", liar).code == 3

    both = edgekit(
        "bench", liar, digits / "tflite-int8", "--on", board.target, "--blocks", "1", "--out", tmp_path / "o", "--json"
    )
    assert both.code == 3
    assert [run["run"]["recipe"]["precision"] for run in both.document["runs"]] == ["int8"], (
        "one does not cost the other"
    )
    assert [error["error"] for error in both.document["errors"]] == ["WrongAnswerError"]


@pytest.fixture
def benching(digits: Path, board: Board, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A benchmark that would take half a minute, already sampling on the device."""
    slow = board.target.with_name("slow.toml")
    slow.write_text(board.target.read_text().replace("min_s = 0.2", "min_s = 30.0"))
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit", "bench", digits / "tflite-float32", "--on", slow, "--blocks", "1",
         "--out", tmp_path / "results"],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not _runners(board) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _runners(board), "the runner never started"
    time.sleep(1.0)
    yield process
    process.kill()
    process.wait()


def _runners(board: Board) -> list[int]:
    """Process ids of runners that work in the board's store."""
    return processes_with(str(board.root), ".pyz", without="sh\0-c")


def _gone(board: Board, seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while _runners(board) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not _runners(board)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_bench_unlocks_the_device(
    edgekit: Callable[..., Answer], benching: subprocess.Popen[str], digits: Path, board: Board, tmp_path: Path,
    sent: signal.Signals,
) -> None:  # fmt: skip
    benching.send_signal(sent)
    _, said = benching.communicate(timeout=30)
    assert benching.returncode == 130
    assert "Traceback" not in said
    assert _gone(board), "the runner must not outlive its benchmark"
    assert not (board.root / "lock").exists()
    assert not list((tmp_path / "results").rglob("*.json"))
    assert (
        edgekit("bench", digits / "tflite-float32", "--on", board.target, "--blocks", "1", "--out", tmp_path).code == 0
    )


def test_link_cut_during_a_bench(
    edgekit: Callable[..., Answer], benching: subprocess.Popen[str], digits: Path, board: Board, tmp_path: Path
) -> None:
    children = subprocess.run(["pgrep", "-P", str(board.sshd.pid)], capture_output=True, text=True).stdout.split()
    assert children
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)
    _, said = benching.communicate(timeout=60)
    assert benching.returncode == 1
    assert said.startswith("Error: ")
    assert "board" in said
    assert "Traceback" not in said
    assert _gone(board)
    again = edgekit("bench", digits / "tflite-float32", "--on", board.target, "--blocks", "1", "--out", tmp_path)
    assert again.code == 0, again.err


def test_a_narrow_terminal_gets_lines_instead_of_a_cut_table(digits: Path) -> None:
    script = shutil.which("script")
    if script is None:
        pytest.skip("needs `script` (util-linux) for a terminal")
    command = f"stty cols 40; {sys.executable} -m edgekit inspect {digits / 'tflite-int8'}"
    done = subprocess.run([script, "-qec", command, "/dev/null"], capture_output=True, text=True, cwd=REPOSITORY)
    artifact = open_artifact(digits / "tflite-int8").id
    assert artifact in done.stdout.replace("\r\n", "")


def test_doctor_finds_what_a_bench_will_find(edgekit: Callable[..., Answer], board: Board) -> None:
    answer = edgekit("doctor", board.target, "--json")
    found = {finding["subject"]: finding for finding in answer.document["findings"]}
    assert answer.code == 0
    assert found["runtime litert"]["level"] == "ok"
    assert found["runtime coreml"]["level"] == ("ok" if sys.platform == "darwin" else "absent")
    assert found["runtime litert"]["what"].startswith("ai_edge_litert ")
    assert {"connection", "Python", "free space", "other load", "frequency governor"} <= found.keys()


def test_doctor_names_a_missing_runtime_and_a_missing_python(
    edgekit: Callable[..., Answer], board: Board, tmp_path: Path
) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    bare.chmod(0o755)
    target = board.target.with_name("bare.toml")
    for python, subject, remedy in (
        (str(bare), "runtime", f"{bare} -m pip install ai-edge-litert"),
        ("/no/such/python3", "runner", "Install Python 3.8"),
    ):
        text = board.target.read_text().replace(f'python = "{sys.executable}"', f'python = "{python}"')
        assert python in text
        target.write_text(f'runner = "python"\n{text}')
        answer = edgekit("doctor", target, "--json")
        missing = [finding for finding in answer.document["findings"] if finding["level"] == "missing"]
        assert answer.code == 1
        assert [finding["subject"] for finding in missing] == [subject]
        assert remedy in missing[0]["remedy"]
