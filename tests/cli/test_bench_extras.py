"""`edgekit bench` with extra runs: what it prints, what it keeps, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.bench.run import read_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer


def test_sustained_and_profile(edgekit: Callable[..., Answer], digits: Path, tmp_path: Path) -> None:
    answer = edgekit(
        "bench", digits / "tflite-int8", "--on", "local", "--blocks", 1, "--sustained", "3s", "--profile",
        "--out", tmp_path,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    for said in ("xnnpack: 8 of 8 operators in 1 partition", "as shipped, compressed", "operators add up to", "settled",
                 "Convolution"):  # fmt: skip
        assert said in answer.out, said
    (path,) = Path(tmp_path).rglob("*.json")
    run = read_run(path)
    assert run.sustained is not None
    assert run.sustained.complete
    assert run.profile is not None
    assert run.profile.operators
    assert run.summary.n == sum(block.samples.n for block in run.blocks)


def test_what_cannot_be_asked_for(edgekit: Callable[..., Answer], digits: Path, tmp_path: Path) -> None:
    short = edgekit("bench", digits / "tflite-int8", "--on", "local", "--sustained", "1s", "--out", tmp_path)
    assert short.code == 2
    assert "--sustained takes from 3s to 3h" in short.err
    unknown = edgekit("bench", digits / "tflite-int8", "--on", "local", "--delegate", "npu", "--out", tmp_path)
    assert unknown.code == 1
    assert "LiteRT has no delegate 'npu'" in unknown.err
    assert list(tmp_path.iterdir()) == []
