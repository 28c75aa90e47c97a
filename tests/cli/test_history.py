"""`edgekit history` as a user calls it: stored runs, folders of targets, git revisions, exit statuses."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edgekit.bench.run import write_run
from edgekit.bench.stored import added_by
from edgekit.cli import cli
from edgekit.errors import ArtifactError
from tests.bench.test_history import runs

if TYPE_CHECKING:
    from click.testing import Result


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def store(n: int = 20, slow_from: int = 99, **more: Any) -> list[Path]:
    return [write_run(run, Path("bench_results")) for run in runs(n, lambda k: 1.1 if k >= slow_from else 1.0, **more)]


def history(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["history", *arguments])


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x"]
    return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_a_steady_target_is_0_and_a_slower_one_is_3(project: Path) -> None:
    store()
    steady = history("board")
    assert (steady.exit_code, "steady" in steady.output) == (0, True)
    store(slow_from=12, precision="float32")
    slower = history()
    assert slower.exit_code == 3
    assert "2026-01-13" in slower.output
    assert history("board", "--model", "digits_cnn", "--on", "board").exit_code == 3
    assert history("--since", "2026-01-13").exit_code == 0  # accepted: from there on it is steady


def test_too_few_runs_are_4(project: Path) -> None:
    store(3)
    found = history()
    assert (found.exit_code, "too few" in found.output) == (4, True)


def test_json_has_the_whole_series(project: Path) -> None:
    store(slow_from=12)
    document = json.loads(history("--json").output)
    (series,) = document["series"]
    assert (document["command"], series["outcome"], len(series["points"])) == ("history", "regressed", 20)
    assert [step["at"] for step in series["steps"]] == [12]


def test_steps_name_the_commit_that_brought_the_run(project: Path) -> None:
    git("init", "-q")
    files = store(slow_from=12)
    for name, part in (("fast", files[:12]), ("slow", files[12:])):
        git("add", *map(str, part))
        git("commit", "-qm", name)
    slow = git("rev-parse", "--short", "HEAD")
    (series,) = json.loads(history("--json").output)["series"]
    assert series["steps"][0]["revision"] == slow
    assert slow in history().output
    (of_revision,) = json.loads(history("HEAD", "--json").output)["series"]
    assert of_revision == series
    assert history("HEAD~1").exit_code == 0
    assert set(added_by("bench_results/board")) == set(map(str, files))
    assert set(added_by(str(files[0]))) == {str(files[0])}


def test_without_git_there_are_dates(project: Path) -> None:
    store(slow_from=12)
    assert added_by("bench_results") == {}
    (series,) = json.loads(history("--json").output)["series"]
    assert series["steps"][0]["revision"] is None


def test_runs_of_schema_1_have_a_history_with_those_of_schema_2(project: Path) -> None:
    for path in store()[:10]:
        run = json.loads(path.read_bytes()) | {"schema": 1}
        del run["accuracy"], run["context"]["runner"]
        for block in run["blocks"]:
            for name in ("warmup", "samples"):
                kept = block.pop(name)
                block[f"{name}_ns"] = [round(kept["median_ns"])] * kept["n"]
        path.write_text(json.dumps(run))
    found = history("--json")
    assert [len(series["points"]) for series in json.loads(found.output)["series"]] == [20]


@pytest.mark.parametrize("arguments", [["nowhere"], ["bench_results", "--model", "other"], ["--since", "2030-01-01"]])
def test_what_is_not_there_is_an_error(project: Path, arguments: list[str]) -> None:
    store(3)
    found = history(*arguments)
    assert isinstance(found.exception, ArtifactError)


def test_two_thousand_files_take_seconds(project: Path) -> None:
    (first, *_) = store(1)
    content = first.read_text()
    for k in range(2000):
        copy = content.replace("2026-01-01T", f"{2000 + k // 300}-01-{1 + k % 28:02d}T").replace('"id":"', f'"id":"{k}')
        (first.parent / f"{k}.json").write_text(copy)
    began = time.process_time()
    assert history().exit_code == 0
    assert time.process_time() - began < 10
