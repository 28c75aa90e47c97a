"""The GitHub action and the GitLab job of docs/gate.md, run as their CI systems would run their shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cli.conftest import REPOSITORY

if TYPE_CHECKING:
    from edgekit.devices.throwaway_sshd import ThrowawaySshd
    from tests.cli.conftest import Board

pytestmark = [pytest.mark.slow, pytest.mark.device]
ACTION = REPOSITORY / ".github" / "actions" / "gate" / "action.yml"


def run_action(folder: Path, **inputs: str) -> tuple[int, dict[str, str], str, str]:
    """The action's one step: status, its outputs, the job's summary, what it printed."""
    action = yaml.safe_load(ACTION.read_text())
    (step,) = action["runs"]["steps"]
    given = {name: spec.get("default", "") for name, spec in action["inputs"].items()} | inputs
    assert all(given.values()), "a required input is missing"
    env = {name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], text)
           for name, text in step["env"].items()}  # fmt: skip
    outputs, summary = folder / "outputs", folder / "summary"
    for file in (outputs, summary):
        file.write_text("")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder, capture_output=True, text=True, timeout=300,
        env={**os.environ, **env, "PATH": path, "GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary)},
    )  # fmt: skip
    told = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    return done.returncode, told, summary.read_text(), done.stdout + done.stderr


def quick(board: Board, digits: Path, **more: str) -> dict[str, Any]:
    artifact = str((digits / "tflite-int8").resolve())
    return {
        "candidate": artifact,
        "baseline": artifact,
        "target": str(board.target),
        "pairs": "3",
        "max-pairs": "3",
    } | more


def test_the_action_passes_what_did_not_regress(board: Board, digits: Path, tmp_path: Path) -> None:
    status, told, summary, printed = run_action(tmp_path, **quick(board, digits, tolerance="60%"))
    assert status == 0, printed
    assert told["outcome"] in ("equivalent", "inconclusive")
    assert summary.startswith("### ")
    assert (tmp_path / told["junit"]).is_file()


def test_the_action_warns_of_a_device_that_is_away(sshd: ThrowawaySshd, digits: Path, tmp_path: Path) -> None:
    target = sshd.write_target(tmp_path / "away.toml", "away", str(tmp_path / "root"), port=1)
    artifact = str((digits / "tflite-int8").resolve())
    status, told, summary, printed = run_action(
        tmp_path, candidate=artifact, baseline=artifact, target=str(target), wait="1s"
    )
    assert (status, told["outcome"]) == (0, "inconclusive")
    assert "::warning::" in printed
    assert "not measured" in summary


def test_the_action_fails_for_an_error_and_runs_nothing_that_an_input_says(
    board: Board, digits: Path, tmp_path: Path
) -> None:
    hostile = "$(touch pwned) `touch pwned`; touch pwned"
    status, told, _, printed = run_action(tmp_path, **quick(board, digits, candidate=hostile))
    assert status == 1, printed
    assert told["outcome"] == "error"
    assert not list(tmp_path.rglob("pwned"))


def test_the_gitlab_job(board: Board, digits: Path, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "gate.md").read_text()
    job = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])["latency"]  # type: ignore[index]
    assert job["allow_failure"] == {"exit_codes": [4]}
    (line,) = job["script"]
    artifact = str((digits / "tflite-int8").resolve())
    variables = {"CANDIDATE": artifact, "BASELINE": artifact, "TARGET": str(board.target)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", f"{line} --pairs 3 --max-pairs 3"], cwd=tmp_path, capture_output=True,
        text=True, timeout=300, env={**os.environ, **variables, "PATH": path},
    )  # fmt: skip
    assert done.returncode in (0, 4), done.stderr
    assert (tmp_path / job["artifacts"]["reports"]["junit"]).is_file()
