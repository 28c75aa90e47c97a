"""What an upload asks first: of however many files, in whatever shell."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgekit.devices.assembling import Assembling
from edgekit.devices.opening import Opening
from edgekit.devices.plan import WantedFile, make_plan, sums
from edgekit.devices.scripts.opening import OPEN

MOST_BYTES = 128 << 10
"""Linux's bound for one argument."""


def wanted(contents: list[bytes]) -> list[WantedFile]:
    names = [f"new/{number}" for number in range(len(contents))]
    return [
        WantedFile(name, Path(name), len(content), hashlib.sha256(content).hexdigest())
        for name, content in zip(names, contents, strict=True)
    ]


def test_no_argument_grows_with_the_number_of_files() -> None:
    files = wanted([b"x"] * 3000)
    asked: list[tuple[str, ...]] = []

    def script(*words: str, **_: object) -> bytes:
        asked.append(words)
        return b"absent\n= free 1\n" if words[0] == OPEN else b""

    device: Any = SimpleNamespace(name="x", root="/r", script=script)
    Opening(device, files, folder="store/a", below="new/", model="", step="s", timeout_s=1).result()
    plan = make_plan(files, [], "tmp/0/pack")
    Assembling(
        device, "0", "store/a", plan, inside="new", used=(), overlaps=False, step="s", timeout_s=1
    ).finish()  # fmt: skip
    assert len(asked) == 2
    assert max(len(word) for words in asked for word in words) < MOST_BYTES


@pytest.mark.parametrize("shell", [["sh"], ["dash"], ["bash"], ["mksh"], ["busybox", "sh"]])
def test_what_is_there_is_told_before_the_lock(tmp_path: Path, shell: list[str]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]} here")
    (tmp_path / "store/a").mkdir(parents=True)
    contents = [b"one", b"", b"three"]
    files = wanted(contents)
    for file, content in zip(files, contents, strict=True):
        (tmp_path / "store/a" / file.path.removeprefix("new/")).write_bytes(content)

    def ask(expected: list[WantedFile]) -> bytes:
        lock = ["token", "900", "{}", ""]
        words = [str(tmp_path), "store/a", sums(expected), "0" * 16, "new/", "", *lock, "0", "1", "2"]
        return subprocess.run([*shell, "-c", OPEN, "edgekit", *words], capture_output=True, check=True).stdout

    told = ask(files)
    assert [line[:64].decode() for line in told.splitlines()] == [file.sha256 for file in files]
    assert not (tmp_path / "lock").exists()
    assert b"\n= lock\nok\n" in ask(files[::-1])
