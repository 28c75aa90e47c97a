"""Operators over the last axis: softmax, layer normalisation, a sum or a maximum over rows.

    for rows:                                   in parallel
      for each step of the operator:
        over the row, in vectors

A sum over a row is kept as one vector of partial sums and added up at its end: floating-point addition may not be
reordered by the compiler. The vector is as long as divides the row. Intermediate rows (the exponentials, the centred
values) stay in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.schedules.blocks import blocks_of, extent, is_output, name_of, reduces
from edgekit.convert.tvm.schedules.elementwise import split_vectors

if TYPE_CHECKING:
    from edgekit.convert.tvm.machine import Machine


def schedule_rows(schedule: Any, machine: Machine) -> None:
    """Schedules a function whose reductions are all over its last axis; every other axis is one of rows."""
    (last,) = (block for block in blocks_of(schedule) if is_output(schedule, block))
    axes = min(len(schedule.get_loops(block)) - reduces(schedule, block) for block in blocks_of(schedule))
    sums = set()
    for block in blocks_of(schedule):
        if reduces(schedule, block):
            sums.add(name_of(schedule, block))
            loop = schedule.get_loops(block)[-1]
            lanes = largest_divisor(extent(schedule, loop), machine.lanes)
            if lanes > 1:
                _, lane = schedule.split(loop, [None, lanes])
                schedule.rfactor(lane, len(schedule.get_loops(block)) - 2)
    rows = schedule.get_loops(last)[:axes]
    row = schedule.fuse(*rows) if len(rows) > 1 else rows[0]
    for block in reversed(blocks_of(schedule)):
        if not is_output(schedule, block):
            schedule.compute_at(block, row, preserve_unit_loops=True)
    schedule.parallel(row)
    for block in schedule.get_child_blocks(row):
        _, *inner = schedule.get_loops(block)
        if name_of(schedule, block) in sums:
            continue
        if reduces(schedule, block):
            lane, step = inner[-2:]
            schedule.reorder(step, lane)
            schedule.vectorize(lane)
            initial = schedule.decompose_reduction(block, step)
            schedule.vectorize(schedule.get_loops(initial)[-1])
        elif inner and extent(schedule, inner[-1]) > 1:
            schedule.vectorize(split_vectors(schedule, inner[-1], machine.lanes)[1])


def largest_divisor(number: int, most: int) -> int:
    return max(size for size in range(1, most + 1) if number % size == 0)
