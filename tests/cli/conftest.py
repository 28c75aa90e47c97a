"""Fixtures of the command-line tests: the real program, real artifacts, a real SSH target."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from edgekit.artifact import MANIFEST
from edgekit.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.devices.throwaway_sshd import ThrowawaySshd

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Answer:
    """What the program printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as the one JSON document it must be."""
        return msgspec.json.decode(self.out, type=dict)


@pytest.fixture
def edgekit() -> Callable[..., Answer]:
    """Runs the program in the repository's folder."""

    def run(*arguments: object, timeout: float = 300, **environment: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "edgekit", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            timeout=timeout,
            env={**os.environ, **environment},
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def liar(digits: Path, tmp_path: Path) -> Path:
    """A whole artifact that answers the opposite of what its golden outputs say."""
    folder = Path(shutil.copytree((digits / "tflite-float32").resolve(), tmp_path / "liar"))
    manifest = json.loads((folder / MANIFEST).read_text())
    golden = folder / manifest["golden"]["outputs"][0]
    golden.chmod(0o644)
    np.save(golden, -np.load(golden))
    for entry in manifest["files"]:
        entry.update(bytes=(folder / entry["path"]).stat().st_size, sha256=sha256_of(folder / entry["path"]))
    (folder / MANIFEST).chmod(0o644)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def board(sshd: ThrowawaySshd, tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A target that reaches the sshd, with a root of its own."""
    folder = tmp_path_factory.mktemp("board")
    target = sshd.write_target(folder / "board.toml", "board", str(folder / "root"))
    target.write_text(target.read_text() + "\n[bench]\nmin_s = 0.2\nmax_warmup_s = 2.0\n")
    return Board(sshd, target, folder / "root")


@dataclass(frozen=True)
class Board:
    """The device under test."""

    sshd: ThrowawaySshd
    target: Path
    root: Path
