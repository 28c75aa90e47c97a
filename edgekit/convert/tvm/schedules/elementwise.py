"""Operators that compute each element by itself: arithmetic, look-ups, transpositions, padding.

All blocks become one. Its last axis is vectorised; where that axis is shorter than half a vector (an image's three
colours), the next one that is long enough is, and the short ones are unrolled around it. An axis with a border, of a
padding, stays a plain loop: its lanes would differ in what they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.schedules.blocks import blocks_of, extent, is_output

if TYPE_CHECKING:
    from edgekit.convert.tvm.machine import Machine

MOST_UNROLLED = 8
CHUNK = 16384
"""Elements of a vector that one task takes, where there is no other axis to share out."""


def schedule_elementwise(schedule: Any, machine: Machine) -> None:
    for block in blocks_of(schedule):
        if not is_output(schedule, block):
            schedule.compute_inline(block)
    (block,) = blocks_of(schedule)
    loops = schedule.get_loops(block)
    sizes = [extent(schedule, loop) for loop in loops]
    if not loops or max(sizes) < 2:
        return
    if max(sizes[:-1], default=1) == 1 and sizes[-1] > CHUNK:
        schedule.parallel(vectorize(schedule, loops[-1], machine.lanes, CHUNK))
        return
    wide = len(loops) - 1
    if sizes[-1] < machine.lanes // 2:
        wide = max((k for k, size in enumerate(sizes) if size >= machine.lanes), default=wide)
    bordered = _has_border(schedule, block, wide)
    shared = next((k for k, size in enumerate(sizes[:wide]) if size > 1), None)
    if shared is not None:
        schedule.parallel(loops[shared])
    if bordered:
        return
    group, lane = split_vectors(schedule, loops[wide], machine.lanes)
    schedule.reorder(*loops[:wide], group, *loops[wide + 1 :], lane)
    for loop, size in zip(loops[wide + 1 :], sizes[wide + 1 :], strict=True):
        if size <= MOST_UNROLLED:
            schedule.unroll(loop)
    schedule.vectorize(lane)


def _has_border(schedule: Any, block: Any, axis: int) -> bool:
    """Whether an axis of the block stands in a condition that is marked likely."""
    from tvm.tirx import stmt_functor

    body, name = schedule.get(block).body, str(schedule.get(block).iter_vars[axis].var.name)
    found = []

    def visit(node: Any) -> None:
        if getattr(getattr(node, "op", None), "name", "") == "tirx.likely":
            stmt_functor.post_order_visit(
                node.args[0], lambda inner: found.append(inner) if str(getattr(inner, "name", "")) == name else None
            )

    stmt_functor.post_order_visit(body, visit)
    return bool(found)


def split_vectors(schedule: Any, loop: Any, lanes: int) -> tuple[Any, Any]:
    """A loop as vectors and their lanes; one shorter vector if it has fewer elements than lanes."""
    group, lane = schedule.split(loop, [None, min(lanes, extent(schedule, loop))])
    return group, lane


def vectorize(schedule: Any, loop: Any, lanes: int, chunk: int) -> Any:
    """A long loop as chunks of vectors; returns the loop over chunks."""
    outer, inner = schedule.split(loop, [None, chunk])
    _, lane = split_vectors(schedule, inner, lanes)
    schedule.vectorize(lane)
    return outer
