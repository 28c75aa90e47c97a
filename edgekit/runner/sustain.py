"""A sustained run: invoke after invoke for minutes, told second by second, in memory that does not grow.

Of each second ("chunk") the host gets the number of invokes, the slowest one, and at most `KEPT` latencies: every k-th,
where k doubles whenever there are more. So a chunk's median is that of an evenly spread sample, and so is any longer
window's. Temperature and frequency are read between two chunks, when nothing is timed.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

from . import facts

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = 200
"""The most latencies that are kept of a chunk; an even number."""


class Thinned:
    """Every k-th of what is added, at most `KEPT` of them; `n`, the largest, and the sum of all."""

    def __init__(self) -> None:
        self.n = self.largest = self.total = 0
        self.kept = []  # type: list[int]
        self._every = 1

    def add(self, value: int) -> None:
        if self.n % self._every == 0:
            if len(self.kept) == KEPT:
                del self.kept[1::2]
                self._every *= 2
            if self.n % self._every == 0:
                self.kept.append(value)
        self.n += 1
        self.total += value
        if value > self.largest:
            self.largest = value


def surroundings() -> dict[str, Any]:
    """The hottest thermal zone and the fastest core now; None, and why, for what the device does not tell."""
    values = {"temperature_c": None, "frequency_hz": None}  # type: dict[str, Any]
    missing = {}
    for name, probe in (("temperature_c", facts.hottest_c), ("frequency_hz", facts.fastest_hz)):
        try:
            values[name] = probe()
        except (OSError, LookupError, ValueError) as error:
            missing[name] = str(error)
    return dict(values, missing=missing)


def sustain(
    invoke: Callable[[], object],
    duration_ns: int,
    chunk_ns: int,
    on_chunk: Callable[..., object],
    heartbeat: Callable[[], object],
) -> None:
    """Invokes for `duration_ns`, and tells of each `chunk_ns`; a chunk has one invoke or more."""
    clock = time.perf_counter_ns
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        began = clock()
        while True:
            chunk, start = Thinned(), clock()
            while True:
                before = clock()
                invoke()
                after = clock()
                chunk.add(after - before)
                heartbeat()
                if after - start >= chunk_ns or after - began >= duration_ns:
                    break
            on_chunk(
                at_ns=after - began, n=chunk.n, max_ns=chunk.largest, total_ns=chunk.total, kept_ns=chunk.kept,
                **surroundings(),
            )  # fmt: skip
            gc.collect(0)
            if after - began >= duration_ns:
                return
    finally:
        if was_enabled:
            gc.enable()
