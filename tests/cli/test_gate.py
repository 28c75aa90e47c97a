"""`edgekit gate` over a real sshd, and over one that goes away."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.devices.throwaway_sshd import ThrowawaySshd
    from tests.cli.conftest import Answer, Board

pytestmark = [pytest.mark.slow, pytest.mark.device]
QUICK = "\n[bench]\nmin_s = 0.05\nmax_warmup_s = 1.0\n"


def test_an_artifact_against_itself(edgekit: Callable[..., Answer], digits: Path, board: Board, tmp_path: Path) -> None:
    junit, markdown = tmp_path / "gate.xml", tmp_path / "gate.md"
    answer = edgekit(
        "gate", digits / "tflite-int8", "--against", digits / "tflite-int8", "--on", board.target, "--pairs", 4,
        "--max-pairs", 6, "--out", tmp_path / "runs", "--junit", junit, "--markdown", markdown, "--json",
    )  # fmt: skip
    told = answer.document
    verdict = told["comparison"]["verdict"]
    assert verdict["outcome"] in ("equivalent", "inconclusive")  # a busy machine may leave it open, and must say so
    possible = verdict["interval"] is None or verdict["interval"]["high"] >= 1.03  # that it regressed
    assert answer.code == (4 if verdict["outcome"] == "inconclusive" and possible else 0)
    assert verdict["blocks"] == 4 + told["added_pairs"]
    assert told["comparison"]["design"] == "interleaved"
    assert len(list((tmp_path / "runs" / "board").glob("*.json"))) == 2
    assert ET.parse(junit).getroot().find("testsuite/testcase") is not None
    assert markdown.read_text().startswith("### ")


def test_a_slower_artifact_is_a_regression(
    edgekit: Callable[..., Answer], digits: Path, board: Board, tmp_path: Path
) -> None:
    """The same model in float32 takes longer by a sixth; on a machine as busy as this one that may stay open."""
    answer = edgekit(
        "gate", digits / "tflite-float32", "--against", digits / "tflite-int8", "--on", board.target, "--pairs", 6,
        "--out", tmp_path / "runs", "--json",
    )  # fmt: skip
    told = answer.document["comparison"]
    assert told["candidate_ns"] > told["baseline_ns"]
    assert told["verdict"]["outcome"] in ("regressed", "inconclusive")
    assert answer.code == {"regressed": 3, "inconclusive": 4}[told["verdict"]["outcome"]]


def test_a_device_that_is_away_is_inconclusive(
    edgekit: Callable[..., Answer], digits: Path, sshd: ThrowawaySshd, tmp_path: Path
) -> None:
    target = sshd.write_target(tmp_path / "away.toml", "away", str(tmp_path / "root"), port=1)
    junit = tmp_path / "gate.xml"
    answer = edgekit("gate", digits / "tflite-int8", "--against", digits / "tflite-int8", "--on", target,
                     "--junit", junit, "--json")  # fmt: skip
    assert answer.code == 4
    told = answer.document
    assert told["outcome"] == "inconclusive"
    assert "away" in told["because"]
    case = ET.parse(junit).getroot().find("testsuite/testcase")
    assert case is not None
    assert case[0].tag == "skipped"


def test_a_link_that_is_cut_half_way_is_inconclusive(
    edgekit: Callable[..., Answer], digits: Path, sshd: ThrowawaySshd, proxy: object, tmp_path: Path
) -> None:
    target = sshd.write_target(tmp_path / "far.toml", "far", str(tmp_path / "root"), port=proxy.port)  # type: ignore[attr-defined]
    target.write_text(target.read_text() + QUICK)

    def cut_when_measuring() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and not list((tmp_path / "root" / "store").glob("*/manifest.json")):
            time.sleep(0.05)
        time.sleep(1)
        proxy.cut()  # type: ignore[attr-defined]

    cutter = threading.Thread(target=cut_when_measuring)
    cutter.start()
    answer = edgekit("gate", digits / "tflite-int8", "--against", digits / "tflite-float32", "--on", target,
                     "--pairs", 30, "--out", tmp_path / "runs")  # fmt: skip
    cutter.join()
    assert answer.code == 4, answer.err
    assert "was lost while" in answer.err
    assert "inconclusive" in answer.err
    assert not (tmp_path / "runs").exists()


def test_wrong_usage(edgekit: Callable[..., Answer], digits: Path) -> None:
    assert edgekit("gate", digits / "tflite-int8", "--on", "local").code == 2
    nowhere = edgekit("gate", digits / "nowhere", "--against", digits / "tflite-int8", "--on", "local", "--json")
    assert nowhere.code == 1
    assert json.loads(nowhere.out)["error"]


def test_a_target_against_itself(edgekit: Callable[..., Answer], digits: Path, board: Board, tmp_path: Path) -> None:
    answer = edgekit("bench", digits / "tflite-int8", "--on", board.target, "--aa", 1, "--blocks", 3,
                     "--out", tmp_path, "--json")  # fmt: skip
    assert answer.code == 0, answer.err
    (made,) = answer.document["aa_tests"]
    assert made["false_alarms"]["n"] == 1
    assert len(made["gates"][0]["log_ratios"]) >= 3
    assert len(list((tmp_path / "board").glob("*.aa.json"))) == 1
    later = edgekit("gate", digits / "tflite-int8", "--against", digits / "tflite-int8", "--on", board.target,
                    "--pairs", 3, "--max-pairs", 3, "--out", tmp_path, "--markdown", tmp_path / "gate.md",
                    "--json")  # fmt: skip
    assert later.document["aa_test"]["id"] == made["id"]
    assert "this gate against itself" in (tmp_path / "gate.md").read_text()
