"""The GitHub action and the GitLab job of docs/gate.md, run as their CI systems would run their shell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.cli.ci_systems import HERE, run_action, run_gitlab_job
from tests.cli.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.devices.throwaway_sshd import ThrowawaySshd
    from tests.cli.conftest import Board

pytestmark = [pytest.mark.slow, pytest.mark.device]


def quick(board: Board, digits: Path, **more: str) -> dict[str, str]:
    artifact = str((digits / "tflite-int8").resolve())
    return {
        "candidate": artifact,
        "baseline": artifact,
        "target": str(board.target),
        "pairs": "3",
        "max-pairs": "3",
    } | more


def test_the_action_passes_what_did_not_regress(board: Board, digits: Path, tmp_path: Path) -> None:
    status, told, summary, printed = run_action(tmp_path, quick(board, digits, tolerance="60%"))
    assert status == 0, printed
    assert told["outcome"] in ("equivalent", "inconclusive")
    assert summary.startswith("### ")
    assert (tmp_path / told["junit"]).is_file()


def test_the_action_warns_of_a_device_that_is_away(sshd: ThrowawaySshd, digits: Path, tmp_path: Path) -> None:
    target = sshd.write_target(tmp_path / "away.toml", "away", str(tmp_path / "root"), port=1)
    artifact = str((digits / "tflite-int8").resolve())
    status, told, summary, printed = run_action(
        tmp_path, {"candidate": artifact, "baseline": artifact, "target": str(target), "wait": "1s"}
    )
    assert (status, told["outcome"]) == (0, "inconclusive")
    assert "::warning::" in printed
    assert "not measured" in summary


def test_the_action_fails_for_an_error_and_runs_nothing_that_an_input_says(
    board: Board, digits: Path, tmp_path: Path
) -> None:
    hostile = "$(touch pwned) `touch pwned`; touch pwned"
    status, told, _, printed = run_action(tmp_path, quick(board, digits, candidate=hostile))
    assert status == 1, printed
    assert told["outcome"] == "error"
    assert not list(tmp_path.rglob("pwned"))


def test_the_gitlab_job(board: Board, digits: Path, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "gate.md").read_text()
    job = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])["latency"]  # type: ignore[index]
    assert job["allow_failure"] == {"exit_codes": [4]}
    artifact = str((digits / "tflite-int8").resolve())
    variables = {"CANDIDATE": artifact, "BASELINE": artifact, "TARGET": str(board.target)}
    status, printed = run_gitlab_job(tmp_path, job, {**HERE, **variables}, more=" --pairs 3 --max-pairs 3")
    assert status in (0, 4), printed
    assert (tmp_path / job["artifacts"]["reports"]["junit"]).is_file()
