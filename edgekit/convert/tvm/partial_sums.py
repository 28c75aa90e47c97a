"""Sums over a row as one vector of partial sums, whatever the row's length.

The compiler may not reorder the additions of floating-point numbers, so a plain loop stays scalar. Schedules annotate
the loop with the number of lanes (`LANES`), and a pass of the lowering rewrites it; a maximum is a sum in this sense:

    for k in range(21): total += x[k]

    for lane in vectorized(8): partial[lane] = x[lane]
    for k in range(1, 2):
      for lane in vectorized(8): partial[lane] += x[k * 8 + lane]
    for lane in vectorized(5): partial[lane] += x[16 + lane]
    for lane in range(8): total += partial[lane]

TVM's own primitive for it, `rfactor`, takes lengths that the lanes divide: of others it drops the condition and reads
beyond the row (0.26).
"""

from __future__ import annotations

from typing import Any

LANES = "edgekit.partial_sums"
"""A loop's annotation: how many partial sums."""


def partial_sums() -> Any:
    """The pass. A loop that is not of the form above stays as it is."""
    from tvm import tirx
    from tvm.tirx import stmt_functor

    def visit(loop: Any) -> Any:
        return _rewritten(loop, int(loop.annotations[LANES])) if LANES in loop.annotations else None

    def rewrite(function: Any, *_: Any) -> Any:
        return function.with_body(stmt_functor.ir_transform(function.body, None, visit, ["tirx.For"]))

    return tirx.transform.prim_func_pass(rewrite, opt_level=0, name="edgekit.partial_sums")


def _rewritten(loop: Any, most: int) -> Any:
    from tvm import tirx

    store, length = loop.body, int(loop.extent)
    lanes = min(most, length)
    term = _term(store) if isinstance(store, tirx.BufferStore) else None
    if term is None or lanes < 2:  # a vector of one
        return tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, store)
    partial = tirx.decl_buffer((lanes,), store.buffer.dtype, "partial", scope="local")
    kind = type(store.value)
    index = str(loop.loop_var.ty)

    def vector(first: Any, width: int, *, starts: bool = False) -> Any:
        lane = tirx.Var("lane", index)
        added = _at(term, loop.loop_var, first + lane)
        value = added if starts else kind(partial[lane], added)
        return tirx.For(lane, 0, width, tirx.ForKind.VECTORIZED, tirx.BufferStore(partial, value, [lane]))

    whole, rest = divmod(length, lanes)
    step, last = tirx.Var("step", index), tirx.Var("lane", index)
    parts = [tirx.AllocBuffer(partial), vector(tirx.const(0, index), lanes, starts=True)]
    if whole > 1:
        parts.append(tirx.For(step, 1, whole - 1, tirx.ForKind.SERIAL, vector(step * lanes, lanes)))
    if rest:
        parts.append(vector(tirx.const(whole * lanes, index), rest))
    total = kind(tirx.BufferLoad(store.buffer, list(store.indices)), partial[last])
    summed = tirx.BufferStore(store.buffer, total, list(store.indices))
    return tirx.SeqStmt([*parts, tirx.For(last, 0, lanes, tirx.ForKind.SERIAL, summed)])


def _term(store: Any) -> Any:
    """What the statement adds to the value that it stores; None if it does something else."""
    import tvm_ffi
    from tvm import tirx

    value = store.value
    if not isinstance(value, (tirx.Add, tirx.Max, tirx.Min)):
        return None
    before = tirx.BufferLoad(store.buffer, list(store.indices))
    sides = [(value.a, value.b), (value.b, value.a)]
    return next((other for side, other in sides if tvm_ffi.structural_equal(side, before, map_free_vars=False)), None)


def _at(term: Any, variable: Any, place: Any) -> Any:
    from tvm.tirx import stmt_functor

    return stmt_functor.substitute(term, {variable: place})
