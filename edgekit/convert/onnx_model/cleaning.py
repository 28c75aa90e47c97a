"""Equal models make equal bytes, and tell nothing of the machine that they were exported on.

Exporters write stack traces with paths, doc strings, names of tools and unnamed nodes. All that goes; every node gets
a name, because the accuracy budget and reports name layers by it; what no output depends on is dropped; shapes are
inferred.
"""

from __future__ import annotations

from typing import Any

from edgekit.convert.onnx_model.reading import graph_nodes, subgraphs
from edgekit.errors import ConversionError

PRODUCER = "edgekit"


def clean(model: Any) -> Any:
    """A cleaned copy with the shapes and dtypes of all values."""
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    for field in ("doc_string", "metadata_props", "producer_version", "domain", "model_version"):
        result.ClearField(field)
    result.producer_name = PRODUCER
    _clean_graph(result.graph)
    result.graph.name = "model"
    for function in result.functions:
        function.ClearField("doc_string")
        function.ClearField("metadata_props")
        _clean_nodes(function.node)
    _sort(result.graph)
    _drop_unused(result.graph)
    _drop_unused_domains(result)
    constants = {tensor.name for tensor in result.graph.initializer}
    inputs = [value for value in result.graph.input if value.name not in constants]
    del result.graph.input[:]
    result.graph.input.extend(inputs)
    _name_nodes(result.graph)
    return infer(result)


def infer(model: Any) -> Any:
    """The model with the shapes and dtypes that follow from its inputs; what was declared before is forgotten."""
    import onnx

    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _clean_graph(graph: Any) -> None:
    for field in ("doc_string", "metadata_props"):
        graph.ClearField(field)
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.ClearField("doc_string")
        value.ClearField("metadata_props")
    _clean_nodes(graph.node)


def _clean_nodes(nodes: Any) -> None:
    for node in nodes:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
        for inner in subgraphs(node):
            _clean_graph(inner)


def reads(node: Any) -> set[str]:
    """Names of all values that a node reads, in the graphs within it as well."""
    names = {name for name in node.input if name}
    for inner in subgraphs(node):
        names |= {value.name for value in inner.output}
        for child in inner.node:
            names |= reads(child)
    return names


def _sort(graph: Any) -> None:
    """Puts every node after those that it reads, and otherwise leaves their order. Some tools append nodes at the end.

    Raises:
        ConversionError: nodes wait for each other.
    """
    made_here = {name for node in graph.node for name in node.output}
    there: set[str] = {""}
    waiting, ordered = list(graph.node), []
    while waiting:
        left = []
        for node in waiting:
            if all(name in there or name not in made_here for name in reads(node)):
                ordered.append(node)
                there.update(node.output)
            else:
                left.append(node)
        if len(left) == len(waiting):
            raise ConversionError(
                f"The graph goes in a circle at node {left[0].name!r}.", remedy="Export the model anew."
            )
        waiting = left
    del graph.node[:]
    graph.node.extend(ordered)


def _drop_unused(graph: Any) -> None:
    """Drops nodes and initialisers that no output depends on."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed |= reads(node)
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    nodes = kept[::-1]
    if len(nodes) != len(graph.node):
        del graph.node[:]
        graph.node.extend(nodes)
    if len(constants) != len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(constants)


def _drop_unused_domains(model: Any) -> None:
    used = {node.domain if node.domain != "ai.onnx" else "" for node in graph_nodes(model)} | {""}
    kept = [entry for entry in model.opset_import if (entry.domain if entry.domain != "ai.onnx" else "") in used]
    del model.opset_import[:]
    model.opset_import.extend(sorted(kept, key=lambda entry: entry.domain))


def _name_nodes(graph: Any) -> None:
    """Gives every node a name of its own: `Conv_3` is the fourth node, if it had none or a name twice."""
    taken: set[str] = set()
    for i, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{i}"
            while node.name in taken:
                node.name += "_"
        taken.add(node.name)


def name_after_weights(model: Any) -> None:
    """Calls nodes as the modules were called whose weights they use: `features.0`, not `node_conv2d_1`. In place."""
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        for name in node.input:
            if name in constants and name.endswith(_WEIGHT):
                node.name = name.removesuffix(_WEIGHT)
                break


_WEIGHT = ".weight"


def save(model: Any, path: Any) -> None:
    """Writes the model, its weights inside, in an order of bytes that depends on its content alone."""
    path.write_bytes(model.SerializeToString(deterministic=True))
