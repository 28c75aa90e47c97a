"""Quantizes a graph into PyTorch's own quantized operators, which the lite interpreter has.

PT2E ends in a graph of float operators between quantize and dequantize, for a compiler to fuse; the lite interpreter
has none. So the operators are written here directly. Weights are int8 per output channel, symmetric; activations are
uint8 per tensor, affine. Packed weights are stored unpacked and packed anew when they are loaded, for the engine of
the machine that loads them: one file serves fbgemm (x86) and qnnpack (ARM).

Static (`quantize_static`): a value that a quantized operator makes has a *twin*, the same value as uint8. Operators
that only move values, and activations, go on with the twin; what needs float reads the dequantized twin, which dead
code elimination removes where nobody does.

Dynamic (`quantize_dynamic`): linear layers quantize their input while running. Convolutions keep their weights in int8
and dequantize them in every run, because `quantized::conv2d_dynamic` (torch 2.13) writes its result with the scale of
its *input* and cuts off what lies beyond: 1 to 6 dB on random layers.
"""

from __future__ import annotations

from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING, Any

from edgekit.convert.pt2e.embeddings import quantize_embeddings
from edgekit.convert.pt2e.graph import (
    CONVOLUTION,
    LINEAR,
    Layer,
    add_attribute,
    layers_of,
    schema,
    shape_of,
    tensor_of,
)
from edgekit.convert.pt2e.ranges import SMALLEST_SCALE
from edgekit.errors import ConversionError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from edgekit.convert.pt2e.graph import Graph, Node
    from edgekit.convert.pt2e.ranges import Range

ENGINES = ("fbgemm", "qnnpack")

_MOVES = frozenset(
    f"aten::{name}"
    for name in (
        "view", "reshape", "flatten", "unflatten", "permute", "transpose", "squeeze", "unsqueeze", "contiguous",
        "clone", "select", "slice", "max_pool2d", "relu", "dropout", "alias", "detach", "constant_pad_nd", "pad",
    )
)  # fmt: skip
"""Operators that compute the same on the quantized numbers, because they only move, choose or cut them at zero."""

_CLAMPS = frozenset(f"aten::{name}" for name in ("relu", "relu_", "hardtanh", "hardtanh_", "relu6", "clamp"))
"""Activations that a range expresses: what lies outside is not worth a quantized number."""


@contextmanager
def engine_for_packing() -> Iterator[None]:
    """Selects an engine that this PyTorch has. Which one does not matter to the file, see the module."""
    import torch

    settings = torch.backends.quantized
    usable = [name for name in ENGINES if name in settings.supported_engines]
    if not usable:
        raise ConversionError(
            f"This PyTorch has no engine for quantized operators (it lists {', '.join(settings.supported_engines)}).",
            remedy=f"Install a PyTorch that was built with {' or '.join(ENGINES)}.",
        )
    before = settings.engine
    settings.engine = usable[0]
    try:
        yield
    finally:
        settings.engine = before


def quantize_dynamic(graph: Graph, keep: Collection[str], bits: int) -> list[Layer]:
    """Quantizes weights, and inputs of linear layers while running. Returns the layers that it quantized."""
    import torch

    done = quantize_embeddings(graph, keep)
    for layer in layers_of(graph):
        if layer.name in keep or layer.kind not in (LINEAR, CONVOLUTION):
            continue
        if layer.kind == LINEAR:
            packed = add_attribute(graph, f"{layer.name}.packed", _packed(graph, layer), layer.node)
            target = torch.ops.quantized.linear_dynamic.default
            with graph.graph.inserting_before(layer.node):
                result = graph.graph.call_function(target, (layer.node.args[0], packed, bits < 8))
            result.meta.update(layer.node.meta)
            layer.node.replace_all_uses_with(result)
            graph.graph.erase_node(layer.node)
        else:
            stored = add_attribute(graph, f"{layer.name}.int8", _quantized_weight(graph, layer), layer.node)
            with graph.graph.inserting_before(layer.node):
                real = graph.graph.call_function(torch.ops.aten.dequantize.self, (stored,))
            layer.node.update_arg(1, real)
        done.append(layer)
    return done


def quantize_static(graph: Graph, ranges: Mapping[str, Range], keep: Collection[str], bits: int) -> list[Layer]:
    """Quantizes weights and activations with the ranges that `observe` found. Returns the layers that it quantized."""
    return _Static(graph, ranges, keep, bits).run()


class _Static:
    """One pass over the graph, in order; `twins` holds the quantized form of values, by the float node."""

    def __init__(self, graph: Graph, ranges: Mapping[str, Range], keep: Collection[str], bits: int) -> None:
        self.graph = graph
        self.ranges = ranges
        self.keep = keep
        self.bits = bits
        self.twins: dict[Node, Node] = {}

    def run(self) -> list[Layer]:
        layers = {layer.node: layer for layer in layers_of(self.graph)}
        done = []
        for node in list(self.graph.graph.nodes):
            layer = layers.get(node)
            if layer is not None:
                if layer.name not in self.keep and layer.kind in (LINEAR, CONVOLUTION):
                    self._layer(layer)
                    done.append(layer)
            elif node.op == "call_function" and node not in self.twins:
                self._follow(node)
        return [*quantize_embeddings(self.graph, self.keep), *done]

    def _layer(self, layer: Layer) -> None:
        import torch

        node, quantized = layer.node, torch.ops.quantized
        kind = "linear" if layer.kind == LINEAR else schema(node).removeprefix("aten::")
        end = self._end(node)
        entry = self._quantized(node.args[0], node)
        scale, zero_point = self._parameters(end)
        packed = add_attribute(self.graph, f"{layer.name}.packed", _packed(self.graph, layer), node)
        with self.graph.graph.inserting_before(node):
            twin = self.graph.graph.call_function(
                getattr(quantized, kind).new if kind == "conv2d" else getattr(quantized, kind).default,
                (entry, packed, scale, zero_point),
            )
        self._publish(node, twin)

    def _follow(self, node: Node) -> None:
        """Lets a quantized value go on through an operator that does not need float."""
        import torch

        name = schema(node)
        values = [argument for argument in node.args if hasattr(argument, "op") and argument.op != "get_attr"]
        entries = [self.twins.get(value) for value in values]
        if not entries or any(entry is None for entry in entries):
            return
        if name in _MOVES and not _pads_otherwise(node):
            with self.graph.graph.inserting_before(node):
                twin = self.graph.graph.call_function(node.target, (entries[0], *node.args[1:]), dict(node.kwargs))
        elif name in _CLAMPS and not node.kwargs:
            twin = self._clamped(node, entries[0])
        elif name == "aten::batch_norm" and not node.args[5] and len(shape_of(node)) == 4:
            twin = self._normalised(node, entries[0])
        elif name == "aten::add" and len(entries) == 2 and not node.kwargs and len(shape_of(node)) == 4:
            # A residual connection of convolutions. Those of transformers (rank 3) stay in float: their stream holds
            # a few large values, and one scale for all of them leaves the others no resolution.
            scale, zero_point = self._parameters(self._end(node))
            with self.graph.graph.inserting_before(node):
                twin = self.graph.graph.call_function(torch.ops.quantized.add.default, (*entries, scale, zero_point))
        else:
            return
        self._publish(node, twin)

    def _clamped(self, node: Node, entry: Node) -> Node:
        """An activation with an upper bound, on quantized numbers.

        `aten::hardtanh` and `aten::clamp` mix up the elements of a quantized tensor in channels-last order, which is
        how convolutions leave it, when the engine is qnnpack (torch 2.13). Seen as NHWC it is in plain order, at no
        cost.
        """
        import torch

        plain, aten = self.graph.graph, torch.ops.aten
        with plain.inserting_before(node):
            if len(shape_of(node)) != 4:
                return plain.call_function(node.target, (entry, *node.args[1:]))
            nhwc = plain.call_function(aten.permute.default, (entry, [0, 2, 3, 1]))
            cut = plain.call_function(node.target, (nhwc, *node.args[1:]))
            return plain.call_function(aten.permute.default, (cut, [0, 3, 1, 2]))

    def _normalised(self, node: Node, entry: Node) -> Node:
        """A batch normalisation that could not be folded: one that follows an activation, as a rule."""
        import torch

        weight, bias, mean, variance = node.args[1:5]
        scale, zero_point = self._parameters(self._end(node))
        arguments = (entry, weight, bias, mean, variance, node.args[7], scale, zero_point)
        with self.graph.graph.inserting_before(node):
            return self.graph.graph.call_function(torch.ops.quantized.batch_norm2d.default, arguments)

    def _publish(self, node: Node, twin: Node) -> None:
        import torch

        with self.graph.graph.inserting_before(node):
            real = self.graph.graph.call_function(torch.ops.aten.dequantize.self, (twin,))
        real.meta.update(node.meta)
        node.replace_all_uses_with(real)
        self.twins[real] = twin

    def _quantized(self, value: Node, user: Node) -> Node:
        import torch

        if value not in self.twins:
            scale, zero_point = self._parameters(value)
            with self.graph.graph.inserting_before(user):
                self.twins[value] = self.graph.graph.call_function(
                    torch.ops.aten.quantize_per_tensor.default, (value, scale, zero_point, torch.quint8)
                )
        return self.twins[value]

    def _parameters(self, value: Node) -> tuple[float, int]:
        seen = self.ranges[value.name]
        if not (isfinite(seen.low) and isfinite(seen.high)):
            raise RefusedError(
                f"int8: with the calibration data the value {value.name} reaches from {seen.low} to {seen.high}, which "
                "no scale covers.",
                remedy="Mask with a large number instead of infinity, or keep the layer in floating point.",
            )
        return seen.parameters(self.bits)

    @staticmethod
    def _end(node: Node) -> Node:
        """The activation that alone uses a value, if there is one: its range is the one that matters."""
        users = list(node.users)
        return users[0] if len(users) == 1 and schema(users[0]) in _CLAMPS else node


def _pads_otherwise(node: Node) -> bool:
    """Whether a node pads with anything but constants, which quantized tensors cannot."""
    return schema(node) == "aten::pad" and len(node.args) > 2 and node.args[2] != "constant"


def _quantized_weight(graph: Graph, layer: Layer) -> Any:
    """The weight as qint8, per output channel, symmetric."""
    import torch

    weight = tensor_of(graph, layer.weight).detach()
    scales = (weight.abs().flatten(1).amax(dim=1) / 127).clamp_min(SMALLEST_SCALE).double()
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    return torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)


def _packed(graph: Graph, layer: Layer) -> Any:
    """The weight and bias as a packed parameter of the current engine."""
    import torch

    node, quantized = layer.node, torch.ops.quantized
    weight = _quantized_weight(graph, layer)
    arguments = dict(zip((argument.name for argument in node.target._schema.arguments), node.args, strict=False))  # noqa: SLF001 - torch has no public one
    arguments |= node.kwargs
    given = arguments.get("bias")
    bias = None if given is None else tensor_of(graph, given).detach()
    if layer.kind == LINEAR:
        return quantized.linear_prepack(weight, bias)
    spatial = weight.dim() - 2
    stride, padding, dilation = (
        _each(arguments.get(name, default), spatial)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    prepack = quantized.conv2d_prepack if spatial == 2 else quantized.conv1d_prepack
    return prepack(weight, bias, stride, padding, dilation, arguments.get("groups", 1))


def _each(value: Any, count: int) -> list[int]:
    values = [value] if isinstance(value, int) else [int(size) for size in value]
    return values * count if len(values) == 1 else values
