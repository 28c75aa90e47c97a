"""`edgekit compare` as a user and as a CI job meet it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.bench.run import write_run
from tests.bench.runs import noisy_run


def edgekit(*arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == status, done.stderr + done.stdout
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("ns", "more", "status", "says"),
    [
        (1.1e6, {}, 3, "regressed"),
        (0.9e6, {}, 0, "improved"),
        (1.0e6, {}, 0, "equivalent"),
        (1.03e6, {"spread": 0.05}, 4, "would settle it"),
        (1.1e6, {"threads": 4}, 4, "they differ in threads (1 against 4)"),
    ],
)
def test_two_files(tmp_path: Path, ns: float, more: dict[str, object], status: int, says: str) -> None:
    a, b = write_run(noisy_run(1), tmp_path), write_run(noisy_run(2, ns=ns, **more), tmp_path)  # type: ignore[arg-type]
    assert says in edgekit("compare", str(a), str(b), status=status)


def test_folders_and_json(tmp_path: Path) -> None:
    for seed, precision in ((1, "int8"), (2, "float32")):
        write_run(noisy_run(seed, precision=precision), tmp_path / "old")
        write_run(noisy_run(seed + 9, precision=precision, ns=1e6 if precision == "int8" else 1.2e6), tmp_path / "new")
    write_run(noisy_run(5, threads=2), tmp_path / "new")
    told = json.loads(edgekit("compare", str(tmp_path / "old"), str(tmp_path / "new"), "--json", status=3))
    assert told["command"] == "compare"
    outcomes = {c["recipe"]["precision"]: c["verdict"]["outcome"] for c in told["comparisons"]}
    assert outcomes == {"int8": "equivalent", "float32": "regressed"}
    assert told["only_candidate"] == ["board digits_cnn tflite:int8 ×2"]
    assert "2 threads" not in edgekit("compare", str(tmp_path / "old"), str(tmp_path / "new"), status=3)


def test_the_tolerance_is_the_user_s(tmp_path: Path) -> None:
    a, b = write_run(noisy_run(1), tmp_path), write_run(noisy_run(2, ns=1.1e6), tmp_path)
    assert "equivalent" in edgekit("compare", str(a), str(b), "--tolerance", "20%")
    assert "equivalent" in edgekit("compare", str(a), str(b), "--tolerance", "0.2")
    assert "not a share" in edgekit("compare", str(a), str(b), "--tolerance", "3", status=2)


def test_nothing_in_common_and_nothing_there(tmp_path: Path) -> None:
    write_run(noisy_run(1), tmp_path / "old")
    write_run(noisy_run(2), tmp_path / "old")
    write_run(noisy_run(3, target="other"), tmp_path / "new")
    assert "has a counterpart" in edgekit("compare", str(tmp_path / "old"), str(tmp_path / "new"), status=1)
    assert "There is no run at" in edgekit("compare", str(tmp_path / "old"), str(tmp_path / "nowhere"), status=1)
