"""GitHub's and GitLab's runners, as far as their shells go: the gate's action, and a job of a .gitlab-ci.yml."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.cli.conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACTION = REPOSITORY / ".github" / "actions" / "gate" / "action.yml"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
HERE = {**os.environ, "PATH": PATH}


def run_action(
    folder: Path, inputs: Mapping[str, str], environment: Mapping[str, str] = HERE, inside: Sequence[str] = ()
) -> tuple[int, dict[str, str], str, str]:
    """The action's one step: status, its outputs, the job's summary, what it printed.

    Args:
        folder: where the job has its checkout.
        inputs: what `with:` has.
        environment: all of it.
        inside: put before the command line.
    """
    action = yaml.safe_load(ACTION.read_text())
    (step,) = action["runs"]["steps"]
    given = {name: spec.get("default", "") for name, spec in action["inputs"].items()} | dict(inputs)
    assert all(given.values()), "a required input is missing"
    env = {name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], text)
           for name, text in step["env"].items()}  # fmt: skip
    outputs, summary = folder / "outputs", folder / "summary"
    for file in (outputs, summary):
        file.write_text("")
    done = subprocess.run(
        [*inside, "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder, capture_output=True, text=True, timeout=300,
        env={**environment, **env, "GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary)},
    )  # fmt: skip
    told = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    return done.returncode, told, summary.read_text(), done.stdout + done.stderr


def run_gitlab_job(
    folder: Path, job: Mapping[str, Any], environment: Mapping[str, str] = HERE, inside: Sequence[str] = (),
    more: str = "",
) -> tuple[int, str]:  # fmt: skip
    """A job's script: status, and what it printed. `more` is put behind its last line."""
    script = "\n".join(job["script"]) + more
    done = subprocess.run(
        [*inside, "bash", "-eo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, timeout=300,
        env=dict(environment),
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr
