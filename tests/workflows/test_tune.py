"""Tune: ranking by what arms cost, and a whole one with real artifacts on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.artifact import Accuracy, open_artifact
from edgekit.bench.evaluation.result import OnDevice
from edgekit.bench.stored import stored_runs
from edgekit.devices import connect
from edgekit.errors import ArtifactError, DataError, RuntimeMissingError
from edgekit.recipe import Recipe
from edgekit.workflows.tune import default_recipes
from edgekit.workflows.tuned import Arm, Limits, Tuned, _beats, ranked, read_tuned, write_tuned
from tests.bench.evaluation.devices import tampered

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.devices import Target
    from tests.cli.conftest import Answer


def arm(name: str, latency_ns: float | None, size: int, metric: float | None = 0.97, **more: Any) -> Arm:
    accuracy = None if metric is None else Accuracy("accuracy", "%", True, 0.98, metric, 100)
    state = more.pop("state", "slower" if latency_ns is not None else "failed")
    return Arm(Recipe("tflite", name), 1, state, name, latency_ns, 3, size, 1000, accuracy, **more)


def test_the_winner_is_the_fastest_and_of_equals_the_smallest() -> None:
    ordered = ranked([arm("big", 1000, 9), arm("small", 1005, 3), arm("slow", 1500, 1)], 0.01)
    states = {a.recipe.precision: a.state for a in ordered}
    assert states == {"big": "front", "small": "winner", "slow": "front"}


def test_the_front_holds_what_nothing_beats() -> None:
    arms = [arm("fast", 100, 9, 0.90), arm("exact", 200, 9, 0.99, state="beaten"),
            arm("worse", 300, 9, 0.95, state="beaten"), arm("tiny", 400, 1, 0.80, state="beaten"),
            arm("broken", None, 0)]  # fmt: skip
    states = {a.recipe.precision: a.state for a in ranked(arms, 0.01)}
    assert states == {"fast": "winner", "exact": "front", "worse": "beaten", "tiny": "front", "broken": "failed"}


def test_accuracy_counts_where_both_have_it() -> None:
    assert _beats(arm("a", 1, 1, 0.9), arm("b", 2, 2, None))
    assert not _beats(arm("a", 1, 1, 0.9), arm("b", 2, 2, 0.95))
    assert not _beats(arm("a", 1, 1), arm("b", 1, 1))


def test_accuracy_on_the_device_counts_before_the_manifests() -> None:
    def measured(one: Arm, device: float) -> Arm:
        found = OnDevice("accuracy", "%", True, 0.98, 0.97, 0.97, "computed", device, 0.97 - device, None, 0.01)
        return msgspec.structs.replace(one, on_device=found)

    assert measured(arm("a", 1, 1), 0.90).lost == pytest.approx(0.08)
    assert not _beats(measured(arm("a", 1, 1, 0.97), 0.90), arm("b", 2, 2, 0.96))
    assert _beats(measured(arm("a", 1, 1, 0.97), 0.97), arm("b", 2, 2, 0.96))


def test_nothing_inside_the_limits() -> None:
    ordered = ranked([arm("a", None, 9, state="over a limit")], 0.01)
    assert Tuned("x", "t", "m", "here", Limits(), 0, tuple(ordered)).winner is None


def test_the_file_is_no_run_and_damage_is_told(tmp_path: Path) -> None:
    made = Tuned("ab" * 6, "2026-11-27T14:00:00Z", "m", "here", Limits("1%"), 0, (arm("a", 1.0, 1, state="winner"),))
    path = write_tuned(made, tmp_path)
    assert read_tuned(path) == made
    older = msgspec.json.decode(path.read_bytes())
    older["schema"] = 1
    del older["arms"][0]["on_device"]
    path.write_bytes(msgspec.json.encode(older))
    assert read_tuned(path).arms == made.arms
    with pytest.raises(ArtifactError, match="holds no run"):
        stored_runs(str(tmp_path))
    path.write_bytes(b'{"schema": 1}')
    with pytest.raises(DataError, match="tune"):
        read_tuned(path)


def test_a_device_without_a_runtime(local_target: Target, tmp_path: Path) -> None:
    bare = tmp_path / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.base_prefix}/bin/python3" -S -E "$@"\n')
    bare.chmod(0o755)
    target = msgspec.structs.replace(local_target, python=str(bare), runner="python")
    with connect(target) as device, pytest.raises(RuntimeMissingError, match="edgekit provision here"):
        default_recipes(device)


@pytest.mark.slow
def test_what_is_fast_and_wrong_on_the_device_does_not_win(
    edgekit: Callable[..., Answer], local_target: Target, tmp_path: Path
) -> None:
    """A LiteRT there that is right on the golden inputs of the int8 model and wrong on all others; the float32 model is
    made slow, so that nothing but the evaluation keeps int8 from winning."""
    wrong = "array = array[..., ::-1].copy() if self.applies and self.number >= 8 else array"
    slow = "pass\n        else:\n            time.sleep(0.002)"
    program = tampered(local_target, tmp_path / "wrong", invoke=slow, answer=wrong, applies="< 100000").python
    target = tmp_path / "fast.toml"
    target.write_text(
        f'schema = 1\ntransport = "local"\nroot = "{tmp_path / "root"}"\npython = "{program}"\nrunner = "python"\n'
        "[bench]\nmin_s = 0.05\n"
    )

    def tune(*more: object) -> Answer:
        return edgekit(
            "tune", "digits_cnn", "--on", target, "--to", "tflite:float32", "--to", "tflite:int8", "--rounds", 1,
            "--out", tmp_path / "artifacts", "--results", tmp_path / "runs", "--json", *more,
        )  # fmt: skip

    answer = tune()
    assert answer.code == 0, answer.err
    arms = {arm["recipe"]["precision"]: arm for arm in answer.document["tuned"]["arms"]}
    assert arms["int8"]["state"] == "failed"
    assert "wrong on the device" in arms["int8"]["because"]
    assert arms["int8"]["latency_ns"] < arms["float32"]["latency_ns"]
    assert arms["int8"]["on_device"]["device"] < 0.2 < 0.9 < arms["int8"]["accuracy"]["artifact"]
    assert arms["float32"]["state"] == "winner"
    assert arms["float32"]["on_device"]["device"] == arms["float32"]["accuracy"]["artifact"]
    blind = tune("--evaluate", "none")
    assert blind.document["winner"]["recipe"]["precision"] == "int8"


@pytest.mark.slow
def test_a_whole_tune(edgekit: Callable[..., Answer], tmp_path: Path) -> None:
    target = tmp_path / "here.toml"
    target.write_text(f'schema = 1\ntransport = "local"\nroot = "{tmp_path / "root"}"\n[bench]\nmin_s = 0.05\n')
    answer = edgekit(
        "tune", "digits_cnn", "--on", target, "--to", "tflite:float32", "--to", "tflite:int8", "--to", "tflite:int16x8",
        "--max-drop", "1%", "--rounds", 1, "--out", tmp_path / "artifacts", "--results", tmp_path / "runs", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    told = answer.document
    arms = {a["recipe"]["precision"]: a for a in told["tuned"]["arms"]}
    assert set(arms) == {"float32", "int8", "int16x8"}
    assert arms["int16x8"]["state"] == "beaten"  # reference kernels: many times slower
    link = tmp_path / "artifacts" / "digits_cnn" / "tuned-here"
    assert open_artifact(link).id == told["winner"]["artifact"]
    assert told["winner"]["latency_ns"] <= 1.01 * min(a["latency_ns"] for a in arms.values())
    limited = edgekit(
        "tune", "digits_cnn", "--on", target, "--to", "tflite:float32", "--max-size", "1kB",
        "--out", tmp_path / "artifacts", "--results", tmp_path / "runs",
    )  # fmt: skip
    assert limited.code == 3
    assert "its payload has more than 0.001 MB" in limited.out
    assert "Nothing is inside the limits" in limited.out
