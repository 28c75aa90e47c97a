"""The native runner answers samples as its twin does: the same bytes of every output."""

from __future__ import annotations

import base64
import random
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.bench.measure import payload_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact
    from tests.runner.native.conftest import Answer, Program

pytestmark = pytest.mark.slow

COUNT = 23


@pytest.fixture
def ask(
    libraries: dict[str, list[str]], converted: Callable[[str, str], Artifact], tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """A request for samples of digits_cnn."""

    def make(recipe: str, **more: Any) -> dict[str, Any]:
        artifact = converted("digits_cnn", recipe)
        rng = np.random.default_rng(0)
        np.save(tmp_path / "input-0.npy", rng.random((COUNT, *artifact.manifest.inputs[0].shape)).astype("float32"))
        samples = {"folder": str(tmp_path), "inputs": ["input-0.npy"], "first": 0, "count": COUNT, "batch": 8, **more}
        return {**payload_request(artifact, str(artifact.path)), "do": "answer", "threads": 1, "samples": samples,
                "libraries": libraries}  # fmt: skip

    return make


def stored(answer: Answer) -> tuple[int, list[dict[str, Any]]]:
    """The first sample, and each output with the bytes of all samples; they must be without gaps."""
    assert answer.status == 0, answer
    events = [event for event in answer.events if event["event"] == "answers"]
    found = [{name: value for name, value in output.items() if name not in ("data", "packed")} | {"raw": b""}
             for output in events[0]["outputs"]]  # fmt: skip
    following = events[0]["first"]
    for event in events:
        assert event["first"] == following
        following += event["count"]
        for output, told in zip(found, event["outputs"], strict=True):
            raw = base64.b64decode(told["data"], validate=True)
            output["raw"] += zlib.decompress(raw) if told["packed"] else raw
    return events[0]["first"], found


@pytest.mark.parametrize("recipe", ["tflite:float32", "tflite:int8", "tvm:float32"])
@pytest.mark.parametrize("asked", [{}, {"first": 7, "count": 9, "batch": 1000}, {"first": 22, "count": 1}])
def test_the_same_answers_to_the_bit(
    recipe: str, asked: dict[str, int], native: Program, python: Program, ask: Callable[..., dict[str, Any]]
) -> None:
    request = ask(recipe, **asked)
    ours, theirs = native(request), python(request)
    assert ours.order[:2] == theirs.order[:2] == ["hello", "runtime"]
    assert ours.order[-2:] == theirs.order[-2:] == ["answers", "done"]
    assert stored(ours) == stored(theirs)


@pytest.mark.parametrize("size", range(5))
def test_base64_has_every_length(size: int, native: Program, libraries: dict[str, list[str]], tmp_path: Path) -> None:
    """Outputs of `size` bytes, the padding's cases, through an identity of uint8."""
    import onnx
    from onnx import TensorProto, helper

    size = size + 1
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "same",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [size])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [size])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    values = np.random.default_rng(size).integers(0, 256, (1, size)).astype("uint8")
    np.save(tmp_path / "x.npy", values)
    request = {
        "schema": 2, "do": "answer", "artifact": str(tmp_path), "payload": "m.onnx", "runtime": "onnxruntime",
        "threads": 1, "bindings": {"inputs": ["x"], "outputs": ["y"]}, "libraries": libraries,
        "samples": {"folder": str(tmp_path), "inputs": ["x.npy"], "first": 0, "count": 1, "batch": 1},
    }  # fmt: skip
    _, (output,) = stored(native(request))
    assert output["raw"] == values.tobytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"first": 20, "count": 4}, "no samples 20 to 24"),
        ({"first": -1}, "'first' is out of range"),
        ({"count": 0}, "'count' is out of range"),
        ({"batch": 0}, "'batch' is out of range"),
        ({"inputs": []}, "names no inputs"),
        ({"inputs": ["input-0.npy", "input-0.npy"]}, "for the model's 1 there are 2 sample inputs"),
        ({"inputs": ["none.npy"]}, "none.npy cannot be read"),
        ({"extra": 1}, "does not know the field 'extra' of samples"),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    change: dict[str, Any], says: str, native: Program, ask: Callable[..., dict[str, Any]]
) -> None:
    answer = native(ask("tflite:float32", **change))
    assert answer.status == 1
    assert says in answer.named("error")["message"]


def test_damaged_samples_and_requests_under_the_sanitizers(
    sanitized: Program, ask: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    from tests.runner.native.test_fuzz import damage, is_sound

    request = ask("tflite:float32", count=3)
    assert stored(sanitized(request))
    whole = (tmp_path / "input-0.npy").read_bytes()
    random_ = random.Random(3)
    for seed in range(20):
        (tmp_path / "input-0.npy").write_bytes(damage(whole, seed, 200))
        samples = {**request["samples"], random_.choice(["first", "count", "batch"]): random_.choice([0, 5, 2**31 - 1])}
        answer = sanitized({**request, "samples": samples})
        assert is_sound(answer), answer
