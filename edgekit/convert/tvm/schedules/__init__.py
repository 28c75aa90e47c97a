"""Schedules for CPUs: one module a shape of loops, chosen by what a function's blocks are.

| function | schedule |
|---|---|
| has a block of ours that is a contraction | `contraction` |
| has a block of ours that is a window | `window` |
| its reductions are over the last axis | `rows` |
| has one reduction, over other axes | `columns` |
| has no reduction | `elementwise` |

What fits none of these, or has several results, keeps the loops that TVM gave it, on one thread, and is reported as
"default schedule". A function is TIR, so a schedule is a sequence of rewrites that TVM checks one by one: none can
change what is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.fast_math import vectorizable
from edgekit.convert.tvm.kernels import CONTRACTION, KIND
from edgekit.convert.tvm.schedules.blocks import (
    SPATIAL,
    anchor_of,
    annotation,
    blocks_of,
    is_output,
    kinds,
    reduces,
)
from edgekit.convert.tvm.schedules.columns import schedule_columns
from edgekit.convert.tvm.schedules.contraction import schedule_contraction
from edgekit.convert.tvm.schedules.elementwise import schedule_elementwise
from edgekit.convert.tvm.schedules.rows import schedule_rows
from edgekit.convert.tvm.schedules.window import schedule_window

if TYPE_CHECKING:
    from edgekit.convert.tvm.machine import Machine

DEFAULT = "default schedule"


@dataclass(frozen=True)
class Scheduled:
    """What a function got: the schedule's name, or `DEFAULT` and why."""

    function: str
    schedule: str
    because: str = ""


def schedule(module: Any, machine: Machine) -> tuple[Any, tuple[Scheduled, ...]]:
    """Schedules every TIR function of a module.

    Returns:
        (the module, what each function got)
    """
    import tvm
    from tvm import tirx

    scheduled = []
    functions = dict(module.functions.items())
    for name, function in functions.items():
        if isinstance(function, tirx.PrimFunc):
            functions[name], what = schedule_function(str(name.name_hint), function, machine)
            scheduled.append(what)
    return tvm.IRModule(functions, attrs=module.attrs), tuple(scheduled)


def schedule_function(name: str, function: Any, machine: Machine) -> tuple[Any, Scheduled]:
    """One function, scheduled; or as it was, with the reason."""
    import tvm
    from tvm import s_tir

    plan = s_tir.Schedule(function)
    try:
        chosen = _apply(plan, machine)
    except (s_tir.ScheduleError, tvm.error.InternalError) as error:
        reason = str(error).strip().splitlines()
        return vectorizable(function), Scheduled(name, DEFAULT, reason[-1] if reason else type(error).__name__)
    if chosen == DEFAULT:
        return vectorizable(function), Scheduled(name, DEFAULT, "its loops fit none of our schedules")
    made = plan.mod["main"].with_attr("tirx.is_scheduled", True)
    return vectorizable(made.with_attrs(function.attrs) if function.attrs else made), Scheduled(name, chosen)


def _apply(plan: Any, machine: Machine) -> str:
    if len([block for block in blocks_of(plan) if is_output(plan, block)]) != 1:
        return DEFAULT
    anchor = anchor_of(plan)
    if anchor is not None:
        if annotation(plan, anchor, KIND) == CONTRACTION:
            schedule_contraction(plan, anchor)
            return "contraction"
        schedule_window(plan, anchor, machine)
        return "window"
    sums = [block for block in blocks_of(plan) if reduces(plan, block)]
    if not sums:
        schedule_elementwise(plan, machine)
        return "elementwise"
    if all(_sums_last_axis(plan, block) for block in sums):
        schedule_rows(plan, machine)
        return "rows"
    if len(sums) == 1 and _keeps_last_axis(plan, sums[0]):
        schedule_columns(plan, machine)
        return "columns"
    return DEFAULT


def _read_axes(plan: Any, block: Any) -> list[str]:
    """The axes that index what a reduction reads, by name, in the order of the tensor's axes; empty if computed."""
    from tvm import tirx

    body = plan.get(block)
    region = body.reads[0].region if body.reads else []
    if any(not isinstance(part.min, tirx.Var) for part in region):
        return []
    return [str(part.min.name) for part in region]


def _sums_last_axis(plan: Any, block: Any) -> bool:
    axes, read = plan.get(block).iter_vars, _read_axes(plan, block)
    names = [str(axis.var.name) for axis in axes]
    return (
        len(read) == len(set(read)) > 1
        and kinds(plan, block) == [SPATIAL] * (len(axes) - 1) + [kinds(plan, block)[-1]]
        and kinds(plan, block)[-1] != SPATIAL
        and read == names
    )


def _keeps_last_axis(plan: Any, block: Any) -> bool:
    axes, read = plan.get(block).iter_vars, _read_axes(plan, block)
    spatial = [str(axis.var.name) for axis, kind in zip(axes, kinds(plan, block), strict=True) if kind == SPATIAL]
    return bool(read) and bool(spatial) and read[-1] == spatial[-1]


__all__ = ["DEFAULT", "Scheduled", "schedule", "schedule_function"]
