"""An exported program as one flat graph: opened, its batch normalisations folded, its layers named."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.programs import load_program
from edgekit.convert.sources.base import PROGRAM
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TypeAlias

    import numpy as np

    from edgekit.convert.formats.base import Exported

    Graph: TypeAlias = Any
    """A torch.fx.GraphModule: one placeholder an input, a tuple of outputs, operators of ATen in between."""
    Node: TypeAlias = Any
    """A torch.fx.Node."""

LINEAR, CONVOLUTION, EMBEDDING = "linear", "convolution", "embedding"
_KINDS = {
    "aten::linear": (LINEAR, 1),
    "aten::conv1d": (CONVOLUTION, 1),
    "aten::conv2d": (CONVOLUTION, 1),
    "aten::embedding": (EMBEDDING, 0),
}
"""By operator: what kind of layer it is, and which argument is its weight."""


@dataclass(frozen=True)
class Layer:
    """One use of a weight. Two uses of the same weight are two layers of one name, kept or quantized together."""

    name: str
    kind: str
    node: Node
    weight: Node


def open_graph(exported: Exported) -> tuple[Graph, tuple[Any, ...]]:
    """The program as a flat graph, without guards, and one sample of inputs to trace it with.

    Inputs and outputs are in the model's order, whatever containers its `forward` takes and returns.
    """
    import torch

    leaves_of = torch.utils._pytree.tree_leaves  # noqa: SLF001 - the order that torch.export itself uses
    program = load_program(exported.folder / PROGRAM)
    graph = program.module()
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and not node.users:  # the guards on shapes: the chain has checked them
            graph.graph.erase_node(node)
    output = next(node for node in graph.graph.nodes if node.op == "output")
    leaves = leaves_of(output.args[0])
    output.args = (tuple(leaves),)
    graph.graph.set_codegen(torch.fx.graph.CodeGen())
    inputs = sum(node.op == "placeholder" for node in graph.graph.nodes)
    if inputs != len(exported.inputs) or len(leaves) != len(exported.outputs):
        raise ConversionError(
            f"The exported program has {inputs} inputs and {len(leaves)} outputs, the model "
            f"{len(exported.inputs)} and {len(exported.outputs)}.",
            remedy="Name all inputs and outputs in model.py.",
        )
    _spell_out_padding(graph)
    fold_batch_norms(graph)
    given = tuple(leaves_of(program.example_inputs)) if program.example_inputs else ()
    return finish(graph), given or tuple(
        torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in exported.inputs
    )


def finish(graph: Graph) -> Graph:
    """The rewritten graph as a module of its own, with nothing in it that it does not use."""
    import torch

    graph.graph.eliminate_dead_code()
    graph.graph.lint()
    used = {node.target: tensor_of(graph, node) for node in graph.graph.nodes if node.op == "get_attr"}
    finished = torch.fx.GraphModule(used, graph.graph, class_name="Model")
    return finished.eval().requires_grad_(False)


def samples(calibration: Mapping[str, np.ndarray]) -> Iterable[tuple[Any, ...]]:
    """The calibration data, one sample after the other, as tensors."""
    import torch

    for arrays in zip(*calibration.values(), strict=True):
        yield tuple(torch.from_numpy(array.copy()) for array in arrays)


def schema(node: Node) -> str:
    """The operator that a node calls ("aten::linear"), empty if it calls none."""
    found = getattr(node.target, "_schema", None) if node.op == "call_function" else None
    return "" if found is None else str(found.name)


def input_names(graph: Graph) -> tuple[str, ...]:
    """Names of the placeholders."""
    return tuple(str(node.target) for node in graph.graph.nodes if node.op == "placeholder")


def tensor_of(graph: Graph, node: Node) -> Any:
    """The parameter, buffer or constant that a `get_attr` node reads."""
    return operator.attrgetter(node.target)(graph)


def add_attribute(graph: Graph, name: str, value: Any, before: Node) -> Node:
    """Gives the graph a buffer (or a packed weight) of a name like `name`, and reads it right before a node."""
    import torch

    stem = name.replace(".", "_")
    free = next(tried for i in range(len(graph.graph.nodes) + 2) if not hasattr(graph, tried := f"{stem}_{i}"))
    if isinstance(value, torch.Tensor):
        graph.register_buffer(free, value)
    else:
        setattr(graph, free, value)
    with graph.graph.inserting_before(before):
        return graph.graph.create_node("get_attr", free)


def layers_of(graph: Graph) -> list[Layer]:
    """The linear layers, convolutions (1-d, 2-d) and embeddings with a constant weight, in order of execution."""
    found = []
    for node in graph.graph.nodes:
        kind, position = _KINDS.get(schema(node), ("", 0))
        if kind and node.args[position].op == "get_attr":
            weight = node.args[position]
            found.append(Layer(_layer_name(weight.target), kind, node, weight))
    return found


def names_of(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Their names, each once, in order."""
    return tuple(dict.fromkeys(layer.name for layer in layers))


def _layer_name(weight: str) -> str:
    owner, _, last = weight.rpartition(".")
    return owner if owner and last == "weight" else weight


def shape_of(node: Node) -> tuple[int, ...]:
    """The shape of what a node computes; a size that varies is a symbol of torch's."""
    return tuple(node.meta["val"].shape)


def _spell_out_padding(graph: Graph) -> None:
    """Replaces "same" and "valid" of convolutions by numbers, which quantized operators take."""
    import torch

    aten = torch.ops.aten
    plain = {aten.conv1d.padding: aten.conv1d.default, aten.conv2d.padding: aten.conv2d.default}
    for node in graph.graph.nodes:
        if node.target not in plain:
            continue
        given: list[Any] = [*node.args, *_CONVOLUTION_DEFAULTS[len(node.args) - 2 :]]
        value, weight, bias, stride, padding, dilation, groups = given
        kernel = shape_of(weight)[2:]
        spread = dilation * len(kernel) if len(dilation) == 1 else dilation
        total = [0 if padding == "valid" else step * (size - 1) for step, size in zip(spread, kernel, strict=True)]
        if any(size % 2 for size in total):  # one more behind than before, which a convolution cannot say
            both = [side for size in reversed(total) for side in (size // 2, size - size // 2)]
            with graph.graph.inserting_before(node):
                value = graph.graph.call_function(aten.constant_pad_nd.default, (value, both, 0.0))
            value.meta["val"] = torch.nn.functional.pad(node.args[0].meta["val"], both)
            total = [0] * len(total)
        node.target = plain[node.target]
        node.args = (value, weight, bias, stride, [size // 2 for size in total], dilation, groups)


_CONVOLUTION_DEFAULTS = (None, [1], "valid", [1], 1)
"""Bias, stride, padding, dilation, groups."""


def fold_batch_norms(graph: Graph) -> None:
    """Folds every batch normalisation that directly follows a convolution into its weight and bias.

    In evaluation it is affine, channel by channel: `(x - mean) / sqrt(var + eps) * gamma + beta`.
    """
    for node in list(graph.graph.nodes):
        if schema(node) != "aten::batch_norm":
            continue
        convolution = node.args[0]
        ours = schema(convolution) in ("aten::conv1d", "aten::conv2d") and len(convolution.users) == 1
        constants = [argument for argument in node.args[1:5] if argument is not None]
        if not ours or node.args[5]:  # the sixth argument: training
            continue
        weight = convolution.args[1]
        if weight.op == "get_attr" and len(weight.users) == 1 and all(c.op == "get_attr" for c in constants):
            _fold(graph, convolution, node)


def _fold(graph: Graph, convolution: Node, norm: Node) -> None:
    import torch

    weight = tensor_of(graph, convolution.args[1]).detach()
    factor, shift = _affine(graph, norm)
    given = convolution.args[2] if len(convolution.args) > 2 else None
    bias = torch.zeros_like(shift) if given is None else tensor_of(graph, given).detach().double()
    folded = weight.double() * factor.reshape(-1, *[1] * (weight.dim() - 1))
    _replace(graph, convolution.args[1], folded.to(weight.dtype))
    name = f"{convolution.args[1].target}.folded_bias"
    node = add_attribute(graph, name, (bias * factor + shift).to(weight.dtype), convolution)
    rest = convolution.args[3:]
    convolution.args = (convolution.args[0], convolution.args[1], node, *rest)
    norm.replace_all_uses_with(convolution)
    graph.graph.erase_node(norm)


def batch_norms_as_convolutions(graph: Graph) -> None:
    """Writes the remaining batch normalisations of images (those behind an activation) as depthwise 1×1 convolutions.

    XNNPACK computes them so anyway; written out, they can be quantized like any layer.
    """
    import torch

    for node in list(graph.graph.nodes):
        weight = node.args[1] if schema(node) == "aten::batch_norm" else None
        if weight is None or node.args[5] or len(weight.users) != 1 or len(shape_of(node)) != 4:
            continue
        factor, shift = _affine(graph, node)
        dtype = tensor_of(graph, weight).dtype
        _replace(graph, weight, factor.to(dtype).reshape(-1, 1, 1, 1))
        bias = add_attribute(graph, f"{weight.target}.shift", shift.to(dtype), node)
        with graph.graph.inserting_before(node):
            arguments = (node.args[0], weight, bias, [1, 1], [0, 0], [1, 1], len(factor))
            convolution = graph.graph.call_function(torch.ops.aten.conv2d.default, arguments)
        convolution.meta.update(node.meta)
        node.replace_all_uses_with(convolution)
        graph.graph.erase_node(node)


def _affine(graph: Graph, norm: Node) -> tuple[Any, Any]:
    """Factor and shift of each channel of a batch normalisation in evaluation, float64."""
    import torch

    gamma, beta, mean, variance = (
        None if argument is None else tensor_of(graph, argument).detach().double() for argument in norm.args[1:5]
    )
    factor = torch.rsqrt(variance + norm.args[7]) * (1.0 if gamma is None else gamma)
    return factor, (0.0 if beta is None else beta) - mean * factor


def _replace(graph: Graph, node: Node, value: Any) -> None:
    """Puts a tensor where the one was that a `get_attr` node reads: it keeps its name, and with it the layer's."""
    import torch

    owner, _, last = str(node.target).rpartition(".")
    holder = operator.attrgetter(owner)(graph) if owner else graph
    setattr(holder, last, torch.nn.Parameter(value, requires_grad=False))
