"""Delegation: what was asked for against what took the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.bench.comparable import differences
from edgekit.bench.delegation import Backend, Delegation, read_delegation
from edgekit.bench.measure import measure, prepare
from edgekit.devices import connect, load_target
from edgekit.errors import RunnerError
from edgekit.runner.executorch_program import delegation
from edgekit.runner.runtimes.litert import taken_by_delegates
from tests.bench.doubling import brief
from tests.bench.runs import make_run

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.bench.run import Run


def node(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}


def test_a_partition_is_what_lies_between_its_tensors() -> None:
    nodes = [
        node(0, "CONV", [0, 10], [1]), node(1, "RELU", [1], [2]), node(2, "CUSTOM", [2], [3]),
        node(3, "CONV", [3, 11], [4]), node(4, "ADD", [4, 2], [5]),
        node(5, "DELEGATE", [0, 10], [2]), node(6, "DELEGATE", [3, 11, 2], [5]),
    ]  # fmt: skip
    assert taken_by_delegates(nodes) == ({0, 1, 3, 4}, 2)
    assert taken_by_delegates(nodes[:5]) == (set(), 0)


def test_it_is_told_in_words() -> None:
    some = Delegation(None, (Backend("xnnpack", 29, 2),), 31, {"RESHAPE": 2})
    assert some.told == "xnnpack: 29 of 31 operators in 2 partitions; left: RESHAPE ×2"
    assert not some.ignored
    nothing = Delegation("NnapiExecutionProvider", (), 31, {"Conv": 31})
    assert nothing.ignored
    assert nothing.told == "NnapiExecutionProvider took none of 31 operators"
    plain = Delegation("none", (), 31, {"CONV": 31})
    assert not plain.ignored
    assert "own kernels execute all 31" in plain.told
    assert read_delegation(None).told == "not known: this runner does not tell"
    with pytest.raises(msgspec.ValidationError):
        read_delegation({"event": "delegation", "asked": 3})


def delegated(run: Run, *backends: Backend) -> Run:
    found = Delegation(None, backends, 31, {})
    blocks = tuple(msgspec.structs.replace(block, delegation=found) for block in run.blocks)
    return msgspec.structs.replace(run, blocks=blocks)


def test_runs_with_other_delegates_are_not_comparable() -> None:
    a, b = make_run(100, 101, 102), make_run(100, 101, 102, delegate="none")
    assert [difference.field for difference in differences(a, b)] == ["delegate"]
    took, lost = delegated(a, Backend("xnnpack", 31, 1)), delegated(a)
    assert [difference.field for difference in differences(took, lost)] == ["delegates"]
    assert differences(took, took) == []
    assert differences(took, a) == []  # what an old run does not tell is no difference


@pytest.mark.parametrize(
    ("recipe", "delegate", "taken"),
    [
        ("tflite-int8", None, 8),
        ("tflite-int8", "xnnpack", 8),
        ("tflite-int8", "none", 0),
        ("onnx-float32", "CPUExecutionProvider", 0),
    ],
)
def test_real_runtimes_tell(profiled_models: Any, recipe: str, delegate: str | None, taken: int) -> None:
    target = brief(load_target("local"))
    target = msgspec.structs.replace(target, bench=msgspec.structs.replace(target.bench, delegate=delegate))
    with connect(target) as device:
        found = measure(device, prepare(device, profiled_models(recipe), threads=1)).block.delegation
    assert found is not None
    assert found.asked == delegate
    assert found.delegated == taken
    assert found.operators == taken + sum((found.left or {}).values())


@pytest.mark.parametrize(
    ("recipe", "delegate", "says"),
    [
        ("tflite-int8", "nnapi", "LiteRT has no delegate 'nnapi'"),
        ("tflite-int8", "/nowhere/lib.so", "lib.so"),
        ("onnx-float32", "CUDAExecutionProvider", "this ONNX Runtime has no CUDAExecutionProvider"),
        ("tvm-float32-x86_64-linux-gnu", "xnnpack", "the runtime tvm takes no choice of delegate"),
    ],
)
def test_a_delegate_that_is_not_there_is_an_error(profiled_models: Any, recipe: str, delegate: str, says: str) -> None:
    target = load_target("local")
    target = msgspec.structs.replace(target, bench=msgspec.structs.replace(target.bench, delegate=delegate))
    with connect(target) as device, pytest.raises(RunnerError, match=says):
        measure(device, prepare(device, profiled_models(recipe), threads=1))


def test_an_executorch_program_is_read(tmp_path: Path) -> None:
    damaged = tmp_path / "model.pte"
    for content in (b"", b"\x00" * 8, b"\xff" * 64, bytes(range(64))):
        damaged.write_bytes(content)
        found = delegation(str(damaged))
        assert found["operators"] is None
        assert "cannot be read" in found["because"]
