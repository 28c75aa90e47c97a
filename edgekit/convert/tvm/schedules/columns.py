"""Reductions over other axes than the last, such as the mean over an image's pixels: vectors of channels are summed.

for outer axes:                             in parallel
  for vectors of the last axis:
    a vector of sums = 0
    for the reduction: sums += x
    result = epilogue(sums)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.schedules.blocks import SPATIAL, blocks_of, extent, inline_chain, kinds, reduces
from edgekit.convert.tvm.schedules.elementwise import split_vectors

if TYPE_CHECKING:
    from edgekit.convert.tvm.machine import Machine


def schedule_columns(schedule: Any, machine: Machine) -> None:
    (block,) = (block for block in blocks_of(schedule) if reduces(schedule, block))
    for producer in schedule.get_producers(block):
        schedule.compute_inline(producer)
    epilogue = inline_chain(schedule, block)
    if epilogue is None:
        epilogue = schedule.cache_write(block, 0, "local")
    else:
        schedule.set_scope(block, 0, "local")
    loops = schedule.get_loops(block)
    axes = kinds(schedule, block)
    spatial = [loop for loop, kind in zip(loops, axes, strict=True) if kind == SPATIAL]
    reduction = [loop for loop, kind in zip(loops, axes, strict=True) if kind != SPATIAL]
    group, lane = split_vectors(schedule, spatial[-1], machine.lanes)
    schedule.reorder(*spatial[:-1], group, *reduction, lane)
    schedule.reverse_compute_at(epilogue, group)
    shared = next((loop for loop in [*spatial[:-1], group] if extent(schedule, loop) > 1), None)
    if shared is not None:
        schedule.parallel(shared)
    schedule.vectorize(lane)
    inner = schedule.get_loops(epilogue)[-1]
    schedule.vectorize(split_vectors(schedule, inner, machine.lanes)[1])
    initial = schedule.decompose_reduction(block, reduction[0])
    schedule.vectorize(schedule.get_loops(initial)[-1])
