"""Warm-up to a steady state, and samples until the median is known well enough. Standard library only.

Times are integers in nanoseconds from `time.perf_counter_ns`, a monotonic clock, taken around the runtime's invoke
alone. Nothing but invoke and two clock readings happens between the two; the garbage collector is off meanwhile.
"""

from __future__ import annotations

import gc
import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Z_95 = 1.959963984540054
AGREE = 0.02
"""Two medians agree when they differ by at most this share; the aim for the median's half-width as well."""


def median(ordered: Sequence[int]) -> float:
    """The median of sorted values."""
    n = len(ordered)
    middle = n // 2
    return ordered[middle] if n % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def median_half_width(samples: Sequence[int]) -> float:
    """Half-width of the median's 95 % confidence interval, as a share of the median.

    From order statistics: ranks n/2 ± 1.96·√n/2 (the binomial's normal approximation), free of any assumption on the
    distribution. Infinite below 6 samples, where no such interval exists.
    """
    n = len(samples)
    if n < 6:
        return math.inf
    ordered = sorted(samples)
    reach = Z_95 * math.sqrt(n) / 2
    low = ordered[max(0, math.floor(n / 2 - reach))]
    high = ordered[min(n - 1, math.ceil(n / 2 + reach))]
    middle = median(ordered)
    return max(high - middle, middle - low) / middle if middle else math.inf


def timed(invoke: Callable[[], object], count: int) -> list[int]:
    """`count` latencies of `invoke`, in ns."""
    clock = time.perf_counter_ns
    samples = [0] * count
    for i in range(count):
        start = clock()
        invoke()
        samples[i] = clock() - start
    return samples


def is_steady(before: Sequence[int], window: Sequence[int]) -> bool:
    """Whether two consecutive windows agree in median, and the later one shows no slope between its halves."""
    half = len(window) // 2
    a, b = median(sorted(before)), median(sorted(window))
    c, d = median(sorted(window[:half])), median(sorted(window[half:]))
    return abs(b - a) <= AGREE * a and abs(d - c) <= AGREE * c


def warm_up(invoke: Callable[[], object], max_ns: int, heartbeat: Callable[[], object]) -> tuple[list[int], bool]:
    """Invokes until steady or until `max_ns` have passed.

    Returns:
        (samples in ns, whether a steady state was reached)
    """
    clock = time.perf_counter_ns
    began = clock()
    samples = timed(invoke, 3)
    window_size = min(200, max(10, math.ceil(1e8 / max(1, min(samples)))))  # about a tenth of a second
    before: list[int] | None = None
    while clock() - began < max_ns:
        window: list[int] = []
        while len(window) < window_size and clock() - began < max_ns:
            window.append(timed(invoke, 1)[0])
            heartbeat()
        samples.extend(window)
        if len(window) < window_size:
            break
        if before is not None and is_steady(before, window):
            return samples, True
        before = window
    return samples, False


def sample(
    invoke: Callable[[], object], min_samples: int, min_ns: int, max_ns: int, heartbeat: Callable[[], object]
) -> tuple[list[int], str, float | None]:
    """Samples until the median's interval is within ±2 %, but at least `min_samples` and `min_ns`, at most `max_ns`.

    Returns:
        (samples in ns, the stop rule that fired: "precise" or "time-limit", the half-width reached as a share)
    """
    clock = time.perf_counter_ns
    samples: list[int] = []
    began = clock()
    check_at = min_samples
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        while True:
            samples.extend(timed(invoke, 1))
            elapsed = clock() - began
            if len(samples) >= check_at and elapsed >= min_ns:
                width = median_half_width(samples)
                if width <= AGREE:
                    return samples, "precise", width
                check_at = len(samples) + max(10, len(samples) // 10)
            if elapsed >= max_ns and len(samples) >= 2:
                width = median_half_width(samples)
                return samples, "time-limit", (width if math.isfinite(width) else None)
            heartbeat()
    finally:
        if was_enabled:
            gc.enable()
