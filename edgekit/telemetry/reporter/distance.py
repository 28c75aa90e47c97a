"""How far a window is from its reference, and when that is drift: the one rule of the device and of the checker.

For numbers the distance is Kolmogorov and Smirnov's over the cells: the largest difference of the cumulative shares.
It can miss no more than the mass of the heaviest cell. For categories, whose order means nothing, it is the largest
difference of a share (unseen included). For a joint it is that of the mean vectors (`joint.distance_of_sums`).

Drift is a distance above a threshold, and the threshold is the largest of three:

- `theta`, .05 unless the user says otherwise: what matters;
- the reference's own `floors`: how far windows of that size of the reference itself lie from the rest of it. Sensor
  streams are not independent draws, and theory that takes them to be alarms on most quiet windows;
- `sampling_floor`: what independent draws of this size alone can give, one in a thousand times. The bound is
  Dvoretzky, Kiefer and Wolfowitz's with Massart's constant (1990), for both samples.

No p-value decides: at n = 100,000 every difference that nobody would care about is significant. Below `N_MIN` values
there is no verdict.
"""

from __future__ import annotations

import math

from .joint import distance_of_sums
from .records import TYPE_CHECKING, NamedTuple
from .reference import CATEGORY

if TYPE_CHECKING:
    from typing import Sequence

    from .reference import Feature

THETA = 0.05
N_MIN = 200
ALPHA = 0.001

QUIET, DRIFT, TOO_FEW = "quiet", "drift", "too few"


def ks_of_cells(reference: Sequence[int], window: Sequence[int]) -> float:
    """Kolmogorov and Smirnov's distance of two lists of counts over the same cells, 0 to 1; 0 if one is empty."""
    n_reference, n_window = sum(reference), sum(window)
    if not n_reference or not n_window:
        return 0.0
    largest = below_reference = below_window = 0
    for a, b in zip(reference, window):
        below_reference += a
        below_window += b
        largest = max(largest, abs(below_reference * n_window - below_window * n_reference))
    return largest / (n_reference * n_window)


def largest_share_change(reference: Sequence[int], window: Sequence[int]) -> float:
    """The largest difference of a cell's share in two lists of counts, 0 to 1; 0 if one is empty."""
    n_reference, n_window = sum(reference), sum(window)
    if not n_reference or not n_window:
        return 0.0
    largest = max([abs(a * n_window - b * n_reference) for a, b in zip(reference, window)])
    return largest / (n_reference * n_window)


def distance_of(feature: Feature, cells: Sequence[int]) -> float:
    """The distance that decides for this kind of feature."""
    if feature.joint is not None:
        return distance_of_sums(feature.joint, feature.cells, cells)
    return (largest_share_change if feature.kind == CATEGORY else ks_of_cells)(feature.cells, cells)


def sampling_floor(n: int, n_reference: int, *, alpha: float = ALPHA) -> float:
    """The distance that two independent samples of one distribution exceed in at most `alpha` of all cases."""
    if not n or not n_reference:
        return 1.0
    return min(1.0, math.sqrt(-math.log(alpha / 2) / 2 * (1 / n + 1 / n_reference)))


def calibrated_floor(feature: Feature, n: int) -> float:
    """The reference's own floor for windows of n values; 0 where it was not calibrated.

    Between two sizes it is that of the smaller one, below the smallest it grows with 1/sqrt(n): up to 1, which is
    as far as a distance goes, but that of a joint.
    """
    if not feature.floors or not n:
        return 0.0
    smallest, floor = feature.floors[0]
    if n < smallest:
        grown = floor * math.sqrt(smallest / n)
        return grown if feature.joint is not None else min(1.0, grown)
    return max([distance for size, distance in feature.floors if size <= n][-1:])


def threshold_of(feature: Feature, n: int, *, theta: float = THETA) -> float:
    """The distance above which a window of n values has drifted. A joint's floors hold its sampling floor."""
    if feature.joint is not None:
        return max(theta, calibrated_floor(feature, n)) if feature.floors else math.inf
    return max(theta, calibrated_floor(feature, n), sampling_floor(n, feature.n))


class FeatureDrift(NamedTuple):
    """What the rule says of one feature: `verdict` is "quiet", "drift" or "too few" (then there is no verdict)."""

    feature: str
    role: str
    n: int
    distance: float
    threshold: float
    verdict: str


def judge(feature: Feature, cells: Sequence[int], *, theta: float = THETA, n_min: int = N_MIN) -> FeatureDrift:
    """The rule: a distance above the threshold is drift. A feature without counts in its reference has no verdict."""
    n = sum(cells) if feature.joint is None else cells[0]
    distance = distance_of(feature, cells)
    threshold = threshold_of(feature, n, theta=theta)
    verdict = TOO_FEW if n < n_min or feature.n < n_min else DRIFT if distance > threshold else QUIET
    return FeatureDrift(feature.name, feature.role, n, distance, threshold, verdict)
