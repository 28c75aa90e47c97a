"""Windows that slide over channels-last images: depthwise convolution and pooling, the window written out as one sum.

    for images and lines:                       in parallel
      for groups of pixels of a line:
        for vectors of channels:
          for pixels of the group:              unrolled
            result = epilogue(sum over the window)

Neighbouring pixels share most of their windows, and the channels' weights: the loads are the same expressions, and LLVM
keeps them in registers. Conditions at the border are marked likely, so `LoopPartition` makes loops of their own for the
first and last lines and groups, and the rest runs without any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.schedules.blocks import extent, inline_chain

if TYPE_CHECKING:
    from edgekit.convert.tvm.machine import Machine

PIXELS = {32: 7, 16: 4}
"""Pixels of a group, by the number of registers."""


def schedule_window(schedule: Any, block: Any, machine: Machine) -> None:
    epilogue = inline_chain(schedule, block)
    if epilogue is not None:
        schedule.compute_inline(block)
        block = epilogue
    image, line, pixel, channel = schedule.get_loops(block)
    group, pixel = schedule.split(pixel, [None, min(PIXELS[machine.registers], extent(schedule, pixel))])
    lanes = min(machine.lanes, extent(schedule, channel))
    vector, lane = schedule.split(channel, [None, lanes])
    schedule.reorder(image, line, group, vector, pixel, lane)
    schedule.parallel(line if extent(schedule, image) == 1 else image)
    schedule.unroll(pixel)
    schedule.vectorize(lane)
