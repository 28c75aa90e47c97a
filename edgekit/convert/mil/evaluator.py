"""Runs a program, one operator after the other.

The program is turned into a plan once: for every operator its function, its constants, the names of its other inputs,
and the dtypes that its results are rounded to. Constants, compressed ones included, are expanded there. A value is
forgotten after its last use, so that a large network needs the memory of its widest layer and not of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from edgekit.convert.mil.operators import CONTROL_FLOW, table
from edgekit.convert.mil.values import Tensor, narrow, to_numpy, wide
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from edgekit.convert.mil.program import Program

    Scope: TypeAlias = dict[str, Any]
    Observer: TypeAlias = Callable[[str, Tensor], None]

MAX_ITERATIONS = 100_000
"""Of a `while_loop`: a wait without a bound is none of ours."""


@dataclass(frozen=True)
class _Read:
    """An argument that an earlier operator computes."""

    name: str


@dataclass(frozen=True)
class _Result:
    """What the program declares of an operator's output; `shape` is None where it is not fixed."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class _Block:
    """Operators in order; `inputs` and `outputs` are those of a nested block."""

    steps: tuple[_Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[Any, ...]


@dataclass(frozen=True)
class _Step:
    """One operator: `arguments` are values, `_Read`s, or lists of both; `forget` is what nobody reads afterwards."""

    kind: str
    arguments: dict[str, Any]
    outputs: tuple[_Result, ...]
    blocks: tuple[_Block, ...]
    forget: tuple[str, ...]


class Evaluator:
    """A program, ready to run.

    Args:
        program: as `read_program` returned it.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._functions = table()
        function = program.function
        self._inputs = {name: dtype_of(variable) for name, variable in function.inputs.items()}
        self._outputs = [(variable.name, dtype_of(variable)) for variable in function.outputs]
        with torch.inference_mode():
            self._plan = self._planned(function, {}, frozenset(name for name, _ in self._outputs))

    def __call__(self, inputs: Mapping[str, np.ndarray], observe: Observer | None = None) -> dict[str, np.ndarray]:
        """Runs the program on one sample.

        Args:
            inputs: by name, in the shapes of the program's inputs; cast to their dtypes.
            observe: called with the name and the value of every result, as operators see it: float32, int64 or bool.

        Returns:
            By name, in the program's dtypes.

        Raises:
            ConversionError: an input is missing, or an operator failed; names the operator.
        """
        absent = sorted(set(self._inputs) - set(inputs))
        if absent:
            raise ConversionError(
                f"The program's input {', '.join(absent)} was not given.", remedy="Name the arrays like the inputs."
            )
        with torch.inference_mode():
            scope: Scope = {name: narrow(wide(inputs[name]), dtype) for name, dtype in self._inputs.items()}
            self._run(self._plan, scope, observe)
            results = zip(self._outputs, self._plan.outputs, strict=True)
            return {name: to_numpy(_resolve(value, scope), dtype) for (name, dtype), value in results}

    def _run(self, block: _Block, scope: Scope, observe: Observer | None) -> None:
        for step in block.steps:
            for declared, result in zip(step.outputs, self._results(step, scope, observe), strict=True):
                if isinstance(result, list):  # of tensors, from `make_list`: rounded element by element
                    scope[declared.name] = result
                    continue
                scope[declared.name] = _checked(narrow(result, declared.dtype), declared, step.kind)
                if observe is not None:
                    observe(declared.name, scope[declared.name])
            for name in step.forget:
                scope.pop(name, None)

    def _results(self, step: _Step, scope: Scope, observe: Observer | None) -> tuple[Any, ...]:
        arguments = {name: _resolve(value, scope) for name, value in step.arguments.items()}
        if step.kind == "cond":
            return self._branch(step.blocks, arguments["pred"], scope, observe)
        if step.kind == "while_loop":
            return self._loop(step, arguments["loop_vars"], scope, observe)
        return self._apply(step.kind, arguments, step.outputs)

    def _apply(self, kind: str, arguments: dict[str, Any], outputs: tuple[_Result, ...]) -> tuple[Any, ...]:
        try:
            results = self._functions[kind](**arguments)
        except Exception as error:  # whatever torch says is of use only with the operator's name
            raise ConversionError(
                f"The MIL evaluator failed at {kind} {outputs[0].name!r}: {type(error).__name__}: {error}",
                remedy="Report it with the log: this is a bug of the evaluator or of the converter.",
            ) from error
        return results if isinstance(results, tuple) else (results,)

    def _branch(
        self, blocks: tuple[_Block, ...], condition: Tensor, scope: Scope, observe: Observer | None
    ) -> tuple[Any, ...]:
        block = blocks[0 if bool(condition) else 1]
        self._run(block, scope, observe)
        return tuple(_resolve(value, scope) for value in block.outputs)

    def _loop(self, step: _Step, values: list[Any], scope: Scope, observe: Observer | None) -> tuple[Any, ...]:
        condition, body = step.blocks
        for _ in range(MAX_ITERATIONS):
            scope.update(zip(condition.inputs, values, strict=True))
            self._run(condition, scope, observe)
            if not bool(_resolve(condition.outputs[0], scope)):
                return tuple(values)
            scope.update(zip(body.inputs, values, strict=True))
            self._run(body, scope, observe)
            values = [_resolve(value, scope) for value in body.outputs]
        raise ConversionError(
            f"The loop {step.outputs[0].name!r} did not end within {MAX_ITERATIONS} iterations.",
            remedy="Check the model's loop condition.",
        )

    def _planned(self, block: Any, constants: dict[str, Any], keep: frozenset[str]) -> _Block:
        """The plan of a function or a nested block.

        Args:
            block: coremltools' block.
            constants: what the blocks around it define, by name.
            keep: what is read after the block, and so must not be forgotten.
        """
        constants = dict(constants)
        last = _last_uses(block, keep)
        steps = []
        for operation in block.operations:
            outputs = tuple(_declared(variable) for variable in operation.outputs)
            if operation.op_type == "const":
                constants[outputs[0].name] = _constant(operation.outputs[0].val)
                continue
            arguments = {name: _bound(value, constants) for name, value in operation.inputs.items()}
            if operation.op_type.startswith("constexpr_"):
                expanded = zip(outputs, self._apply(operation.op_type, arguments, outputs), strict=True)
                constants.update({result.name: narrow(value, result.dtype) for result, value in expanded})
                continue
            blocks = tuple(self._planned(inner, constants, frozenset()) for inner in operation.blocks)
            steps.append(_Step(operation.op_type, arguments, outputs, blocks, last.get(outputs[0].name, ())))
        inputs = () if hasattr(block.inputs, "items") else tuple(variable.name for variable in block.inputs)
        return _Block(tuple(steps), inputs, tuple(_bound(variable, constants) for variable in block.outputs))


def dtype_of(variable: Any) -> str:
    """MIL's name of a variable's dtype, such as "fp16"; of a list, that of its elements."""
    from coremltools.converters.mil.mil import types

    if types.is_list(variable.sym_type):
        return "list"
    return str(types.builtin_to_string(variable.dtype))


def _declared(variable: Any) -> _Result:
    dtype = dtype_of(variable)
    # A size may be a symbol; of a topk that takes all elements it is -1.
    if dtype == "list" or not all(isinstance(size, (int, np.integer)) and size >= 0 for size in variable.shape):
        return _Result(variable.name, dtype, None)
    return _Result(variable.name, dtype, tuple(int(size) for size in variable.shape))


def _checked(value: Tensor, declared: _Result, kind: str) -> Tensor:
    """The value, if it has the shape that the program declares: Core ML would refuse to compile any other."""
    if declared.shape is not None and tuple(value.shape) != declared.shape and kind not in CONTROL_FLOW:
        raise ConversionError(
            f"The MIL evaluator computed {kind} {declared.name!r} with shape {tuple(value.shape)}, where the program "
            f"declares {declared.shape}.",
            remedy="Report it with the log: this is a bug of the evaluator or of the converter.",
        )
    return value


def _constant(value: Any) -> Any:
    return value if isinstance(value, str) else wide(value)


def _bound(value: Any, constants: dict[str, Any]) -> Any:
    """An argument as the plan holds it."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [_bound(part, constants) for part in value]
    if value.name in constants:
        return constants[value.name]
    # The default of an optional input: no operator of the program computes it.
    return _constant(value.val) if value.op is None and value.val is not None else _Read(value.name)


def _resolve(value: Any, scope: Scope) -> Any:
    if isinstance(value, _Read):
        return scope[value.name]
    return [_resolve(part, scope) for part in value] if isinstance(value, list) else value


def _last_uses(block: Any, keep: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """By the name of an operator's first output, the block's own values that nobody reads after that operator."""
    own = {variable.name for operation in block.operations for variable in operation.outputs}
    kept = keep | {variable.name for variable in block.outputs}
    last: dict[str, str] = {}
    for operation in block.operations:
        last.update(dict.fromkeys(_names_read(operation), operation.outputs[0].name))
    released: dict[str, tuple[str, ...]] = {}
    for name, reader in last.items():
        if name in own and name not in kept:
            released[reader] = (*released.get(reader, ()), name)
    return released


def _names_read(operation: Any) -> set[str]:
    names: set[str] = set()
    for value in operation.inputs.values():
        names.update(v.name for v in (value if isinstance(value, (list, tuple)) else [value]) if v is not None)
    for block in operation.blocks:
        names.update(variable.name for variable in block.outputs)
        for inner in block.operations:
            names |= _names_read(inner)
    return names
