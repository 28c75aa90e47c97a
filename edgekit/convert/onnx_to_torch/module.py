"""The imported graph as a module: constants are its parameters and buffers, `forward` calls the operators."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.convert.onnx_to_torch.node import Node, Operator


@dataclass(frozen=True)
class Value:
    """An argument that is computed while running, by the name of the value."""

    name: str


@dataclass(frozen=True)
class Constant:
    """An argument that is a tensor of the module, by the name of the value in the ONNX graph."""

    name: str


@dataclass(frozen=True)
class Literal:
    """An argument that is fixed: a numpy array, or None for an input that is left out."""

    value: Any


Argument = Value | Constant | Literal


@dataclass(frozen=True)
class Step:
    """One call of an operator."""

    operator: Operator
    node: Node
    arguments: tuple[Argument, ...]


class ImportedGraph(nn.Module):  # type: ignore[misc]  # torch is not looked into
    """Executes an ONNX graph.

    Args:
        inputs: names of the inputs; `forward` takes one tensor for each, in this order.
        outputs: what `forward` returns: values, or constants where an output depends on no input.
        steps: in the order of execution.
        constants: by name, the tensors that steps and outputs name, and whether each is a parameter.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        outputs: Sequence[Value | Constant],
        steps: Sequence[Step],
        constants: dict[str, tuple[Tensor, bool]],
    ) -> None:
        super().__init__()
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._steps = tuple(steps)
        self._attributes: dict[str, str] = {}
        for name, (tensor, is_parameter) in constants.items():
            attribute = self._free_attribute(name)
            if is_parameter:
                self.register_parameter(attribute, nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(attribute, tensor)
            self._attributes[name] = attribute
        self._last_use = _last_uses(self._steps, self._outputs)

    def _free_attribute(self, name: str) -> str:
        """A valid attribute name that resembles the constant's and is not taken."""
        plain = re.sub(r"\W", "_", name).strip("_") or "constant"
        plain = f"c_{plain}" if plain[0].isdigit() else plain
        attribute, k = plain, 1
        while hasattr(self, attribute):
            attribute, k = f"{plain}_{k}", k + 1
        return attribute

    def _argument(self, argument: Argument, values: dict[str, Tensor]) -> Any:
        if isinstance(argument, Value):
            return values[argument.name]
        if isinstance(argument, Constant):
            return getattr(self, self._attributes[argument.name])
        return argument.value

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        values = dict(zip(self._inputs, inputs, strict=True))
        for i, step in enumerate(self._steps):
            results = step.operator.run(step.node, *(self._argument(a, values) for a in step.arguments))
            results = results if isinstance(results, tuple) else (results,)
            values.update(zip(step.node.outputs, results, strict=False))  # outputs that nobody names are left out
            for name in self._last_use.get(i, ()):
                values.pop(name, None)
        returned = tuple(self._argument(output, values) for output in self._outputs)
        return returned[0] if len(returned) == 1 else returned


def _last_uses(steps: Sequence[Step], outputs: Sequence[Value | Constant]) -> dict[int, list[str]]:
    """By step, the values that nobody reads after it, so that memory is freed as early as in other runtimes."""
    last: dict[str, int] = {}
    for i, step in enumerate(steps):
        last.update({argument.name: i for argument in step.arguments if isinstance(argument, Value)})
    for output in outputs:
        last.pop(output.name, None)
    freed: dict[int, list[str]] = {}
    for name, i in last.items():
        freed.setdefault(i, []).append(name)
    return freed
