"""Stored runs, from wherever a user points: a file, a folder, or a git revision of a folder.

    bench_results/pi/2026….json     one run
    bench_results                   every run below it
    main, v1.2, HEAD~3              the revision's `bench_results`
    main:other/folder               another folder, or a file, of the revision

What exists on disk is taken from there; a revision is what does not. Its files are read through `git`, and nothing is
checked out.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.bench.evaluation.result import SUFFIX, decode_evaluated, read_evaluated
from edgekit.bench.run import Run, decode_run, read_run
from edgekit.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgekit.bench.evaluation import Evaluated

GIT_TIMEOUT_S = 60
DEFAULT_FOLDER = "bench_results"
OTHERS = (".aa.json", ".tune.json", SUFFIX)
"""What else is kept beside runs."""


def stored_runs(where: str) -> list[Run]:
    """The runs at a place, see the module; in the order of their paths.

    Raises:
        ArtifactError: there is no such place, it holds no run, or a file there is none.
    """
    return [run for _, run in named_runs(where)]


def named_runs(where: str) -> Iterator[tuple[str, Run]]:
    """(path or REVISION:PATH, run) of each, one after another: whoever needs little of each needs little memory.

    Raises:
        ArtifactError: as `stored_runs`.
    """
    path, found = Path(where), False
    for one in _on_disk(path) if path.exists() else _runs_of_revision(where):
        found = True
        yield one
    if not found:
        raise ArtifactError(f"{where!r} holds no run.", remedy="Measure first: edgekit bench ARTIFACT --on TARGET.")


def stored_evaluations(where: str) -> list[Evaluated]:
    """The evaluations at a place; of a run's file those in its folder. None at all is no error.

    Raises:
        ArtifactError: there is no such place, or a file there is no evaluation.
    """
    path = Path(where)
    if path.exists():
        folder = path if path.is_dir() else path.parent
        return [read_evaluated(file) for file in sorted(folder.rglob(f"*{SUFFIX}"))]
    found = _of_revision(where, lambda name: name.endswith(SUFFIX))
    return [decode_evaluated(content, name) for name, content in found]


def _on_disk(path: Path) -> Iterator[tuple[str, Run]]:
    if not path.is_dir():
        yield str(path), read_run(path)
        return
    for file in sorted(path.rglob("*.json")):
        if not file.name.endswith(OTHERS):
            yield str(file), read_run(file)


def _runs_of_revision(where: str) -> Iterator[tuple[str, Run]]:
    for name, content in _of_revision(where, lambda name: name.endswith(".json") and not name.endswith(OTHERS)):
        yield name, decode_run(content, name)


def _of_revision(where: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a revision's files."""
    revision, _, inside = where.partition(":")
    inside = inside or DEFAULT_FOLDER
    if revision.startswith("-"):
        raise _nowhere(where, "no file, folder or git revision begins with a dash")
    listed = _git(where, ["ls-tree", "-r", "-z", "--name-only", "--full-tree", revision, "--", inside])
    names = listed.decode("utf-8", "surrogateescape").split("\0")
    names = [name for name in names if wanted(name) and "\n" not in name]
    asked = "".join(f"{revision}:{name}\n" for name in names).encode("utf-8", "surrogateescape")
    answers = _git(where, ["cat-file", "--batch"], stdin=asked)
    position = 0
    for name in names:
        begin = answers.index(b"\n", position) + 1
        size = int(answers[position:begin].rsplit(b" ", 1)[1])
        yield f"{revision}:{name}", answers[begin : begin + size]
        position = begin + size + 1


def added_by(where: str) -> dict[str, str]:
    """The abbreviated git commit that added each run's file, by its name as `named_runs` gives it.

    Empty where the place is under no version control, or git is not installed: then history has dates only.
    """
    path = Path(where)
    if path.exists():
        folder = path if path.is_dir() else path.parent
        before, relative, revision, inside = f"{folder}/", ["--relative"], "HEAD", "." if path.is_dir() else path.name
    else:
        revision, _, below = where.partition(":")
        folder, before, relative, inside = Path(), f"{revision}:", [], f":/{below or DEFAULT_FOLDER}"
    asked = ["-C", str(folder), "-c", "core.quotePath=false", "log", "--diff-filter=A", "--no-renames", "--name-only",
             "--format=%x01%h", *relative, revision, "--", inside]  # fmt: skip
    try:
        listed = _git(where, asked).decode("utf-8", "surrogateescape")
    except ArtifactError:
        return {}
    found: dict[str, str] = {}
    for commit in listed.split("\x01")[1:]:
        short, *files = commit.split("\n")
        for file in filter(None, files):
            found.setdefault(str(Path(before + file)) if relative else before + file, short)
    return found


def _git(where: str, arguments: Sequence[str], stdin: bytes = b"") -> bytes:
    try:
        done = subprocess.run(["git", *arguments], input=stdin, capture_output=True, timeout=GIT_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise _nowhere(where, "and git, which might know it as a revision, is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise _nowhere(where, f"and git did not answer within {GIT_TIMEOUT_S} s") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ")
        raise _nowhere(where, f"and git says: {said or 'nothing'}")
    return done.stdout


def _nowhere(where: str, why: str) -> ArtifactError:
    return ArtifactError(
        f"There is no run at {where!r}: no such file or folder, {why.rstrip('.')}.",
        remedy="Give a run's file, a folder of runs, or a git revision (REVISION or REVISION:FOLDER).",
    )
