"""Activation that proves itself: what answers otherwise than on the host, or too slowly, never becomes current."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgekit.artifact import open_artifact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Answer, Board

pytestmark = [pytest.mark.slow, pytest.mark.device]


@pytest.fixture
def good(edgekit: Callable[..., Answer], digits: Path, board: Board) -> str:
    """The id of an artifact that is current and has proven itself."""
    answer = edgekit("deploy", digits / "tflite-int8", "--to", board.target, "--json")
    assert answer.code == 0, answer.err
    return str(answer.document["deployment"]["artifact_id"])


def current(board: Board) -> str:
    return (board.root / "models/digits_cnn/current").resolve().name


def test_it_tells_what_it_proved(edgekit: Callable[..., Answer], digits: Path, board: Board, good: str) -> None:
    answer = edgekit("deploy", digits / "tflite-float32", "--to", board.target, "--max-latency", "10s", "--json")
    proof = answer.document["deployment"]["proof"]
    assert proof["snr_db"] is None, "equal to the bit"
    assert 0 < proof["p50_ms"] < 10_000
    assert proof["version"]
    assert edgekit("rollback", "digits_cnn", "--on", board.target).code == 0
    assert current(board) == good


def test_a_wrong_answer_leaves_the_last_good_one(
    edgekit: Callable[..., Answer], liar: Path, board: Board, good: str
) -> None:
    answer = edgekit("deploy", liar, "--to", board.target)
    assert answer.code == 3
    assert "did not become current on board: its golden answers have an SNR of -6.0 dB" in " ".join(answer.err.split())
    assert "What was current there still is." in " ".join(answer.err.split())
    assert current(board) == good
    assert edgekit("verify", liar, "--on", board.target).code == 3, "the remedy's command runs"
    trusted = edgekit("deploy", liar, "--to", board.target, "--unproven", "--json").document["deployment"]
    assert (trusted["proof"], trusted["previous_id"]) == (None, good)
    assert current(board) == open_artifact(liar).id
    assert edgekit("rollback", "digits_cnn", "--on", board.target).code == 0


def test_one_that_is_too_slow_leaves_the_last_good_one(
    edgekit: Callable[..., Answer], digits: Path, board: Board, good: str
) -> None:
    answer = edgekit("deploy", digits / "tflite-float32", "--to", board.target, "--max-latency", "0.0001ms")
    assert answer.code == 3
    assert "above the bound of 0.0001 ms" in " ".join(answer.err.split())
    assert current(board) == good
    assert (
        edgekit("deploy", digits / "tflite-float32", "--to", board.target, "--max-latency", "1", "--unproven").code == 2
    )


def test_a_device_without_the_runtime_is_told_how_to_get_it(
    edgekit: Callable[..., Answer], digits: Path, board: Board, good: str, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.toml"
    bare.write_text(board.target.read_text().replace('name = "board"', 'name = "bare"') + "")
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nexec python3 -S -I "$@"\n')
    python.chmod(0o755)
    lines = [line for line in bare.read_text().splitlines() if not line.startswith("python")]
    place = next(index for index, line in enumerate(lines) if line.startswith("["))
    bare.write_text("\n".join([*lines[:place], f'python = "{python}"', *lines[place:]]) + "\n")
    answer = edgekit("deploy", digits / "tflite-float32", "--to", bare, "--runner", "python")
    told = " ".join(answer.err.split())
    assert answer.code == 1, told
    assert "cannot prove itself there, and did not become current" in told
    assert "edgekit provision" in told
    assert "--unproven" in told
    assert current(board) == good
