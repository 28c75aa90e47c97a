"""`edgekit evaluate` as a user and a CI job run it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.bench.evaluation import read_evaluated
from edgekit.devices import load_target
from tests.bench.evaluation.devices import WRONG_AFTER_GOLDEN, tampered

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer, Board

pytestmark = pytest.mark.device


def test_the_metric_there_beside_the_one_here(
    edgekit: Callable[..., Answer], digits: Path, board: Board, tmp_path: Path
) -> None:
    answer = edgekit("evaluate", digits / "tflite-int8", "--on", board.target, "--limit", 50, "--batch", 16,
                     "--out", tmp_path, "--markdown", tmp_path / "comment.md")  # fmt: skip
    assert answer.code == 0, answer.err
    assert "outcome: same" in answer.out
    assert "50 of 360 evaluation samples" in answer.out
    assert "executes" in answer.err
    (file,) = tmp_path.glob("board/*.eval.json")
    assert str(file) in answer.out
    made = read_evaluated(file)
    assert made.accuracy.device == made.accuracy.here
    comment = (tmp_path / "comment.md").read_text()
    assert comment.startswith("### ⚪ as accurate as here: digits\\_cnn tflite:int8 on board")
    assert "50 of 360 samples" in comment


def test_fast_and_wrong_is_status_3_and_told(
    edgekit: Callable[..., Answer], digits: Path, board: Board, tmp_path: Path
) -> None:
    program = tampered(load_target(str(board.target)), tmp_path / "wrong", answer=WRONG_AFTER_GOLDEN).python
    target = tmp_path / "wrong.toml"
    lines = [line for line in board.target.read_text().splitlines() if not line.startswith("python")]
    target.write_text("\n".join([f"python = '{program}'", *lines]))
    answer = edgekit("evaluate", digits / "tflite-int8", "--on", target, "--out", tmp_path / "out", "--json",
                     "--markdown", tmp_path / "comment.md")  # fmt: skip
    assert answer.code == 3, answer.err
    made = answer.document["evaluated"]
    assert made["outcome"] == "worse"
    assert made["accuracy"]["device"] < 0.2
    assert (tmp_path / "comment.md").read_text().startswith("### 🔴 less accurate than here")


def test_a_device_that_is_away_is_inconclusive_at_once(
    edgekit: Callable[..., Answer], digits: Path, board: Board, tmp_path: Path
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        text = board.target.read_text().replace(f"port = {board.sshd.port}", f"port = {nobody.getsockname()[1]}")
        (tmp_path / "away.toml").write_text(text)
        answer = edgekit("evaluate", digits / "tflite-int8", "--on", tmp_path / "away.toml", "--json", timeout=60,
                         )  # fmt: skip
    assert answer.code == 4, answer.err
    assert answer.document["outcome"] == "inconclusive"
    assert "did not answer while connecting" in answer.document["because"]


def test_a_model_that_is_not_here_is_asked_for(
    edgekit: Callable[..., Answer], digits: Path, board: Board, tmp_path: Path
) -> None:
    answer = edgekit("evaluate", digits / "tflite-int8", "--on", board.target, "--model", tmp_path)
    assert answer.code == 1
    assert "model.py" in answer.err
    budget = edgekit("evaluate", digits / "tflite-int8", "--on", board.target, "--max-drop", "lots")
    assert budget.code == 1
    assert "no accuracy budget" in budget.err
