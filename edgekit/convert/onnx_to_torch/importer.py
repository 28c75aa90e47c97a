"""From a graph to the steps of a module: computes what is constant, infers the shapes of what is not."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from edgekit.convert.onnx_to_torch.graph import read_graph, read_node
from edgekit.convert.onnx_to_torch.module import Argument, Constant, ImportedGraph, Literal, Step, Value
from edgekit.convert.onnx_to_torch.node import Node, Operator, UnsupportedNodeError
from edgekit.convert.onnx_to_torch.operators import OPERATORS
from edgekit.convert.onnx_to_torch.simplify import simplify
from edgekit.convert.onnx_to_torch.tensors import to_array, to_tensor, torch_dtype
from edgekit.errors import ModelError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgekit.convert.onnx_to_torch.graph import Graph

_REMEDY = "Convert it to onnx:float32, which needs no import, or export the model in another way."


def import_onnx(model: onnx.ModelProto) -> ImportedGraph:
    """The model as a module in eval mode, whose `forward` takes the graph's inputs in their order.

    Args:
        model: with its weights inside and with static input shapes. It is not changed.

    Raises:
        ModelError: an operator is missing (all of them are told), a shape depends on data, or a node asks for
            something that its operator does not do here.
    """
    graph = read_graph(model)
    with torch.no_grad():
        importer = _Importer(graph)
        importer.run(graph.nodes)
        module = importer.module(graph)
    module.eval()
    return module


class _Importer:
    """Knows of every value either what it is (`_known`) or what it looks like (`_fake`)."""

    def __init__(self, graph: Graph) -> None:
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._known: dict[str, Tensor] = {}
        self._fake: dict[str, Tensor] = {}
        self._weights = frozenset(graph.constants)
        self._alias: dict[str, str] = {}
        self._steps: list[Step] = []
        for name, array in graph.constants.items():
            self._known[name] = _reading(f"Initialiser {name!r}", lambda array=array: to_tensor(array))
        for name, elem_type, shape in graph.inputs:
            dtype = _reading(f"Input {name!r}", lambda elem_type=elem_type: torch_dtype(elem_type))
            with self._mode:
                self._fake[name] = torch.empty(shape, dtype=dtype)

    def run(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.op == "If":
                self._if(node)
            else:
                self._node(node)

    def _node(self, node: Node) -> None:
        operator = OPERATORS[node.op]
        names = [self._alias.get(name, name) for name in node.inputs]
        if all(not name or name in self._known or i in operator.described for i, name in enumerate(names)):
            arguments = [self._real(operator, i, name) for i, name in enumerate(names)]
            self._keep(node, self._call(operator, node, arguments), self._known)
        else:
            step = Step(operator, node, tuple(self._argument(node, operator, i, name) for i, name in enumerate(names)))
            arguments = [a.value if isinstance(a, Literal) else self._any(a.name) for a in step.arguments]
            with self._mode:
                results = self._call(operator, node, arguments)
            self._keep(node, results, self._fake)
            self._steps.append(step)

    def _any(self, name: str) -> Tensor | None:
        return self._known.get(name, self._fake.get(name)) if name else None

    def _real(self, operator: Operator, i: int, name: str) -> Any:
        value = self._any(name)
        if value is None or name not in self._known:  # left out, or only to be described
            return value
        return to_array(value) if i in operator.static or i in operator.foldable else value

    def _argument(self, node: Node, operator: Operator, i: int, name: str) -> Argument:
        if not name:
            return Literal(None)
        if name in self._known:
            fixed = i in operator.static or i in operator.foldable
            return Literal(to_array(self._known[name])) if fixed else Constant(name)
        if i in operator.static:
            raise ModelError(
                f"{node.describe()} takes its input {i} ({name!r}) from the data, where the import into PyTorch needs "
                "a constant: the shapes of the model depend on its input values.",
                remedy=_REMEDY,
            )
        return Value(name)

    def _call(self, operator: Operator, node: Node, arguments: list[Any]) -> tuple[Tensor, ...]:
        try:
            results = operator.run(node, *arguments)
        except UnsupportedNodeError as error:
            raise ModelError(
                f"{node.describe()} (opset {node.opset}) asks for {error}, which the import into PyTorch lacks.",
                remedy=_REMEDY,
            ) from error
        except Exception as error:  # torch raises what it likes; the user gets the node and the first line
            shapes = ", ".join("-" if a is None else str(tuple(a.shape)) for a in arguments)
            raise ModelError(
                f"{node.describe()} (opset {node.opset}) cannot be computed in PyTorch on inputs of shape {shapes}: "
                f"{type(error).__name__}: {first_line(error)}.",
                remedy=_REMEDY,
            ) from error
        return results if isinstance(results, tuple) else (results,)

    def _keep(self, node: Node, results: tuple[Tensor, ...], into: dict[str, Tensor]) -> None:
        if len(results) < sum(1 for name in node.outputs if name):
            raise ModelError(
                f"{node.describe()} has {len(node.outputs)} outputs, of which the import into PyTorch computes "
                f"{len(results)}.",
                remedy=_REMEDY,
            )
        into.update({name: result for name, result in zip(node.outputs, results, strict=False) if name})

    def _if(self, node: Node) -> None:
        """Takes the one branch of an If whose condition is constant, as is common in what TorchScript exports."""
        condition = self._alias.get(node.inputs[0], node.inputs[0])
        if condition not in self._known:
            raise ModelError(
                f"{node.describe()} chooses a branch by the data, which the import into PyTorch lacks.", remedy=_REMEDY
            )
        branch = node.get("then_branch" if bool(self._known[condition].reshape(-1)[0]) else "else_branch")
        for tensor in branch.initializer:
            self._known[tensor.name] = to_tensor(numpy_helper.to_array(tensor))
        self.run(read_node(inner, node.opset) for inner in branch.node)
        for name, value in zip(node.outputs, branch.output, strict=True):
            self._alias[name] = self._alias.get(value.name, value.name)

    def module(self, graph: Graph) -> ImportedGraph:
        """The module, with those constants that its steps use."""
        wanted = [self._alias.get(name, name) for name in graph.outputs]
        outputs = [Constant(name) if name in self._known else Value(name) for name in wanted]
        steps, made = simplify(self._steps, self._known, Counter(o.name for o in outputs))
        used = [a.name for step in steps for a in step.arguments if isinstance(a, Constant)]
        used += [output.name for output in outputs if isinstance(output, Constant)]
        constants = {}
        for name in dict.fromkeys(used):
            tensor = made.get(name, self._known.get(name))
            assert tensor is not None
            constants[name] = (tensor, tensor.is_floating_point() and (name in self._weights or name in made))
        return ImportedGraph([name for name, _, _ in graph.inputs], outputs, steps, constants)


def _reading(what: str, read: Any) -> Any:
    try:
        return read()
    except UnsupportedNodeError as error:
        raise ModelError(f"{what} of the ONNX model holds {error}.", remedy=_REMEDY) from error
