"""MatMul, MatMul + Add and Gemm with constant weights become linear layers.

Exporters write a linear layer on three axes as a MatMul and an Add. Quantizers look for `aten.linear` and its weight as
`(out, in)`, and fuse the bias; so the weight is transposed once, now.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch.nn import functional

from edgekit.convert.onnx_to_torch.module import Constant, Literal, Step, Value
from edgekit.convert.onnx_to_torch.node import Operator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from edgekit.convert.onnx_to_torch.node import Node


def _linear(_node: Node, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return functional.linear(x, weight, bias)


LINEAR = Operator(_linear)


def simplify(
    steps: Sequence[Step], known: Mapping[str, Tensor], read_outside: Counter[str]
) -> tuple[list[Step], dict[str, Tensor]]:
    """The steps with linear layers in them.

    Args:
        steps: as imported.
        known: all constants by name.
        read_outside: how often each value is read by something other than a step: the graph's outputs.

    Returns:
        (the steps, the transposed weights by their new names)
    """
    made: dict[str, Tensor] = {}
    uses = read_outside + Counter(a.name for step in steps for a in step.arguments if isinstance(a, Value))
    producers: dict[str, int] = {}
    done: list[Step] = []
    for step in steps:
        step = _as_linear(step, known, made)  # noqa: PLW2901 - the step as it goes on
        fused = _with_bias(step, done, producers, known, made, uses)
        if fused is not None:
            at, step = fused  # noqa: PLW2901 - likewise
            done[at] = step
            producers[step.node.outputs[0]] = at
            continue
        producers.update({name: len(done) for name in step.node.outputs if name})
        done.append(step)
    return done, made


def _transposed(name: str, known: Mapping[str, Tensor], made: dict[str, Tensor]) -> Constant:
    new = f"{name}.transposed"
    if new not in made:
        made[new] = known[name].t().contiguous()
    return Constant(new)


def _constant(argument: Any, rank: int, known: Mapping[str, Tensor]) -> bool:
    return isinstance(argument, Constant) and argument.name in known and known[argument.name].ndim == rank


def _as_linear(step: Step, known: Mapping[str, Tensor], made: dict[str, Tensor]) -> Step:
    node, arguments = step.node, step.arguments
    if node.op not in ("MatMul", "Gemm") or not isinstance(arguments[0], Value):
        return step
    weight = arguments[1]
    if (
        not _constant(weight, 2, known)
        or not isinstance(weight, Constant)
        or not known[weight.name].is_floating_point()
    ):
        return step
    if node.op == "MatMul":
        return replace(step, operator=LINEAR, arguments=(arguments[0], _transposed(weight.name, known, made), _NONE))
    bias = arguments[2] if len(arguments) > 2 else _NONE
    plain = node.get("alpha", 1.0) == 1.0 and node.get("beta", 1.0) == 1.0 and not node.get("transA", 0)
    rows = known[weight.name].shape[0 if node.get("transB", 0) else 1]
    if not plain or not (bias == _NONE or (_constant(bias, 1, known) and known[_name(bias)].shape[0] == rows)):
        return step
    weight = weight if node.get("transB", 0) else _transposed(weight.name, known, made)
    return replace(step, operator=LINEAR, arguments=(arguments[0], weight, bias))


_NONE = Literal(None)


def _name(argument: Any) -> str:
    return str(argument.name)


def _with_bias(
    step: Step, done: list[Step], producers: Mapping[str, int], known: Mapping[str, Tensor], made: Mapping[str, Tensor],
    uses: Counter[str],
) -> tuple[int, Step] | None:  # fmt: skip
    """The linear layer that the constant of an Add belongs to, with it as its bias, and where it stands."""
    if step.node.op != "Add":
        return None
    for value, bias in (step.arguments, step.arguments[::-1]):
        if not isinstance(value, Value) or not _constant(bias, 1, known) or uses[value.name] != 1:
            continue
        at = producers.get(value.name)
        if at is None or done[at].operator is not LINEAR or done[at].arguments[2] != _NONE:
            continue
        x, weight, _ = done[at].arguments
        assert isinstance(weight, Constant)
        rows = (made[weight.name] if weight.name in made else known[weight.name]).shape[0]
        if known[_name(bias)].shape[0] != rows:
            continue
        return at, Step(LINEAR, replace(done[at].node, outputs=step.node.outputs), (x, weight, bias))
    return None
