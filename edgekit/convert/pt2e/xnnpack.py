"""Quantizes a graph for XNNPACK with PT2E (torchao), and lowers it to an ExecuTorch program.

PT2E puts an observer at every value to quantize, as a quantizer annotates them; calibration runs the observed graph;
conversion leaves float operators between quantize and dequantize, which XNNPACK's partitioner takes as one int8
operator. Weights are int8 per output channel, symmetric; activations int8 per tensor, affine.

What is done differently from XNNPACK's own quantizer as it comes:

- ranges are the smallest and the largest value over all samples, not a histogram's guess of a better cut;
- layers can be kept, and an operator without weights (a residual connection) is quantized only between quantized ones;
- the residual connections of transformers (rank below 4) stay in float: their stream holds a few large values, and one
  scale for all of them leaves the others no resolution;
- a ReLU6 (or another bounded activation) belongs to the layer before it: its range is quantized, and not what it cuts;
- in dynamic quantization, a convolution followed by ReLU is quantized as well: the quantizer leaves those out, and
  with them all but one layer of crepe_tiny.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgekit.convert.pt2e.embeddings import quantize_embeddings
from edgekit.convert.pt2e.graph import (
    CONVOLUTION,
    EMBEDDING,
    Layer,
    batch_norms_as_convolutions,
    finish,
    layers_of,
    samples,
    schema,
    shape_of,
    tensor_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from typing import TypeAlias

    import numpy as np

    from edgekit.convert.pt2e.graph import Graph, Node

    Varying: TypeAlias = tuple[dict[int, Any], ...] | None

SMALLEST_SCALE = 2.0**-20
_MOVES = frozenset(
    f"aten::{name}"
    for name in (
        "view", "reshape", "flatten", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "clone", "dropout",
        "max_pool2d", "relu", "relu_", "hardtanh", "hardtanh_", "relu6", "clamp", "adaptive_avg_pool2d", "pad",
        "constant_pad_nd",
    )
)  # fmt: skip
"""Operators through which a quantized value passes."""
_CONVOLUTION_VISITOR = "aten.convolution.default"
_JOINS = ("aten::add", "aten::add_", "aten::mul", "aten::mul_", "aten::cat")
"""Operators without weights that the quantizer would take anywhere."""


def quantizable(graph: Graph, *, dynamic: bool) -> list[Layer]:
    """The layers that are quantized. XNNPACK has no dynamically quantized depthwise or 1-d convolution.

    Batch normalisations that stand alone become layers of the graph.
    """
    batch_norms_as_convolutions(graph)
    return [layer for layer in layers_of(graph) if not (dynamic and _only_static(graph, layer))]


def _only_static(graph: Graph, layer: Layer) -> bool:
    shape = tensor_of(graph, layer.weight).shape
    return layer.kind == CONVOLUTION and (len(shape) != 4 or shape[1] == 1)


def quantize(
    graph: Graph, example: tuple[Any, ...], keep: Collection[str], calibration: Mapping[str, np.ndarray] | None,
    varying: Varying = None,
) -> tuple[Graph, list[Layer]]:  # fmt: skip
    """The quantized graph, and the layers in it that are. Without calibration data activations are quantized while
    running; an empty list of layers says that there was nothing to quantize, and the graph is as it was. `varying` is
    what `torch.export` is told of axes that vary."""
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    dynamic = calibration is None
    done = [layer for layer in quantizable(graph, dynamic=dynamic) if layer.name not in keep]
    quantize_embeddings(graph, keep)
    # Exported once more, so that the operators which replaced the embeddings have shapes and dtypes as all others.
    graph = torch.export.export(finish(graph), example, dynamic_shapes=varying).module()
    layers = [layer for layer in quantizable(graph, dynamic=dynamic) if layer.kind != EMBEDDING]
    chosen = {layer.node for layer in layers if layer.name not in keep}
    if not chosen:
        return graph, done
    allowed = _allowed(graph, chosen)
    prepared = prepare_pt2e(graph, _quantizer(lambda node: node.op != "call_function" or node.name in allowed, dynamic))
    with torch.no_grad():
        for sample in [example] if calibration is None else samples(calibration):
            prepared(*sample)
    return convert_pt2e(prepared), done


def _allowed(graph: Graph, chosen: Collection[Node]) -> frozenset[str]:
    """Names of the operators that may be quantized: the chosen layers, and what stands between them."""
    int8 = set()
    for node in graph.graph.nodes:
        values = [value for value in node.all_input_nodes if value.op != "get_attr"]
        inside = bool(values) and all(value in int8 for value in values)
        joins = (
            schema(node) in _JOINS and inside and len(node.all_input_nodes) == len(values) and len(shape_of(node)) == 4
        )
        if node in chosen or joins or (schema(node) in _MOVES and inside):
            int8.add(node)
    return frozenset(node.name for node in int8)


def _quantizer(wanted: Callable[[Node], bool], dynamic: bool) -> Any:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY, QuantizationAnnotation

    config = _configuration(dynamic)

    class Quantizer(XNNPACKQuantizer):  # type: ignore[misc]  # executorch is not followed by mypy
        def annotate(self, model: Graph) -> Graph:
            """Annotates first what it does not know, or knows less well, then what it does."""
            for layer in quantizable(model, dynamic=dynamic):
                end = None if dynamic else _upper_bound(layer.node)
                if wanted(layer.node) and (end is not None or (dynamic and layer.kind == CONVOLUTION)):
                    inputs = {layer.node.args[0]: config.input_activation, layer.weight: config.weight}
                    layer.node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(inputs, _annotated=True)
                    if end is not None:
                        end.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(
                            output_qspec=config.output_activation, _annotated=True
                        )
            return super().annotate(model)

    return Quantizer().set_global(config).set_filter_function(wanted)


def _upper_bound(node: Node) -> Node | None:
    """The bounded activation that alone uses a layer's result, if there is one."""
    users = list(node.users)
    return users[0] if len(users) == 1 and schema(users[0]) in ("aten::hardtanh", "aten::hardtanh_") else None


def _configuration(dynamic: bool) -> Any:
    import torch
    from torchao.quantization.pt2e import MinMaxObserver, PerChannelMinMaxObserver, PlaceholderObserver
    from torchao.quantization.pt2e.quantizer import QuantizationConfig, QuantizationSpec

    observer = PlaceholderObserver if dynamic else MinMaxObserver
    activation = QuantizationSpec(
        dtype=torch.int8,
        quant_min=-128,
        quant_max=127,
        qscheme=torch.per_tensor_affine,
        is_dynamic=dynamic,
        observer_or_fake_quant_ctr=observer.with_args(eps=SMALLEST_SCALE),
    )
    weight = QuantizationSpec(
        dtype=torch.int8,
        quant_min=-127,
        quant_max=127,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
        observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=SMALLEST_SCALE),
    )
    return QuantizationConfig(activation, None if dynamic else activation, weight, None)


def program_of(graph: Graph, example: tuple[Any, ...], *, half: bool = False, varying: Varying = None) -> bytes:
    """The ExecuTorch program of a graph, with XNNPACK for all that it takes.

    Args:
        graph: with plain or quantized operators.
        example: one sample of inputs.
        half: whether weights are float16, which convolutions must be told to keep.
        varying: what `torch.export` is told of axes that vary; memory is planned for their largest sizes.
    """
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(graph, example, dynamic_shapes=varying)
    with _half_convolutions() if half else _as_it_is():
        edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    return bytes(edge.to_executorch().buffer)


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _half_convolutions() -> Iterator[None]:
    """Lets XNNPACK's serializer write half-precision weights of convolutions as they are.

    It writes them in float32 (executorch 1.5.1; linear layers are written as they are), so that a float16 crepe_tiny
    had 91 % of the bytes of its float32. XNNPACK itself takes them in half precision, with the same results.
    """
    from executorch.backends.xnnpack.operators import node_visitor

    visitors = node_visitor._node_visitor_dict  # noqa: SLF001 - register_node_visitor can add, and not take back
    before: Any = visitors[_CONVOLUTION_VISITOR]

    class HalfConvolution(before):  # type: ignore[misc]  # executorch is not followed by mypy
        def define_tensor(self, *arguments: Any, force_fp32: bool = False, **named: Any) -> None:  # noqa: ARG002 - what it asks for is what is not done
            super().define_tensor(*arguments, force_fp32=False, **named)

    visitors[_CONVOLUTION_VISITOR] = HalfConvolution
    try:
        yield
    finally:
        visitors[_CONVOLUTION_VISITOR] = before
