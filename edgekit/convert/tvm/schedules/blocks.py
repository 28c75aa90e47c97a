"""What schedules ask of a function's blocks."""

from __future__ import annotations

from typing import Any

from edgekit.convert.tvm.kernels import KIND

SPATIAL, REDUCTION = 0, 2
"""TVM's `IterVar.kDataPar` and `kCommReduce`."""


def blocks_of(schedule: Any) -> list[Any]:
    """The blocks of a function, producers first."""
    return list(schedule.get_child_blocks(schedule.get_sblock("root")))


def kinds(schedule: Any, block: Any) -> list[int]:
    """The kind of each of a block's axes."""
    return [int(axis.iter_type) for axis in schedule.get(block).iter_vars]


def reduces(schedule: Any, block: Any) -> bool:
    return REDUCTION in kinds(schedule, block)


def extent(schedule: Any, loop: Any) -> int:
    """A loop's trip count; 0 if it is not constant."""
    from tvm import tirx

    size = schedule.get(loop).extent
    return int(size) if isinstance(size, (int, tirx.IntImm)) else 0


def name_of(schedule: Any, block: Any) -> str:
    """A block's name, unique in its function."""
    return str(schedule.get(block).name_hint)


def annotation(schedule: Any, block: Any, name: str) -> Any:
    return schedule.get(block).annotations.get(name)


def anchor_of(schedule: Any) -> Any:
    """The block that one of our kernels marks; None in other functions."""
    return next((block for block in blocks_of(schedule) if annotation(schedule, block, KIND) is not None), None)


def is_output(schedule: Any, block: Any) -> bool:
    """Whether a block writes what its function returns."""
    return not schedule.get_consumers(block)


def inline_chain(schedule: Any, after: Any) -> Any:
    """Inlines the elementwise blocks between `after` and the function's last block.

    Returns:
        The last block; None if `after` itself is the last.
    """
    following = _downstream(schedule, after)
    for block in following:
        if not is_output(schedule, block):
            schedule.compute_inline(block)
    last = [block for block in blocks_of(schedule) if is_output(schedule, block)]
    assert len(last) == 1, "fused functions have one output"
    return last[0] if following else None


def _downstream(schedule: Any, block: Any) -> list[Any]:
    found: list[Any] = []
    names: set[str] = set()
    todo = list(schedule.get_consumers(block))
    while todo:
        consumer = todo.pop(0)
        name = name_of(schedule, consumer)
        if name not in names:
            names.add(name)
            found.append(consumer)
            todo.extend(schedule.get_consumers(consumer))
    return found
