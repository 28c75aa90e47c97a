"""Window: what one device observed between two instants, as counts over a reference's cells.

Counts add up exactly, in any order: the sum of the parts is the whole, which is what coalescing on the device, rolling
up in the collector and sliding windows in the checker all stand on. Means and squared differences are merged by Chan,
Golub and LeVeque's formula (1979) and agree to rounding.

Both classes are frozen values. No raw value of the program has a field here: of numbers only the smallest, the
largest and the moments travel beside the counts, of categories nothing but the counts.
"""

from __future__ import annotations

import math

from .records import NamedTuple
from .reference import LATENCY

INFINITE = math.inf
_LATENCIES = LATENCY.size


class FeatureCounts(NamedTuple):
    """What one feature saw.

    Attributes:
        cells: counts over the cells of the reference's feature. Their sum is n; the infinities are in the outer ones.
        missing: values that were missing or NaN; not in the cells.
        positive_infinite, negative_infinite: how many of n.
        out_of_range: how many of n were outside the feature's valid range.
        min, max: of the finite values; inf and -inf where there were none.
        mean, m2: of the finite values, 0 where there were none; m2 is the sum of squared differences from the mean,
            inf where that overflows. A category has none of the four.
    """

    cells: tuple[int, ...]
    missing: int = 0
    positive_infinite: int = 0
    negative_infinite: int = 0
    out_of_range: int = 0
    min: float = INFINITE
    max: float = -INFINITE
    mean: float = 0.0
    m2: float = 0.0

    @classmethod
    def empty(cls, size: int) -> FeatureCounts:
        """Nothing seen, in `size` cells."""
        return cls((0,) * size)

    @property
    def n(self) -> int:
        """Values seen, without the missing ones."""
        return sum(self.cells)

    @property
    def finite(self) -> int:
        """Values that min, max, mean and m2 are of."""
        return self.n - self.positive_infinite - self.negative_infinite

    @property
    def has_moments(self) -> bool:
        """Whether any finite number was seen: categories have no min."""
        return self.min <= self.max

    @property
    def variance(self) -> float | None:
        """Of the finite values, by n - 1; None for fewer than two."""
        return self.m2 / (self.finite - 1) if self.has_moments and self.finite > 1 else None

    def merge(self, other: FeatureCounts) -> FeatureCounts:
        """Both together. The cells must be the same reference's.

        Raises:
            ValueError: they have different numbers of cells.
        """
        if len(self.cells) != len(other.cells):
            raise ValueError("%d cells cannot be merged with %d" % (len(self.cells), len(other.cells)))
        mean, m2 = merge_moments(
            (self.finite if self.has_moments else 0, self.mean, self.m2),
            (other.finite if other.has_moments else 0, other.mean, other.m2),
        )
        return FeatureCounts(
            tuple([a + b for a, b in zip(self.cells, other.cells)]),
            self.missing + other.missing,
            self.positive_infinite + other.positive_infinite,
            self.negative_infinite + other.negative_infinite,
            self.out_of_range + other.out_of_range,
            min(self.min, other.min),
            max(self.max, other.max),
            mean,
            m2,
        )


def merge_moments(a: tuple[int, float, float], b: tuple[int, float, float]) -> tuple[float, float]:
    """Mean and m2 of two sets of values, each given as (n, mean, m2). m2 is inf where it overflows; never NaN."""
    (n_a, mean_a, m2_a), (n_b, mean_b, m2_b) = a, b
    if not n_b:
        return mean_a, m2_a
    if not n_a:
        return mean_b, m2_b
    n = n_a + n_b
    difference = mean_b - mean_a
    if math.isinf(difference):  # values near the ends of the doubles
        return mean_a * (n_a / n) + mean_b * (n_b / n), INFINITE
    return mean_a + difference * (n_b / n), m2_a + m2_b + difference * difference * (n_a * (n_b / n))


class Window(NamedTuple):
    """What one device observed between two instants.

    Attributes:
        device: the device's id.
        boot: 32 hex digits, drawn each time that the reporter starts; (device, boot, seq) names a window for ever.
        seq: counts the windows of one boot.
        model: the model's name.
        artifact: the artifact's id, 64 hex digits; empty if it was deployed bare.
        reference: the id of the reference whose cells these are, 64 hex digits.
        start_ns, end_ns: the device's wall clock at the first and after the last observation (ns since 1970).
        span_ns: the same by its monotonic clock; a wall clock that was set in between shows as a difference.
        synced: whether the device knew its wall clock to be synchronised; None: it cannot tell.
        bootstrapped: whether the cells are the device's own, cut from the first window that it saw.
        labels: (key, value) pairs in order of the keys, such as ("app", "1.4.2"), ("cohort", "beta").
        inferences: calls observed, with those that failed.
        errors: calls that the program reported as failed.
        dropped: observations that could not be recorded, and are in none of the counts.
        coalesced: how many more windows were merged into this one on the device, when its queue was full.
        latency: latencies in ns over `LATENCY_EDGES_NS`.
        features: one entry a feature, in the reference's order.
    """

    device: str
    boot: str
    seq: int
    model: str
    artifact: str
    reference: str
    start_ns: int
    end_ns: int
    span_ns: int
    synced: bool | None = None
    bootstrapped: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    inferences: int = 0
    errors: int = 0
    dropped: int = 0
    coalesced: int = 0
    latency: FeatureCounts = FeatureCounts.empty(_LATENCIES)
    features: tuple[FeatureCounts, ...] = ()

    @property
    def key(self) -> tuple[str, str, int]:
        """What the collector knows a delivery twice by."""
        return (self.device, self.boot, self.seq)

    def mergeable(self, other: Window) -> bool:
        """Whether both count the same cells for the same deployment, so that one window can stand for both."""
        return (
            self.device == other.device
            and self.model == other.model
            and self.artifact == other.artifact
            and self.reference == other.reference
            and self.bootstrapped == other.bootstrapped
            and self.labels == other.labels
        )

    def merge(self, later: Window) -> Window:
        """Both together, under the name (boot and seq) of the later one. Only for windows that were never sent.

        Raises:
            ValueError: they are not `mergeable`.
        """
        if not self.mergeable(later) or len(self.features) != len(later.features):
            raise ValueError("windows of different devices, models, references or labels cannot be merged")
        return later._replace(
            start_ns=min(self.start_ns, later.start_ns),
            end_ns=max(self.end_ns, later.end_ns),
            span_ns=self.span_ns + later.span_ns,
            synced=later.synced if self.synced == later.synced else None,
            inferences=self.inferences + later.inferences,
            errors=self.errors + later.errors,
            dropped=self.dropped + later.dropped,
            coalesced=self.coalesced + later.coalesced + 1,
            latency=self.latency.merge(later.latency),
            features=tuple([a.merge(b) for a, b in zip(self.features, later.features)]),
        )
