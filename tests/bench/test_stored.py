"""Where runs come from: files, folders, and revisions of a real git repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgekit.bench.run import write_run
from edgekit.bench.stored import stored_runs
from edgekit.errors import ArtifactError
from tests.bench.runs import noisy_run


def git(*arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", "--initial-branch=main")
    return tmp_path


def test_a_file_and_a_folder(tmp_path: Path) -> None:
    first, second = noisy_run(1), noisy_run(2, target="other")
    path = write_run(first, tmp_path)
    write_run(second, tmp_path)
    assert stored_runs(str(path)) == [first]
    assert stored_runs(str(tmp_path)) == [first, second]


def test_revisions(repository: Path) -> None:
    old, new = noisy_run(1), noisy_run(2)
    old_path = write_run(old, repository / "bench_results")
    write_run(noisy_run(5), repository / "elsewhere")
    git("add", ".")
    git("commit", "--quiet", "-m", "old")
    git("tag", "v1")
    old_path.unlink()
    write_run(new, repository / "bench_results")
    (repository / "bench_results" / "notes.txt").write_text("no run")
    git("add", "--all")
    git("commit", "--quiet", "-m", "new")
    assert stored_runs("v1") == [old]
    assert stored_runs("HEAD~1") == [old]
    assert stored_runs("main") == [new]
    assert stored_runs("v1:elsewhere")[0].context.target == "board"
    assert stored_runs(f"v1:bench_results/board/{old_path.name}") == [old]


@pytest.mark.parametrize("where", ["no-such-branch", "--help", "v1:nowhere", "", "HEAD:bench_results"])
def test_nowhere(repository: Path, where: str) -> None:
    (repository / "file").write_text("x")
    git("add", ".")
    git("commit", "--quiet", "-m", "x")
    git("tag", "v1")
    with pytest.raises(ArtifactError) as caught:
        stored_runs(where)
    assert repr(where) in caught.value.what


def test_outside_a_repository_git_s_own_words_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(ArtifactError, match="git says: not a git repository"):
        stored_runs("main")


def test_a_revision_with_a_file_that_is_no_run(repository: Path) -> None:
    (repository / "bench_results").mkdir()
    (repository / "bench_results" / "bad.json").write_text('{"schema": 1}')
    git("add", ".")
    git("commit", "--quiet", "-m", "x")
    with pytest.raises(ArtifactError, match=r"HEAD:bench_results/bad\.json is not a run"):
        stored_runs("HEAD")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no run"):
        stored_runs(str(tmp_path))
