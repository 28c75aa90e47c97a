"""What may be said of n latencies, and what may not.

A percentile is given only where n supports it: at least `10 / (1 - p)` samples, so that ten of them lie beyond it
(p50: 20, p90: 100, p99: 1,000). Below that, the largest sample is an upper confidence bound for the percentile where
`p ** n <= 0.05` (the chance that all n samples fall below the true percentile): from 5, 29 and 299 samples on. Below
that as well there is nothing to say, and the reason is given instead.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

BEYOND = 10
CONFIDENCE = 0.95


class Percentile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A percentile in ns; or only an upper 95 % confidence bound for it; or neither, `because` of something."""

    value_ns: float | None
    bound_ns: float | None = None
    because: str | None = None


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Latencies of one Run, all blocks together; times in ns.

    mad_ns is the median absolute deviation from the median, unscaled.
    """

    n: int
    p50: Percentile
    p90: Percentile
    p99: Percentile
    min_ns: float | None
    max_ns: float | None
    mad_ns: float | None


def percentile(ordered: Sequence[float], p: float) -> Percentile:
    """The p-quantile of sorted samples (linear interpolation, Hyndman and Fan's type 7), or what can be said of it."""
    n = len(ordered)
    needed = math.ceil(BEYOND / (1 - p) - 1e-9)
    if n >= needed:
        position = p * (n - 1)
        low = math.floor(position)
        high = min(low + 1, n - 1)
        return Percentile(value_ns=ordered[low] + (ordered[high] - ordered[low]) * (position - low))
    because = f"{n} samples, of which p{p * 100:g} needs {needed}"
    if n and p**n <= 1 - CONFIDENCE:
        return Percentile(value_ns=None, bound_ns=ordered[-1], because=because)
    return Percentile(value_ns=None, because=because)


def summarise(samples_ns: Sequence[int], invokes_per_sample: int = 1) -> Summary:
    """Summarises samples in ns, in any order; each may be the mean of several invokes, whose percentiles it hides."""
    ordered = sorted(float(sample) for sample in samples_ns)
    n = len(ordered)
    middle = _median(ordered)
    tail = None
    if invokes_per_sample > 1:
        tail = Percentile(None, because=f"a sample is the mean of {invokes_per_sample} invokes: the clock is coarse")
    return Summary(
        n=n,
        p50=percentile(ordered, 0.5),
        p90=tail or percentile(ordered, 0.9),
        p99=tail or percentile(ordered, 0.99),
        min_ns=ordered[0] if n else None,
        max_ns=ordered[-1] if n else None,
        mad_ns=None if middle is None else _median(sorted(abs(sample - middle) for sample in ordered)),
    )


def _median(ordered: Sequence[float]) -> float | None:
    n = len(ordered)
    if not n:
        return None
    return ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2
