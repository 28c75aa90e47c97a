"""Reads a ModelProto: nodes, constants, inputs and outputs, in operators that we have.

Functions of the model are inlined. An operator that we lack and that the ONNX standard defines by a graph of others
(such as RotaryEmbedding) is replaced by that graph; the ONNX library does both.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx
from onnx import AttributeProto, inliner, numpy_helper

from edgekit.convert.onnx_to_torch.node import Node, UnsupportedNodeError
from edgekit.convert.onnx_to_torch.operators import OPERATORS
from edgekit.convert.onnx_to_torch.tensors import dtype_name
from edgekit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

OLDEST, NEWEST = 7, 28
STANDARD = ("", "ai.onnx")
CONTROL = ("If",)
"""Operators that the importer itself resolves."""
_EXPANSIONS = 4
"""An expansion may bring in operators that are expanded in turn; more rounds than these do not occur."""


@dataclass(frozen=True)
class Graph:
    """A graph ready to be imported.

    Args:
        nodes: in an order in which each comes after what it reads.
        constants: the initialisers, by name.
        inputs: name, dtype (TensorProto.DataType) and static shape of each.
        outputs: names.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, np.ndarray]
    inputs: tuple[tuple[str, int, tuple[int, ...]], ...]
    outputs: tuple[str, ...]


def read_graph(model: ModelProto) -> Graph:
    """The graph of a model whose weights are inside and whose inputs have static shapes.

    Raises:
        ModelError: an opset out of range, operators that we lack, or a dynamic shape.
    """
    opset = opset_of(model)
    if not OLDEST <= opset <= NEWEST:
        raise ModelError(
            f"The ONNX model is written in opset {opset}; {OLDEST} to {NEWEST} are read.",
            remedy="Convert it with onnx.version_converter.convert_version, or export it anew.",
        )
    model = expand(model)
    missing = missing_operators(model, expanded=True)
    if missing:
        raise ModelError(
            f"The ONNX model (opset {opset}) uses {describe_missing(missing)}, which the import into PyTorch lacks.",
            remedy="Convert it to onnx:float32, which needs no import, or export the model without these operators.",
        )
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    stored = _stored_dtypes(graph, constants)
    return Graph(
        nodes=tuple(read_node(node, opset, stored) for node in graph.node),
        constants=constants,
        inputs=tuple(_input(value) for value in graph.input if value.name not in constants),
        outputs=tuple(value.name for value in graph.output),
    )


def opset_of(model: ModelProto) -> int:
    """Version of the standard operator set that the model is written in."""
    return max((entry.version for entry in model.opset_import if entry.domain in STANDARD), default=1)


def expand(model: ModelProto) -> ModelProto:
    """Inlines the model's functions, and the standard's for operators that we lack."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    for _ in range(_EXPANSIONS):
        opset = opset_of(model)
        ours = sorted(op for _, op in _lacking(model) if _has_body(op, opset))
        if not ours:
            return model
        try:
            expanded = inliner.inline_selected_functions(
                _prepared(model, ours, opset), [("", op) for op in ours], inline_schema_functions=True
            )
        except RuntimeError:  # the inliner cannot tell a type, such as that of an input left out: the operators stay,
            return model  # and are told as missing
        expanded.graph.ClearField("value_info")
        model = expanded
    return model


def _prepared(model: ModelProto, operators: list[str], opset: int) -> ModelProto:
    """A copy in which the ONNX library's inliner makes no mistake.

    It does not know the defaults of attributes that a node leaves out (MeanVarianceNormalization then runs over all
    axes), nor the types of initialisers.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in all_nodes(copy.graph):
        if node.domain in STANDARD and node.op_type in operators:
            given = {attribute.name for attribute in node.attribute}
            schema = onnx.defs.get_schema(node.op_type, opset, "")
            node.attribute.extend(
                attribute.default_value
                for name, attribute in schema.attributes.items()
                if name not in given and attribute.default_value.name
            )
    declared = {value.name for value in (*copy.graph.input, *copy.graph.value_info)}
    for tensor in copy.graph.initializer:
        if tensor.name not in declared:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tuple(tensor.dims))
            copy.graph.value_info.append(value)
    return onnx.shape_inference.infer_shapes(copy)


def _has_body(op: str, opset: int) -> bool:
    if not onnx.defs.has(op, max_inclusive_version=opset, domain=""):
        return False
    schema = onnx.defs.get_schema(op, opset, "")
    return bool(schema.has_function or schema.has_context_dependent_function)


def _lacking(model: ModelProto) -> set[tuple[str, str]]:
    return {
        (node.domain, node.op_type)
        for node in all_nodes(model.graph)
        if node.domain in STANDARD and node.op_type not in OPERATORS and node.op_type not in CONTROL
    }


def missing_operators(model: ModelProto, *, expanded: bool = False) -> dict[str, list[str]]:
    """The operators of a model that we lack, as `domain.Operator`, each with the names of its nodes.

    Args:
        model: with or without its weights.
        expanded: whether `expand` was applied already.
    """
    found: dict[str, list[str]] = {}
    for node in all_nodes((model if expanded else expand(model)).graph):
        if node.domain not in STANDARD:
            found.setdefault(f"{node.domain}.{node.op_type}", []).append(_name(node))
        elif node.op_type not in OPERATORS and node.op_type not in CONTROL:
            found.setdefault(node.op_type, []).append(_name(node))
    return dict(sorted(found.items()))


def describe_missing(missing: dict[str, list[str]]) -> str:
    """For errors: `2 × NonZero (a, b), 1 × com.acme.Magic (c)`."""
    parts = []
    for op, names in missing.items():
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        parts.append(f"{len(names)} × {op} ({shown})")
    return ", ".join(parts)


def operator_counts(model: ModelProto) -> Counter[str]:
    """How often each operator occurs, subgraphs included."""
    return Counter(node.op_type for node in all_nodes(model.graph))


def all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes of a graph and of the graphs in their attributes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.type in _GRAPHS else ():
                yield from all_nodes(inner)


_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


def _stored_dtypes(graph: GraphProto, constants: dict[str, np.ndarray]) -> dict[str, str]:
    """By value, the dtype that ONNX gives it, for those that may be a zero point: torch may hold it in a wider one."""
    dtypes = {name: array.dtype.name for name, array in constants.items()}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].type == AttributeProto.TENSOR:
            dtypes[node.output[0]] = numpy_helper.to_array(node.attribute[0].t).dtype.name
    for value in graph.input:
        with suppress(UnsupportedNodeError):
            dtypes.setdefault(value.name, dtype_name(value.type.tensor_type.elem_type))
    return dtypes


def read_node(node: NodeProto, opset: int, stored: Mapping[str, str] | None = None) -> Node:
    """A NodeProto as the operators' functions take it.

    A QuantizeLinear is given the attribute "stored", the dtype that its zero point has in ONNX.
    """
    attributes = {attribute.name: _attribute(attribute) for attribute in node.attribute}
    if node.op_type == "QuantizeLinear" and len(node.input) > 2 and stored and node.input[2] in stored:
        attributes["stored"] = stored[node.input[2]]
    return Node(
        op=node.op_type,
        name=node.name,
        opset=opset,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
    )


def _attribute(attribute: AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(value)
    if attribute.type == AttributeProto.STRING:
        return value.decode()
    if attribute.type == AttributeProto.STRINGS:
        return [text.decode() for text in value]
    if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return list(value)
    return value


def _name(node: NodeProto) -> str:
    return str(node.name or next((name for name in node.output if name), "unnamed"))


def _input(value: ValueInfoProto) -> tuple[str, int, tuple[int, ...]]:
    if not value.type.HasField("tensor_type"):
        raise ModelError(
            f"Input {value.name!r} of the ONNX model is not a tensor.", remedy="Export it with tensor inputs only."
        )
    tensor = value.type.tensor_type
    sizes = tuple(int(axis.dim_value) for axis in tensor.shape.dim)
    if not tensor.HasField("shape") or any(not axis.HasField("dim_value") for axis in tensor.shape.dim):
        raise ModelError(
            f"Input {value.name!r} of the ONNX model has a dynamic shape.", remedy="Fix it before it is imported."
        )
    return value.name, int(tensor.elem_type), sizes
