"""A graph as TorchScript whose sizes stay open. A trace would not do: it writes down the sizes of its example.

The graph's own code is compiled by `torch.jit.script`. For that, operators are called by their names alone (TorchScript
resolves "aten::add" by its arguments' types, where the graph names one overload), and what only PyTorch's compiler is
told goes: assertions on dtypes, and where and how on the CPU a tensor is to be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import RefusedError, first_line

if TYPE_CHECKING:
    from edgekit.convert.pt2e.graph import Graph

_ASSERTIONS = ("aten::_assert_tensor_metadata", "aten::_assert_scalar", "aten::sym_constrain_range_for_size")
_PLACES = ("device", "layout", "pin_memory")


def scripted(graph: Graph) -> Any:
    """The finished graph as a ScriptModule. The graph is changed.

    Raises:
        RefusedError: TorchScript cannot compile it.
    """
    import torch

    from edgekit.convert.pt2e.graph import finish, schema

    for node in list(graph.graph.nodes):
        if schema(node) in _ASSERTIONS:
            graph.graph.erase_node(node)
            continue
        if node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001 - the type has no public name
            plain = node.target.overloadpacket
            node.target = torch.ops.aten.size if schema(node) == "aten::sym_size" else plain
            node.kwargs = {name: value for name, value in node.kwargs.items() if name not in _PLACES}
    try:
        return torch.jit.script(finish(graph))
    except Exception as error:  # the compiler raises what it likes here; the user gets its first line
        raise RefusedError(
            f"TorchScript cannot keep the sizes of this model open: {first_line(error)}.",
            remedy="Fix them with --shape, or take executorch, its successor.",
        ) from error
