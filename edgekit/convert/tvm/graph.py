"""Rewriting a Relax function binding by binding.

TVM's own mutators are classes with a method for every kind of expression. The models that arrive here are one
dataflow block of calls, so a rewrite can be simpler: a function from a call, whose arguments are rewritten already,
to another expression, or to None where it has nothing to say. What is emitted stays in order; what is no longer used
is removed afterwards by `DeadCodeElimination`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgekit.errors import RefusedError

if TYPE_CHECKING:
    import numpy as np

Rule = Callable[["Rewriter", Any], Any]
"""From (the rewriter, a call with rewritten arguments) to an expression, or None to leave the call as it is."""


class Rewriter:
    """One walk over `main`.

    Attributes:
        builder: the `relax.BlockBuilder` of the new function; a rule emits what it needs through `emit`.
        made: by new variable, the call that it is bound to: lets a rule look at what produced its argument.
        forms: for rules to keep another form of a variable that they emitted, so that it is emitted once.
        returned: variables that the new function returns instead of the old one's result, if a rule puts any here.
    """

    def __init__(self, rule: Rule) -> None:
        from tvm import relax

        self._rule = rule
        self.builder = relax.BlockBuilder()
        self.made: dict[Any, Any] = {}
        self.forms: dict[Any, Any] = {}
        self.returned: list[Any] = []

    def producer(self, x: Any) -> Any:
        """The call that a variable is bound to, None of a parameter or a constant."""
        return self.made.get(x)

    def emit(self, expression: Any) -> Any:
        """Binds an expression to a new variable; constants and variables are returned as they are."""
        from tvm import relax

        if isinstance(expression, (relax.Var, relax.Constant)):
            return expression
        variable = self.builder.emit(expression)
        self.made[variable] = self.builder.lookup_binding(variable)
        return variable

    def run(self, module: Any) -> Any:
        """The module with `main` rewritten, and without what nothing uses any more.

        Raises:
            RefusedError: `main` is more than one dataflow block of plain bindings (it has branches or loops).
        """
        import tvm
        from tvm import relax

        function = module["main"]
        blocks = function.body.blocks
        if len(blocks) != 1 or not isinstance(blocks[0], relax.DataflowBlock):
            raise RefusedError(
                "The model's graph has control flow, which the tvm format does not compile.",
                remedy="Export the model without data-dependent branches, or choose another format.",
            )
        parameters = [relax.Var(old.name, old.ty) for old in function.params]
        known: dict[Any, Any] = dict(zip(function.params, parameters, strict=True))

        def renewed(expression: Any) -> Any:
            if isinstance(expression, relax.Var):
                return known[expression]
            if isinstance(expression, relax.Tuple):
                return relax.Tuple([renewed(field) for field in expression.fields])
            if isinstance(expression, relax.TupleGetItem):
                whole = renewed(expression.tuple_value)
                return (
                    whole[expression.index]
                    if isinstance(whole, relax.Tuple)
                    else relax.TupleGetItem(whole, expression.index)
                )
            if isinstance(expression, relax.Call):
                arguments = [renewed(argument) for argument in expression.args]
                return relax.Call(expression.op, arguments, expression.attrs, expression.ty_args)
            return expression

        with self.builder.function("main", parameters):
            with self.builder.dataflow():
                for binding in blocks[0].bindings:
                    call = renewed(binding.value)
                    if isinstance(call, relax.Call):
                        call = self.builder.normalize(call)
                        replaced = self._rule(self, call)
                        call = call if replaced is None else replaced
                    known[binding.var] = call if isinstance(call, relax.Tuple) else self.emit(call)
                instead = relax.Tuple(self.returned) if self.returned else known[function.body.body]
                result = self.builder.emit_output(instead)
            self.builder.emit_func_output(result)
        made = self.builder.finalize()
        made.update({name: old for name, old in module.functions.items() if name.name_hint != "main"})
        return relax.transform.DeadCodeElimination()(tvm.IRModule(made.functions, attrs=module.attrs))


def op_name(expression: Any) -> str:
    """`nn.conv2d` of a call to that operator; empty for anything else."""
    import tvm
    from tvm import relax

    if isinstance(expression, relax.Call) and isinstance(expression.op, tvm.ir.Op):
        return str(expression.op.name).removeprefix("relax.")
    return ""


def shape_of(expression: Any) -> tuple[int, ...] | None:
    """The static shape of a tensor; None of what is no tensor or has unknown sizes."""
    from tvm import tirx

    shape = getattr(getattr(expression, "ty", None), "shape", None)
    sizes = getattr(shape, "values", None)
    if sizes is None or not all(isinstance(size, (int, tirx.IntImm)) for size in sizes):
        return None
    return tuple(int(size) for size in sizes)


def dtype_of(expression: Any) -> str:
    """The dtype of a tensor, as numpy calls it."""
    return str(expression.ty.dtype)


def constant_value(expression: Any) -> np.ndarray | None:
    """The value of a constant as numpy, None of anything else."""
    from tvm import relax

    return expression.data.numpy() if isinstance(expression, relax.Constant) else None


def constant(value: np.ndarray) -> Any:
    """A Relax constant, of exactly this dtype."""
    import numpy as np
    import tvm
    from tvm import relax

    return relax.Constant(tvm.runtime.tensor(np.ascontiguousarray(value)))
