"""A node as the operators' functions see it, and what the importer must know of an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor

Results: TypeAlias = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Node:
    """One node of a graph.

    Args:
        op, name: the operator, and what the model calls this node (may be empty).
        opset: version of the operator set that the node is written in.
        inputs: names of values, "" for one that is left out.
        outputs: names of values, "" for one that nobody reads.
        attributes: decoded: int, float, str, lists of these, numpy arrays for tensors, GraphProto for subgraphs.
    """

    op: str
    name: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or `default` where the node does not give it."""
        return self.attributes.get(name, default)

    def describe(self) -> str:
        """For errors: the operator with the node's name, or that of its result if it has none."""
        return f"{self.op} {(self.name or self.outputs[0])!r}"

    def wants(self, i: int) -> bool:
        """Whether somebody reads output `i`."""
        return i < len(self.outputs) and self.outputs[i] != ""


@dataclass(frozen=True)
class Operator:
    """One operator in torch.

    Args:
        run: `(node, *inputs)` to a tensor, or a tuple with one tensor per output. Inputs that are left out are None.
        static: positions of the inputs that must be constant; `run` gets them as numpy arrays.
        foldable: positions of the inputs that `run` gets as numpy arrays where they are constant, as tensors otherwise.
        described: positions of the inputs of which only shape and dtype matter: they need not be constant for the
            result to be.
    """

    run: Callable[..., Results]
    static: tuple[int, ...] = ()
    foldable: tuple[int, ...] = ()
    described: tuple[int, ...] = ()


class UnsupportedNodeError(Exception):
    """Raised by an operator's function: this node asks for something that it does not do. The text says what."""
