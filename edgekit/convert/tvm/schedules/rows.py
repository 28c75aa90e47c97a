"""Operators over the last axis: softmax, layer normalisation, a sum or a maximum over rows.

    for rows:                                   in parallel
      for each step of the operator:
        over the row, in vectors

A sum over a row is kept as one vector of partial sums (`partial_sums`). Intermediate rows (the exponentials, the
centred values) stay in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.partial_sums import LANES
from edgekit.convert.tvm.schedules.blocks import blocks_of, extent, is_output, reduces
from edgekit.convert.tvm.schedules.elementwise import split_vectors

if TYPE_CHECKING:
    from edgekit.convert.tvm.machine import Machine


def schedule_rows(schedule: Any, machine: Machine) -> None:
    """Schedules a function whose reductions are all over its last axis; every other axis is one of rows."""
    (last,) = (block for block in blocks_of(schedule) if is_output(schedule, block))
    axes = min(len(schedule.get_loops(block)) - reduces(schedule, block) for block in blocks_of(schedule))
    rows = schedule.get_loops(last)[:axes]
    row = schedule.fuse(*rows) if len(rows) > 1 else rows[0]
    for block in reversed(blocks_of(schedule)):
        if not is_output(schedule, block):
            schedule.compute_at(block, row, preserve_unit_loops=True)
    schedule.parallel(row)
    for block in schedule.get_child_blocks(row):
        _, *inner = schedule.get_loops(block)
        if reduces(schedule, block):
            schedule.annotate(inner[-1], LANES, machine.lanes)
            schedule.decompose_reduction(block, inner[-1])
        elif inner and extent(schedule, inner[-1]) > 1:
            schedule.vectorize(split_vectors(schedule, inner[-1], machine.lanes)[1])
