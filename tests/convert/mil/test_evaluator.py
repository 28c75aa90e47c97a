"""The evaluator as a whole: precision, control flow, memory, and what it says when it cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coremltools
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from edgekit.convert.mil import Evaluator, missing_operators, read_program
from edgekit.convert.mil.operators import table
from edgekit.errors import ConversionError, RefusedError
from tests.convert.mil.programs import evaluate, floats, program, same

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow


def packaged(build: Callable[..., Any], array: np.ndarray, path: Path) -> Path:
    """Written to an `.mlpackage` as coremltools writes it."""
    from coremltools.converters.mil.mil import Program

    made = Program()
    made.add_function("main", program(build, array).function)
    model = coremltools.convert(
        made, convert_to="mlprogram", minimum_deployment_target=coremltools.target.iOS16, skip_model_load=True,
        compute_precision=coremltools.precision.FLOAT32, pass_pipeline=coremltools.PassPipeline.EMPTY,
    )  # fmt: skip
    model.save(str(path))
    return path


def test_every_operator_has_a_test() -> None:
    written = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    tested = set(re.findall(r"mb\.(\w+)", written))
    assert sorted(table().keys() - tested) == []


def test_float16_is_rounded_after_each_operator() -> None:
    x = np.array([2048.0], np.float16)
    (found,) = evaluate(lambda x: mb.sub(x=mb.add(x=x, y=np.float16(1)), y=x), x)
    np.testing.assert_array_equal(found, np.array([0], np.float16))  # 2049 is not a float16
    (found,) = evaluate(lambda x: mb.sub(x=mb.add(x=x, y=np.float32(1)), y=x), x.astype(np.float32))
    np.testing.assert_array_equal(found, [1])


def test_float16_overflows() -> None:
    (found,) = evaluate(lambda x: mb.mul(x=x, y=x), np.array([300.0], np.float16))
    assert np.isinf(found[0])


@pytest.mark.parametrize("flag", [True, False])
def test_cond(flag: bool) -> None:
    x = floats(3)
    (found,) = evaluate(
        lambda p, x: mb.cond(
            pred=mb.squeeze(x=p),
            _true_fn=lambda: mb.add(x=x, y=np.float32(1)),
            _false_fn=lambda: mb.mul(x=x, y=np.float32(2)),
        ),
        np.array([flag]), x,
    )  # fmt: skip
    same(x + 1 if flag else x * 2, found)


def doubled(x: Any, times: int) -> Any:
    return mb.while_loop(
        _cond=lambda i, y: mb.less(x=i, y=np.int32(times)),
        _body=lambda i, y: (mb.add(x=i, y=np.int32(1)), mb.add(x=y, y=y)),
        loop_vars=(np.int32(0), x),
    )[1]


@pytest.mark.parametrize("times", [0, 1, 5])
def test_while_loop(times: int) -> None:
    x = floats(3)
    (found,) = evaluate(lambda x: doubled(x, times), x)
    same(x * 2**times, found)


def test_a_loop_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.convert.mil.evaluator.MAX_ITERATIONS", 10)
    with pytest.raises(ConversionError, match="did not end within 10 iterations"):
        evaluate(lambda x: doubled(x, 11), floats(3))


def test_lists() -> None:
    x = floats(4, 3)

    def build(x: Any) -> Any:
        ls = mb.make_list(init_length=4, elem_shape=(np.int32(3),), dtype="fp32", dynamic_length=False)
        for i in range(3):
            row = mb.squeeze(x=mb.slice_by_size(x=x, begin=[i, 0], size=[1, 3]), axes=[0])
            ls = mb.list_write(ls=ls, index=i, value=row)
        ls = mb.list_scatter(ls=ls, indices=[3, 0], value=mb.slice_by_size(x=x, begin=[2, 0], size=[2, 3]))
        return (
            mb.list_gather(ls=ls, indices=[3, 1, 0]), mb.list_read(ls=ls, index=2), mb.list_length(ls=ls),
        )  # fmt: skip

    gathered, read, length = evaluate(build, x)
    same(x[[2, 1, 3]], gathered)
    same(x[2], read)
    same(4, length)


def test_what_is_observed() -> None:
    x = floats(3)
    made = program(lambda x: mb.add(x=mb.relu(x=x, name="r"), y=np.float32(1), name="a"), x)
    seen: dict[str, Any] = {}
    Evaluator(made)({"x0": x}, lambda name, value: seen.update({name: value.numpy().copy()}))
    same(np.maximum(x, 0), seen["r"])
    same(np.maximum(x, 0) + 1, seen["a"])


def test_values_are_forgotten_after_their_last_use() -> None:
    x = floats(3)
    made = program(lambda x: mb.exp(x=mb.relu(x=mb.tanh(x=x, name="t"), name="r")), x)
    steps = Evaluator(made)._plan.steps
    assert [step.forget for step in steps] == [(), ("t",), ("r",)]


def test_a_missing_input() -> None:
    made = program(lambda x, y: mb.add(x=x, y=y), floats(3), floats(3))
    with pytest.raises(ConversionError, match="input x1 was not given"):
        Evaluator(made)({"x0": floats(3)})


def test_a_failing_operator_is_named() -> None:
    made = program(lambda x: mb.reshape(x=x, shape=[6], name="flat"), floats(2, 3))
    with pytest.raises(ConversionError, match="failed at reshape 'flat': RuntimeError"):
        Evaluator(made)({"x0": floats(2, 4)})


def test_a_result_of_another_shape_than_declared() -> None:
    made = program(lambda x: mb.relu(x=x, name="r"), floats(2, 3))
    with pytest.raises(ConversionError, match=r"relu 'r' with shape \(2, 4\), .* declares \(2, 3\)"):
        Evaluator(made)({"x0": floats(2, 4)})


def test_a_package(tmp_path: Path) -> None:
    x, weight = floats(2, 5), floats(40, 5, seed=1)
    path = packaged(lambda x: mb.relu(x=mb.linear(x=x, weight=weight)), x, tmp_path / "a.mlpackage")
    read = read_program(path)
    assert dict(read.operators) == {"linear": 1, "relu": 1}
    assert read.specification == 7
    (given,), (result,) = read.inputs, read.outputs
    assert (given.shape, given.dtype) == ((2, 5), "float32")
    same(np.maximum(x @ weight.T, 0), Evaluator(read)({given.name: x})[result.name])


def test_all_missing_operators_are_told_at_once(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        noise = [mb.random_normal(shape=[2, 3], seed=i) for i in range(2)]
        boxes, scores = floats(1, 5, 4), floats(1, 5, 2, seed=1)
        kept = mb.non_maximum_suppression(
            boxes=boxes, scores=scores, iou_threshold=0.5, score_threshold=0.1, max_boxes=2
        )
        return mb.add(x=mb.add(x=x, y=noise[0]), y=noise[1]), kept[0]

    path = packaged(build, floats(2, 3), tmp_path / "a.mlpackage")
    with pytest.raises(RefusedError, match=r"lacks the operators non_maximum_suppression \(1\), random_normal \(2\)"):
        read_program(path)
    assert missing_operators(coremltools.models.utils.load_spec(str(path)))["random_normal"] == 2


def test_a_model_that_is_no_program(tmp_path: Path) -> None:
    from coremltools.models import MLModel, datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    builder = NeuralNetworkBuilder([("x", datatypes.Array(3))], [("y", datatypes.Array(3))])
    builder.add_activation("relu", "RELU", "x", "y")
    MLModel(builder.spec, skip_model_load=True).save(str(tmp_path / "old.mlmodel"))
    with pytest.raises(ConversionError, match="type neuralNetwork, not an ML Program"):
        read_program(tmp_path / "old.mlmodel")
