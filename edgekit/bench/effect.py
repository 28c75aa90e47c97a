"""How much slower or faster one thing is than another, and how well that is known.

The unit is the block (a fresh process), never the sample: latencies of one process agree with each other far better
than processes do, so thousands of samples of one process say little about the next one. A block counts by the logarithm
of its median; a difference of logarithms is a ratio, and a slow-down weighs as much as the speed-up that undoes it.

    paired    A and B in turn on the device: one ratio a pair, so what both saw (heat, load) cancels
    unpaired  two runs of different hours: Welch's t, whose interval is wider for it, as it should be

Intervals are Student's below 20 values and bias-corrected accelerated bootstrap (BCa; Efron 1987) from there on, 10,000
resamples with a fixed seed; both are SciPy's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

BOOTSTRAP_FROM = 20
RESAMPLES = 10_000
SEED = 20_241_124
MIN_BLOCKS = 3
"""Fewer blocks a side have no spread to speak of."""

Method = Literal["student", "bca", "welch", "pooled"]
"""How an interval was made; `pooled` is of two segments of a history, by the scatter around all of its levels."""


class Interval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ratio candidate / baseline, and its confidence interval. 1.05 is 5 % slower."""

    ratio: float
    low: float
    high: float
    confidence: float
    method: Method


class Effect(Protocol):
    """A measured difference: the mean log ratio, its standard error, and intervals at any level."""

    @property
    def mean(self) -> float:
        """The mean log ratio."""

    @property
    def error(self) -> float:
        """Its standard error; 0 where all blocks agree to the nanosecond."""

    @property
    def freedom(self) -> float:
        """Degrees of freedom of that error."""

    @property
    def blocks(self) -> int:
        """Blocks of the side that has fewer."""

    def interval(self, confidence: float) -> Interval:
        """The two-sided interval at a level such as 0.95."""


class Paired(msgspec.Struct, frozen=True):
    """Log ratios of pairs that were measured next to each other."""

    log_ratios: tuple[float, ...]

    @property
    def mean(self) -> float:
        """See `Effect`."""
        return math.fsum(self.log_ratios) / len(self.log_ratios)

    @property
    def error(self) -> float:
        """See `Effect`."""
        return _deviation(self.log_ratios) / math.sqrt(len(self.log_ratios))

    @property
    def freedom(self) -> float:
        """See `Effect`."""
        return len(self.log_ratios) - 1

    @property
    def blocks(self) -> int:
        """See `Effect`."""
        return len(self.log_ratios)

    def interval(self, confidence: float) -> Interval:
        """See `Effect`."""
        if self.blocks >= BOOTSTRAP_FROM and self.error > 0:
            low, high = _bca(self.log_ratios, confidence)
            return _interval(self.mean, low, high, confidence, "bca")
        reach = student(confidence, self.freedom) * self.error
        return _interval(self.mean, self.mean - reach, self.mean + reach, confidence, "student")


class Unpaired(msgspec.Struct, frozen=True):
    """Log medians of the blocks of two runs that have nothing to do with each other."""

    baseline: tuple[float, ...]
    candidate: tuple[float, ...]

    @property
    def mean(self) -> float:
        """See `Effect`."""
        return math.fsum(self.candidate) / len(self.candidate) - math.fsum(self.baseline) / len(self.baseline)

    @property
    def error(self) -> float:
        """See `Effect`."""
        return math.sqrt(math.fsum(self._variances))

    @property
    def freedom(self) -> float:
        """Welch and Satterthwaite's degrees of freedom."""
        a, b = self._variances
        if not a + b:
            return len(self.baseline) + len(self.candidate) - 2
        return (a + b) ** 2 / (a**2 / (len(self.baseline) - 1) + b**2 / (len(self.candidate) - 1))

    @property
    def blocks(self) -> int:
        """See `Effect`."""
        return min(len(self.baseline), len(self.candidate))

    @property
    def _variances(self) -> tuple[float, float]:
        return (
            _deviation(self.baseline) ** 2 / len(self.baseline),
            _deviation(self.candidate) ** 2 / len(self.candidate),
        )

    def interval(self, confidence: float) -> Interval:
        """See `Effect`."""
        reach = student(confidence, self.freedom) * self.error
        return _interval(self.mean, self.mean - reach, self.mean + reach, confidence, "welch")


def paired(baseline_ns: Sequence[float], candidate_ns: Sequence[float]) -> Paired:
    """From the block medians of both sides, pair by pair.

    Raises:
        ValueError: fewer than three pairs, lengths that differ, or a latency that is not positive.
    """
    if len(baseline_ns) != len(candidate_ns):
        raise ValueError("pairs need as many blocks of the one as of the other")
    a, b = _logs(baseline_ns), _logs(candidate_ns)
    return Paired(tuple(y - x for x, y in zip(a, b, strict=True)))


def unpaired(baseline_ns: Sequence[float], candidate_ns: Sequence[float]) -> Unpaired:
    """From the block medians of two runs.

    Raises:
        ValueError: fewer than three blocks on a side, or a latency that is not positive.
    """
    return Unpaired(_logs(baseline_ns), _logs(candidate_ns))


def student(confidence: float, freedom: float) -> float:
    """The two-sided quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def exceeds(distance: float, error: float, freedom: float) -> float:
    """The chance that a t-distributed mean lies further than `distance` above the truth: a one-sided p-value."""
    from scipy.special import stdtr

    if error <= 0:
        return 0.0 if distance > 0 else 1.0
    return float(stdtr(freedom, -distance / error))


def _logs(medians_ns: Sequence[float]) -> tuple[float, ...]:
    if len(medians_ns) < MIN_BLOCKS:
        raise ValueError(f"{len(medians_ns)} blocks are too few for an interval: {MIN_BLOCKS} are the least")
    if any(not median > 0 for median in medians_ns):
        raise ValueError("a latency of zero or less has no ratio")
    return tuple(math.log(median) for median in medians_ns)


def _deviation(values: Sequence[float]) -> float:
    """The sample's standard deviation (n - 1)."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _bca(values: Sequence[float], confidence: float) -> tuple[float, float]:
    import numpy as np
    from scipy.stats import bootstrap

    found: Any = bootstrap(
        (np.asarray(values),),
        np.mean,
        confidence_level=confidence,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(found.low), float(found.high)


def _interval(mean: float, low: float, high: float, confidence: float, method: Method) -> Interval:
    return Interval(math.exp(mean), math.exp(low), math.exp(high), confidence, method)
