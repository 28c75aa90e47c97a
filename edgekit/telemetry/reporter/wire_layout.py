"""What writers and readers of windows agree on: sizes, flags, and which moments contradict themselves."""

from __future__ import annotations

import math
import struct

MAX_LABELS = 16
MAX_TEXT_BYTES = 64
MAX_MODEL_BYTES = 128
MAX_COUNT = (1 << 63) - 1

TIMES = struct.Struct("<qqQB")
FOUR_MOMENTS = struct.Struct("<dddd")
SEQ = struct.Struct("<Q")

SYNCED_KNOWN, SYNCED, BOOTSTRAPPED = 1, 2, 4
MOMENTS = 0x80
TYPECODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def check_moments(finite: int, moments: tuple[float, float, float, float]) -> None:
    """Raises `ValueError` for what no values have."""
    low, high, mean, m2 = moments
    if finite < 1 or not (math.isfinite(low) and math.isfinite(high) and math.isfinite(mean)):
        raise ValueError("moments of %d finite values: min %r, max %r, mean %r" % (finite, low, high, mean))
    if not low <= high or not m2 >= 0:
        raise ValueError("min %r above max %r, or m2 %r below zero" % (low, high, m2))
