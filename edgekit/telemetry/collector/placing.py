"""Where in time a window belongs. Counts are never refused for their time; what was doubtful about it is marked.

A device's clock may be years off. Every envelope tells the device's time when it was sent, so the collector knows how
far that clock is off now, and moves the window by as much (`SKEWED`). A clock that was set between the window and the
envelope shows as a window that lies after its own envelope, ends before it begins, or lies in a year before EdgeKit
was written: nothing of it can be trusted then, and the window goes where it arrived (`UNPLACED`). `LATE` marks what
arrived more than a day after its end. A window belongs to the span that holds its middle.
"""

from __future__ import annotations

from typing import NamedTuple

SKEWED, UNPLACED, LATE = 1, 2, 4
"""Bits of a window's marks."""
TOLERANCE_S = 300
LATE_S = 24 * 3600
PLAUSIBLE_FROM_S = 1_577_836_800
"""2020: a clock that has not been set begins in 1970, or at its firmware's date."""
_NS = 1_000_000_000


class Place(NamedTuple):
    """Where a window was put.

    Attributes:
        start_ns, end_ns: its time by the collector's clock.
        span: start of its span, s since 1970.
        marks: bits of `SKEWED`, `UNPLACED`, `LATE`.
        clock_off_s: how far the device's clock is behind the collector's.
    """

    start_ns: int
    end_ns: int
    span: int
    marks: int
    clock_off_s: int


def place(start_ns: int, end_ns: int, sent_ns: int, received_ns: int, span_s: int) -> Place:
    """Places a window of the device's clock; `sent_ns` is when the device made the envelope, by the same clock."""
    off_ns = received_ns - sent_ns
    marks = 0
    if abs(off_ns) > TOLERANCE_S * _NS:
        marks |= SKEWED
        start_ns += off_ns
        end_ns += off_ns
    latest = received_ns + TOLERANCE_S * _NS
    if not PLAUSIBLE_FROM_S * _NS <= start_ns <= end_ns <= latest:
        marks |= UNPLACED
        start_ns = end_ns = received_ns
    if received_ns - end_ns > LATE_S * _NS:
        marks |= LATE
    middle_s = (start_ns + (end_ns - start_ns) // 2) // _NS
    return Place(start_ns, end_ns, middle_s - middle_s % span_s, marks, off_ns // _NS)
