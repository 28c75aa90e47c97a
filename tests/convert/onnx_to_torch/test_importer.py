"""What the importer makes of a graph, and what it refuses."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgekit.convert.onnx_to_torch import import_onnx, missing_operators
from edgekit.errors import ModelError
from tests.convert.onnx_to_torch.helpers import assert_same, imported, model

pytestmark = pytest.mark.slow

X = np.random.default_rng(0).standard_normal((1, 3, 4)).astype(np.float32)


def operators(made: onnx.ModelProto, *inputs: np.ndarray) -> Counter[str]:
    program = torch.export.export(import_onnx(made), tuple(torch.from_numpy(array) for array in inputs))
    return Counter(str(node.target) for node in program.graph.nodes if node.op == "call_function")


def test_arithmetic_on_shapes_becomes_constant() -> None:
    """`x.reshape(x.shape[0], -1)`, as TorchScript's exporter writes it."""
    made = model(
        [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Gather", ["shape", "zero"], ["rows"]),
            helper.make_node("Unsqueeze", ["rows", "axes"], ["rows1"]),
            helper.make_node("Concat", ["rows1", "rest"], ["target"], axis=0),
            helper.make_node("Reshape", ["x", "target"], ["y"]),
        ],
        {"x": X},
        ["y"],
        {"zero": np.int64(0) + np.zeros((), np.int64), "axes": np.array([0]), "rest": np.array([-1])},
    )
    assert_same(made, {"x": X})
    assert operators(made, X) == Counter({"aten.reshape.default": 1})


@pytest.mark.parametrize("bias_first", [False, True])
def test_a_product_with_constant_and_a_sum_become_a_linear_layer(bias_first: bool) -> None:
    weights, bias = np.random.default_rng(1).standard_normal((2, 4, 4)).astype(np.float32)
    terms = ["b", "product"] if bias_first else ["product", "b"]
    made = model(
        [helper.make_node("MatMul", ["x", "w"], ["product"]), helper.make_node("Add", terms, ["y"])],
        {"x": X},
        ["y"],
        {"w": weights, "b": bias[0]},
    )
    assert_same(made, {"x": X})
    assert operators(made, X) == Counter({"aten.linear.default": 1})
    shapes = [tuple(parameter.shape) for parameter in import_onnx(made).parameters()]
    assert shapes == [(4, 4), (4,)]


def test_a_product_that_is_read_twice_keeps_its_sum_apart() -> None:
    made = model(
        [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])],
        {"x": X},
        ["y", "p"],
        {"w": np.eye(4, dtype=np.float32), "b": np.ones(4, np.float32)},
    )
    assert_same(made, {"x": X})


def test_constants_are_parameters_with_readable_names() -> None:
    made = model(
        [helper.make_node("Add", ["x", "encoder/layer.0/bias"], ["s"]), helper.make_node("Mul", ["s", "train"], ["y"])],
        {"x": X},
        ["y"],
        {"encoder/layer.0/bias": X[0, 0], "train": X[0, 1]},
    )
    assert [name for name, _ in import_onnx(made).named_parameters()] == ["encoder_layer_0_bias", "train_1"]


def test_an_output_that_depends_on_no_input() -> None:
    made = model(
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Shape", ["x"], ["size"])], {"x": X}, ["y", "size"]
    )
    y, size = import_onnx(made)(torch.from_numpy(X))
    assert size.tolist() == [1, 3, 4]
    assert torch.equal(y, torch.from_numpy(X).relu())


def test_functions_of_the_model_and_of_the_standard_are_expanded() -> None:
    double = helper.make_function(
        "local", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)]
    )
    made = model([helper.make_node("Double", ["x"], ["d"], domain="local")], {"x": X}, ["d"])
    made.functions.append(double)
    made.graph.node.append(helper.make_node("MeanVarianceNormalization", ["d"], ["y"], axes=[0, 2]))
    made.graph.output[0].name = "y"
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    assert_same(made, {"x": X})


def test_defaults_of_an_expanded_operator_are_the_standards() -> None:
    """The ONNX library's inliner forgets them: the mean would be taken over all axes."""
    image = np.random.default_rng(2).standard_normal((1, 2, 3, 3)).astype(np.float32) * [[[[1]], [[9]]]]
    image = image.astype(np.float32)
    made = model([helper.make_node("MeanVarianceNormalization", ["x"], ["y"])], {"x": image}, ["y"])
    (answered,) = imported(made, {"x": image})
    np.testing.assert_allclose(answered.std(axis=(0, 2, 3)), [1, 1], rtol=1e-5)


@pytest.mark.parametrize("chosen", [True, False])
def test_a_constant_condition_takes_one_branch(chosen: bool) -> None:
    def branch(op: str, name: str) -> onnx.GraphProto:
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [value])

    node = helper.make_node("If", ["flag"], ["y"], then_branch=branch("Relu", "a"), else_branch=branch("Neg", "b"))
    made = model([node], {"x": X}, ["y"], {"flag": np.array(chosen)})
    made.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    assert_same(made, {"x": X})


def test_all_missing_operators_are_told_at_once() -> None:
    made = model(
        [
            helper.make_node("NonZero", ["x"], ["a"], name="first"),
            helper.make_node("Magic", ["a"], ["b"], domain="com.acme", name="second"),
            helper.make_node("NonZero", ["b"], ["y"], name="third"),
        ],
        {"x": X},
        ["y"],
    )
    assert missing_operators(made) == {"NonZero": ["first", "third"], "com.acme.Magic": ["second"]}
    with pytest.raises(ModelError) as caught:
        import_onnx(made)
    assert "opset 20" in caught.value.what
    assert "2 × NonZero (first, third), 1 × com.acme.Magic (second)" in caught.value.what
    assert "onnx:float32" in caught.value.remedy


def test_a_shape_that_depends_on_data_is_refused() -> None:
    made = model([helper.make_node("Reshape", ["x", "s"], ["y"], name="r")], {"x": X, "s": np.array([3, 4])}, ["y"])
    with pytest.raises(ModelError, match=r"Reshape 'r' takes its input 1 \('s'\) from the data"):
        import_onnx(made)


def test_a_condition_that_depends_on_data_is_refused() -> None:
    empty = helper.make_graph([], "g", [], [])
    node = helper.make_node("If", ["flag"], [], then_branch=empty, else_branch=empty, name="choice")
    made = model([node], {"flag": np.array(True)}, [])
    with pytest.raises(ModelError, match="If 'choice' chooses a branch by the data"):
        import_onnx(made)


@pytest.mark.parametrize("opset", [6, 99])
def test_an_opset_out_of_range_is_refused(opset: int) -> None:
    made = helper.make_model(helper.make_graph([], "g", [], []), opset_imports=[helper.make_opsetid("", opset)])
    with pytest.raises(ModelError, match=f"opset {opset}; 7 to 28 are read"):
        import_onnx(made)


def test_a_dynamic_shape_is_refused() -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], {"x": X}, ["y"])
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(ModelError, match="'x' of the ONNX model has a dynamic shape"):
        import_onnx(made)


def test_what_an_operator_does_not_do_is_told_with_the_node() -> None:
    node = helper.make_node("MaxPool", ["x"], ["y", "places"], kernel_shape=[2], name="pool")
    with pytest.raises(ModelError, match="MaxPool 'pool' .* asks for the indices of the largest values"):
        import_onnx(model([node], {"x": X}, ["y", "places"]))


def test_strings_are_refused() -> None:
    made = model([helper.make_node("Identity", ["x"], ["y"])], {"x": X}, ["y"])
    made.graph.initializer.append(numpy_helper.from_array(np.array(["a"], dtype=object), "words"))
    with pytest.raises(ModelError, match="Initialiser 'words' .* holds strings"):
        import_onnx(made)


def test_shapes_that_do_not_fit_are_told_with_the_node() -> None:
    node = helper.make_node("Add", ["x", "c"], ["y"], name="sum")
    made = model([node], {"x": X}, ["y"], {"c": np.ones(3, np.float32)})
    with pytest.raises(ModelError, match=r"Add 'sum' .* on inputs of shape \(1, 3, 4\), \(3,\)"):
        import_onnx(made)
