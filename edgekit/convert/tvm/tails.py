"""Vectors that a length is no multiple of: whole ones without a condition, and one shorter vector at the end.

A schedule splits a loop of 21 into 3 vectors of 8 lanes, and each lane gets the condition that it is inside:

    for j in range(3):
      for lane in vectorized(8):
        if j * 8 + lane < 21: ...

TVM makes scalars of a vector whose lanes differ in a condition, all three of them here. `marked` calls such conditions
likely, so that `LoopPartition` gives the last turn of the loop to a copy of its own, where the condition depends on the
lane alone; `trimmed` makes of it the length of that vector, for which LLVM finds instructions:

    for j in range(2):
      for lane in vectorized(8): ...
    for lane in vectorized(5): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def marked() -> Any:
    """A pass that marks as likely what lanes of a vector differ in."""
    return _over_vectors(_mark)


def trimmed() -> Any:
    """A pass that shortens vectors to the lanes that are inside."""
    return _over_vectors(_trim)


def _over_vectors(change: Callable[[Any], Any]) -> Any:
    """A pass that changes the vectors whose lanes have a condition; `change` returns None to keep one."""
    from tvm import tirx
    from tvm.tirx import stmt_functor

    def visit(loop: Any) -> Any:
        if loop.kind != tirx.ForKind.VECTORIZED or not isinstance(loop.body, tirx.IfThenElse):
            return None
        return None if loop.body.else_case is not None else change(loop)

    def over_vectors(function: Any, *_: Any) -> Any:
        return function.with_body(stmt_functor.ir_transform(function.body, None, visit, ["tirx.For"]))

    return tirx.transform.prim_func_pass(over_vectors, opt_level=0, name="edgekit.over_vectors")


def _mark(loop: Any) -> Any:
    from tvm import tirx

    terms = [tirx.likely(term) if _depends(term, loop.loop_var) else term for term in _terms(loop.body.condition)]
    return _with_body(loop, loop.extent, tirx.IfThenElse(tirx.all(*terms), loop.body.then_case, None))


def _trim(loop: Any) -> Any:
    from tvm import tirx

    left, extent = [], loop.extent
    for term in _terms(loop.body.condition):
        inner = term.args[0] if _is_likely(term) else term
        limited = isinstance(inner, tirx.LT) and inner.a.same_as(loop.loop_var) and isinstance(inner.b, tirx.IntImm)
        if limited and int(loop.min) == 0 and isinstance(extent, tirx.IntImm):
            extent = tirx.IntImm(str(extent.ty), min(int(extent), int(inner.b)))
        else:
            left.append(term)
    if extent is loop.extent or int(extent) < 1:
        return None
    body = loop.body.then_case
    return _with_body(loop, extent, tirx.IfThenElse(tirx.all(*left), body, None) if left else body)


def _with_body(loop: Any, extent: Any, body: Any) -> Any:
    from tvm import tirx

    return tirx.For(loop.loop_var, loop.min, extent, loop.kind, body, loop.thread_binding, loop.annotations)


def _terms(condition: Any) -> list[Any]:
    """What must all hold."""
    from tvm import tirx

    return [*_terms(condition.a), *_terms(condition.b)] if isinstance(condition, tirx.And) else [condition]


def _is_likely(term: Any) -> bool:
    return getattr(getattr(term, "op", None), "name", "") == "tirx.likely"


def _depends(term: Any, variable: Any) -> bool:
    from tvm.tirx import stmt_functor

    found: list[Any] = []
    stmt_functor.post_order_visit(term, lambda node: found.append(node) if node.same_as(variable) else None)
    return bool(found)
