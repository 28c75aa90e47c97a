"""A Keras model on its PyTorch backend as a plain `torch.export` program.

What Keras leaves in the graph would stand in the way of those who read it: conversions of a tensor to the dtype that it
has, requests for a memory layout (ExecuTorch refuses to run them), and weights that are copies of the parameters and
are turned from Keras' order to PyTorch's in every inference. Here they become parameters, in the order that is used,
and products with a bias beside them the layers that quantizers look for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def plain_program(network: Any, call: Callable[[Sequence[Any]], list[Any]], arguments: tuple[Any, ...]) -> Any:
    """Exports `call`, which runs the network on tensors in its order, as an ExportedProgram with static shapes."""
    import torch

    class Module(torch.nn.Module):  # type: ignore[misc]  # torch is not followed
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tensors: Any) -> tuple[Any, ...]:
            return tuple(call(tensors))

    traced = torch.export.export(Module().eval(), arguments).module()
    _remove_idle(traced.graph)
    paths = {variable.value.data_ptr(): variable.path.replace("/", ".") for variable in network.variables}
    return torch.export.export(_with_parameters(traced, paths), arguments)


def _remove_idle(graph: Any) -> None:
    """Removes what computes nothing with static shapes and one device."""
    import torch

    aten = torch.ops.aten
    for node in list(graph.nodes):
        if node.target in (aten._assert_tensor_metadata.default, "_guards_fn"):  # noqa: SLF001 - the operator's name
            graph.erase_node(node)
        elif node.target in (aten.to.dtype_layout, aten.to.dtype, aten.contiguous.default):
            given = node.args[0]
            if given.meta["val"].dtype == node.meta["val"].dtype:
                node.replace_all_uses_with(given)
                graph.erase_node(node)


def _with_parameters(traced: Any, paths: dict[int, str]) -> Any:
    """The module with its weights as parameters, named as in Keras, and what is made of weights alone computed once."""
    import torch

    values: dict[str, Any] = {}
    constants: dict[Any, Any] = {}
    for node in list(traced.graph.nodes):
        if node.op == "get_attr":
            constants[node] = _attribute(traced, node.target).detach()
        elif node.op == "call_function" and node.all_input_nodes and all(i in constants for i in node.all_input_nodes):
            with torch.no_grad():
                arguments = torch.fx.node.map_arg((node.args, node.kwargs), lambda given: constants[given])
                constants[node] = node.target(*arguments[0], **arguments[1])
    named: dict[str, int] = {}
    for node in list(traced.graph.nodes):
        if node not in constants or all(user in constants for user in node.users):
            continue
        origin = node
        while origin.op != "get_attr":
            origin = origin.all_input_nodes[0]
        name = paths.get(constants[origin].data_ptr(), "constant").rpartition(":")[2].replace(".", "_")
        named[name] = named.get(name, 0) + 1
        target = name if named[name] == 1 else f"{name}_{named[name]}"
        value = constants[node].contiguous().clone()
        values[target] = torch.nn.Parameter(value, requires_grad=False) if value.is_floating_point() else value
        with traced.graph.inserting_before(node):
            fetched = traced.graph.get_attr(target)
        fetched.meta = dict(node.meta)
        node.replace_all_uses_with(fetched)
    for node in reversed(list(traced.graph.nodes)):
        if node in constants:
            traced.graph.erase_node(node)
    for node in list(traced.graph.nodes):
        if node.target == torch.ops.aten.add.Tensor and not node.kwargs:
            _join_bias(traced.graph, node, values)
    return torch.fx.GraphModule(values, traced.graph)


def _join_bias(graph: Any, add: Any, values: dict[str, Any]) -> None:
    """Makes a layer of a bias that is added to a matrix product, or to a convolution's output in NHWC."""
    import torch

    aten = torch.ops.aten
    product, bias = add.args
    if getattr(bias, "op", "") != "get_attr" or getattr(product, "op", "") != "call_function":
        return
    turned = product.args[0] if product.target == aten.permute.default else None
    layer = product if turned is None else turned
    if any(len(node.users) != 1 for node in (product, layer)) or len(layer.args) < 2:
        return
    weight = layer.args[1]
    if getattr(weight, "op", "") != "get_attr" or len(weight.users) != 1 or len(bias.users) != 1:
        return
    kernel, flat = values[weight.target], values[bias.target].flatten()
    channels_last = turned is not None and product.args[1] == [0, *range(2, kernel.ndim), 1]
    if channels_last and layer.target == aten.conv2d.default and layer.args[2:3] in ((), (None,)):
        if len(flat) == kernel.shape[0] and values[bias.target].shape[-1] == len(flat):
            _replace(values, bias.target, flat)
            with graph.inserting_before(layer):
                fetched = graph.get_attr(bias.target)
            layer.args = (*layer.args[:2], fetched, *layer.args[3:])
            add.replace_all_uses_with(product)
            graph.erase_node(add)
            graph.erase_node(bias)
    elif turned is None and layer.target == aten.matmul.default and kernel.ndim == 2 and len(flat) == kernel.shape[1]:
        _replace(values, weight.target, kernel.T.contiguous())
        _replace(values, bias.target, flat)
        with graph.inserting_before(add):
            linear = graph.call_function(aten.linear.default, (layer.args[0], weight, bias))
        linear.meta = dict(add.meta)
        add.replace_all_uses_with(linear)
        graph.erase_node(add)
        graph.erase_node(layer)


def _replace(values: dict[str, Any], name: str, value: Any) -> None:
    import torch

    values[name] = torch.nn.Parameter(value.detach(), requires_grad=False)


def _attribute(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module
