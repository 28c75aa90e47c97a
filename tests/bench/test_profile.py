"""Profiles: what the runtimes' own profilers tell, what they add up to, and what is refused with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgekit.bench.extras import Extras
from edgekit.bench.measure import bench, prepare
from edgekit.bench.profile import Profile, profile, read_profile
from edgekit.cli.options import with_runner
from edgekit.devices import connect, load_target
from edgekit.runner.profile import added_up, mean
from tests.bench.doubling import brief

if TYPE_CHECKING:
    from edgekit.artifact import Artifact


def event(**more: Any) -> dict[str, Any]:
    return {
        "event": "profile", "tool": "x", "invokes": 10, "plain_ns": 900, "profiled_ns": 1100, "mean_ns": 1000.0,
        "names": ["a", "b"], "types": ["Conv", "Relu"], "calls": [10, 20], "ns": [600.0, 100.0], **more,
    }  # fmt: skip


def test_shares_and_sums() -> None:
    found = read_profile(event(), None)
    assert found.sum_ns == 800
    assert [operator.share for operator in found.operators] == [0.75, 0.25]
    assert [operator.calls for operator in found.operators] == [1, 2]
    assert found.accounted == 0.8
    assert found.overhead == pytest.approx(200 / 900)
    top, rest = found.top(1)
    assert [operator.name for operator in top] == ["a"]
    assert [operator.name for operator in rest] == ["b"]


@pytest.mark.parametrize("bad", [{"ns": [1.0]}, {"ns": [1.0, -1.0]}, {"invokes": 0}, {"calls": ["x", 1]}])
def test_nonsense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, ZeroDivisionError)):
        read_profile(event(**bad), None)


def test_calls_of_one_operator_are_added_up() -> None:
    events = [(0, "conv", "Conv", 10.0), (1, "relu", "Relu", 1.0), (0, "conv", "Conv", 30.0)]
    assert added_up(events) == [("conv", "Conv", 2, 20.0), ("relu", "Relu", 1, 1.0)]
    assert mean([1.0] * 19 + [1000.0]) == 1.0  # one interruption is not an operator's story


def test_a_runtime_without_one_gives_the_reason(board: Any, twice: Artifact) -> None:
    run = bench(board(), twice, threads=1, blocks=1, extras=Extras(profile=True))
    assert run.profile == Profile((), because="the runtime doubling has no profiler")


def test_the_native_runner_s_operators_or_its_reason(profiled_models: Any) -> None:
    with connect(with_runner(brief(load_target("local")), "native")) as device:
        found = profile(device, prepare(device, profiled_models("tflite-int8"), threads=1))
        refused = profile(device, prepare(device, profiled_models("onnx-float32"), threads=1))
    assert sum("conv" in operator.type.lower() for operator in found.operators) == 2
    assert found.invokes >= 2
    assert refused.operators == ()
    assert refused.because is not None
    assert "--runner python" in refused.because


@pytest.mark.parametrize("recipe", ["tflite-int8", "onnx-float32", "tvm-float32-x86_64-linux-gnu"])
def test_a_real_runtime_s_operators(profiled_models: Any, recipe: str) -> None:
    artifact = profiled_models(recipe)
    with connect(brief(load_target("local"))) as device:
        found = profile(device, prepare(device, artifact, threads=1))
    assert found.because is None
    assert found.invokes >= 2
    assert sum("conv" in operator.type.lower() for operator in found.operators) == 2  # the model has two
    assert sum(operator.share for operator in found.operators) == pytest.approx(1)
    assert found.accounted is not None
    assert 0 < found.accounted < 1.1  # the operators take no longer than the whole does
    assert found.overhead is not None
    assert found.tool
