"""float32 to float16: the stored weights only, or the computation as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.pt2e.graph import add_attribute, tensor_of
from edgekit.errors import RefusedError

if TYPE_CHECKING:
    from edgekit.convert.pt2e.graph import Graph, Node

LARGEST = 65504.0
"""The largest finite half-precision number."""
SENTINEL = 1e30
"""A constant as large as this stands for infinity (a mask), and need not be kept."""


def store_half(graph: Graph) -> int:
    """Stores float32 constants in half precision, and casts each to float32 where it is used.

    Returns:
        How many constants.

    Raises:
        RefusedError: a weight lies beyond the range of half precision.
    """
    import torch

    done = 0
    for node in _constants(graph):
        stored = add_attribute(graph, f"{node.target}.half", _halved(graph, node), node)
        with graph.graph.inserting_before(node):
            real = graph.graph.call_function(torch.ops.aten.to.dtype, (stored, torch.float32))
        node.replace_all_uses_with(real)
        graph.graph.erase_node(node)
        done += 1
    return done


def compute_half(graph: Graph) -> int:
    """Stores float32 constants in half precision, and computes in it; inputs and outputs stay as they are.

    What the graph itself says of float32 (masks, casts, constants made on the way) becomes float16, and literals
    beyond its range, such as the -3.4e38 that masks attention, become its largest finite numbers: as infinities they
    would turn a softmax over a masked row into NaN.

    Raises:
        RefusedError: a weight lies beyond the range of half precision.
    """
    import torch

    done = 0
    for node in _constants(graph):
        stored = add_attribute(graph, f"{node.target}.half", _halved(graph, node), node)
        node.replace_all_uses_with(stored)
        graph.graph.erase_node(node)
        done += 1
    for node in list(graph.graph.nodes):
        if node.op == "call_function":
            node.args = _replaced(node.args)
            node.kwargs = _replaced(node.kwargs)
            if _makes_float32(node):
                with graph.graph.inserting_after(node):
                    cast = graph.graph.call_function(torch.ops.aten.to.dtype, (node, torch.float16))
                node.replace_all_uses_with(cast, delete_user_cb=lambda user, cast=cast: user is not cast)
    body = next(node for node in graph.graph.nodes if node.op not in ("placeholder", "get_attr"))
    for node in list(graph.graph.nodes):
        if node.op == "placeholder" and _is_float32(node):
            with graph.graph.inserting_before(body):
                cast = graph.graph.call_function(torch.ops.aten.to.dtype, (node, torch.float16))
            node.replace_all_uses_with(cast, delete_user_cb=lambda user, cast=cast: user is not cast)
        elif node.op == "output":
            node.args = (tuple(_as_it_was(graph, node, leaf) for leaf in node.args[0]),)
    return done


def _makes_float32(node: Node) -> bool:
    """Whether float32 begins here: constants made without a dtype, integers divided."""
    return _is_float32(node) and not any(_is_float32(value) or value.op == "get_attr" for value in node.all_input_nodes)


def _is_float32(node: Node) -> bool:
    import torch

    return bool(getattr(node.meta.get("val"), "dtype", None) == torch.float32)


def _as_it_was(graph: Graph, output: Node, leaf: Node) -> Node:
    import torch

    if leaf.op != "call_function" or not (_is_float32(leaf) or leaf.meta.get("val") is None):
        return leaf
    with graph.graph.inserting_before(output):
        return graph.graph.call_function(torch.ops.aten.to.dtype, (leaf, torch.float32))


def _constants(graph: Graph) -> list[Node]:
    import torch

    return [
        node
        for node in graph.graph.nodes
        if node.op == "get_attr"
        and isinstance(tensor := tensor_of(graph, node), torch.Tensor)
        and tensor.dtype == torch.float32
    ]


def _halved(graph: Graph, node: Node) -> Any:
    import torch

    tensor = tensor_of(graph, node).detach()
    sentinel = tensor.isfinite() & (tensor.abs() >= SENTINEL)
    half = torch.where(sentinel, tensor.sign() * LARGEST, tensor).to(torch.float16)
    if not torch.equal(half.isfinite(), tensor.isfinite()):
        raise RefusedError(
            f"float16: the weight {node.target} reaches {float(tensor.abs().max()):.3g}, and half precision ends at "
            f"{LARGEST:.0f}.",
            remedy="Take float32, or scale the weight down in the model.",
        )
    return half


def _replaced(value: Any) -> Any:
    import torch

    if isinstance(value, dict):
        return {name: _replaced(held) for name, held in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_replaced(held) for held in value)
    if value is torch.float32:
        return torch.float16
    if isinstance(value, float) and abs(value) > LARGEST and value not in (float("inf"), float("-inf")):
        return LARGEST if value > 0 else -LARGEST
    return value
