"""Small ONNX models, and both ways to run one: in ONNX Runtime as written, and imported, traced by torch.export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from edgekit.convert.onnx_model.running import session
from edgekit.convert.onnx_to_torch import import_onnx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IR_VERSION = 10


def one_node(
    op: str,
    inputs: Sequence[np.ndarray | None],
    attributes: Mapping[str, Any],
    *,
    constant: Sequence[int] = (),
    outputs: int = 1,
    opset: int = 20,
) -> onnx.ModelProto:
    """A model of one node. Inputs are called `x0`, `x1`, …; those at the positions `constant` are initialisers."""
    names = ["" if array is None else f"x{i}" for i, array in enumerate(inputs)]
    results = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, name="node", **attributes)
    given = [(name, array) for name, array in zip(names, inputs, strict=True) if array is not None]
    fixed = {f"x{i}" for i in constant}
    return model(
        [node],
        {name: array for name, array in given if name not in fixed},
        results,
        {name: array for name, array in given if name in fixed},
        opset,
    )


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    constants: Mapping[str, np.ndarray] | None = None,
    opset: int = 20,
) -> onnx.ModelProto:
    """A model whose inputs have the shapes and dtypes of the arrays."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in inputs.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    domains = [helper.make_opsetid(domain, 1) for domain in {node.domain for node in nodes} - {""}]
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), *domains], ir_version=IR_VERSION)
    inferred = onnx.shape_inference.infer_shapes(made)
    for value in inferred.graph.output:
        value.type.tensor_type.ClearField("shape")
        if not value.type.tensor_type.elem_type:  # not every function is inferred
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return inferred


def in_onnx_runtime(made: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """All outputs."""
    return session(made).run(None, dict(inputs))


def imported(made: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """All outputs of the imported model, as `torch.export` traces it."""
    order = [value.name for value in made.graph.input]
    tensors = tuple(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in order)
    program = torch.export.export(import_onnx(made), tensors)
    with torch.no_grad():
        results = program.module()(*tensors)
    return [result.numpy() for result in (results if isinstance(results, tuple) else (results,))]


def assert_same(made: onnx.ModelProto, inputs: Mapping[str, np.ndarray], tolerance: float = 2e-5) -> None:
    """Both ways give the same shapes, dtypes and (floats: nearly) the same numbers."""
    expected, answered = in_onnx_runtime(made, inputs), imported(made, inputs)
    assert len(expected) == len(answered)
    for wanted, got in zip(expected, answered, strict=True):
        assert got.shape == wanted.shape
        assert got.dtype == wanted.dtype
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(got, wanted)
