"""`edgekit bench` on many devices: real runs over sshd and on this machine, one target away and one locked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.devices import connect, load_target, select_targets
from edgekit.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.devices.throwaway_sshd import ThrowawaySshd
    from tests.cli.conftest import Answer

pytestmark = pytest.mark.device


@pytest.fixture
def folder(sshd: ThrowawaySshd, tmp_path: Path) -> Path:
    """Targets: this machine by two ways, one that is away, one to be locked, and one without the label."""
    targets = tmp_path / "targets"
    targets.mkdir()
    bench = "[bench]\nmin_s = 0.05\nmax_warmup_s = 1.0\n"
    for name, port, labels in (("board", 0, ["ci"]), ("away", 1, ["ci"]), ("taken", 0, ["ci", "arm"]), ("mine", 0, [])):
        path = sshd.write_target(targets / f"{name}.toml", name, str(tmp_path / name), port=port)
        head, _, rest = path.read_text().partition("\n[ssh]")
        path.write_text(f"{head}\nlabels = {json.dumps(labels)}\n[ssh]{rest}\n{bench}")
    root = json.dumps(str(tmp_path / "here"))
    (targets / "here.toml").write_text(f'transport = "local"\nlabels = ["ci"]\nroot = {root}\n{bench}')
    return targets


@pytest.mark.slow
def test_all_with_a_label_are_measured_and_who_is_away_is_4(
    edgekit: Callable[..., Answer], digits: Path, folder: Path, tmp_path: Path
) -> None:
    artifact, out = digits / "tflite-int8", tmp_path / "runs"
    options = ["--targets", folder, "--blocks", 1, "--json"]
    with connect(load_target("taken", folder)) as device, device.lock("somebody else"):
        many = edgekit("bench", artifact, "--on", "label=ci", "--out", out, *options)
    assert many.code == 4, many.err
    told = many.document
    assert {one["target"]: (one["state"], one["status"]) for one in told["targets"]} == {
        "away": ("away", 4), "board": ("measured", 0), "here": ("measured", 0), "taken": ("away", 4),
    }, many.err  # fmt: skip
    assert len(told["errors"]) == 2
    assert "away: away" in many.err  # told as it comes
    assert sorted(path.parent.name for path in out.rglob("*.json")) == ["board", "here"]

    alone = edgekit("bench", artifact, "--on", "board", "--out", tmp_path / "alone", *options).document
    (of_board,) = [one["run"] for one in told["runs"] if one["run"]["context"]["target"] == "board"]
    (by_itself,) = [one["run"] for one in alone["runs"]]
    assert of_board["context"] == by_itself["context"]
    assert _shape(of_board) == _shape(by_itself)
    assert _shape(json.loads(next((out / "board").iterdir()).read_text())) == _shape(of_board)


def test_several_names_that_are_all_away(edgekit: Callable[..., Answer], folder: Path, digits: Path) -> None:
    answer = edgekit("bench", digits / "tflite-int8", "--on", "away", "--on", "away", "--targets", folder)
    assert answer.code == 4
    assert "away" in answer.out


@pytest.mark.slow
def test_a_wrong_answer_is_3_though_another_device_is_away(
    edgekit: Callable[..., Answer], folder: Path, liar: Path, tmp_path: Path
) -> None:
    answer = edgekit("bench", liar, "--on", "here", "--on", "away", "--targets", folder, "--out", tmp_path / "runs")
    assert answer.code == 3
    assert "wrong answers" in answer.out


def test_one_target_by_its_name_is_as_it_was(edgekit: Callable[..., Answer], folder: Path, digits: Path) -> None:
    answer = edgekit("bench", digits / "tflite-int8", "--on", "away", "--targets", folder, "--json")
    assert (answer.code, answer.document["error"]) == (1, "UnreachableDeviceError")


def test_an_aa_test_takes_one_target(edgekit: Callable[..., Answer], folder: Path, digits: Path) -> None:
    answer = edgekit("bench", digits / "tflite-int8", "--on", "label=ci", "--aa", 3, "--targets", folder)
    assert answer.code == 2


def test_targets_by_label(folder: Path) -> None:
    assert [target.name for target in select_targets(["label=ci"], folder)] == ["away", "board", "here", "taken"]
    assert [target.name for target in select_targets(["mine", "label=arm", "taken"], folder)] == ["mine", "taken"]


def test_a_label_that_nobody_has_names_those_there_are(folder: Path) -> None:
    with pytest.raises(TargetError, match=r"label 'gpu'; the labels there are arm, ci"):
        select_targets(["label=gpu"], folder)


def test_two_targets_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "here.toml").write_text('transport = "local"\n')
    with pytest.raises(TargetError, match="Two of these targets are named 'here'"):
        select_targets(["here", str(tmp_path / "here.toml")], folder)


def _shape(value: object) -> object:
    """Keys and types, without values."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items() if key not in ("values", "missing")}
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return type(value).__name__
