"""The processors that a measurement may use: the fastest ones, so that both sides of a pair run on the same.

Two processes that are scheduled freely may sit on processors that differ: a fast and a slow core, or one whose other
thread a neighbour has. Then the ratio of the two says which processor each of them had.
"""

from __future__ import annotations

import os


def use(count: int) -> None:
    """Limits this process, and what it starts from now on, to `count` of the processors that it may use.

    The fastest by their highest frequency, and of equals the highest numbers, as interrupts mostly go to the first. A
    system that refuses, or that cannot do it at all, is left as it is; the fact `affinity` tells.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    try:
        ordered = sorted(os.sched_getaffinity(0), key=lambda core: (_highest_khz(core), core))
        os.sched_setaffinity(0, ordered[-count:])
    except OSError:
        return


def _highest_khz(core: int) -> int:
    try:
        with open("/sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq" % core, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0
