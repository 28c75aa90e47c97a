"""Distances of windows from their reference, from counts alone, for all features at once.

    ks            largest difference of the cumulative shares (Kolmogorov, Smirnov); for a category, whose order means
                  nothing, of a share. Decides.
    most          the largest that the distance of the raw values can be, where `ks` is the smallest: see below
    d1            sum of the differences of shares, 0 to 2
    psi           population stability index: Σ (q - p) ln(q / p)
    js            Jensen and Shannon's distance: root of the divergence to base 2, 0 to 1
    wasserstein   mean way that the values moved, in the reference's standard deviations; NaN for a category
    kl            Kullback and Leibler's divergence of the window from the reference, in nats: on request, since it is
                  as large as the smallest share that one cares to assume

d1, psi, js and kl compare 16 groups of equal mass (`layout.GROUPS`), or the categories; psi and kl take a share of 0
for `LEAST`.

Counts say what lies below an edge, and nothing of what lies where between two edges. So the distance of the raw values
is at least `ks`, its largest gap at an edge, and at most `most`: in a cell of the mass p in the reference and q in the
window the gap exceeds the one at its edges by no more than the smaller of p and q (all of the window's values at one
end, the reference's at the other). A cell that holds a single value has no inside. For continuous features both differ
by a 128th at most, and their middle is off by half of that. `ks` decides: what it alarms on, raw values would alarm on.

wasserstein takes values to be spread evenly within a cell; what lies beyond the outermost edges is counted
up to the window's own smallest and largest value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from edgekit.telemetry.drift.layout import Layout

LEAST = 1e-4


class Distances(NamedTuple):
    """One entry a feature, `(F,)` each; 0 where the window or the reference has no values. `differences` are the
    window's shares minus the reference's, `(C,)`, and `cumulative` their running sums."""

    ks: np.ndarray
    most: np.ndarray
    d1: np.ndarray
    psi: np.ndarray
    js: np.ndarray
    wasserstein: np.ndarray
    kl: np.ndarray
    n: np.ndarray
    differences: np.ndarray
    cumulative: np.ndarray


def distances(
    layout: Layout, counts: np.ndarray, lowest: np.ndarray | None = None, highest: np.ndarray | None = None
) -> Distances:
    """All distances of one window.

    Args:
        layout: the reference's features.
        counts: `(C,)`, from `Layout.flat`.
        lowest, highest: `(F,)`, the window's smallest and largest values; infinite or None where they are not known.
    """
    features = len(layout.sizes)
    n = np.add.reduceat(counts, layout.starts) if features else np.zeros(0)
    known = (n > 0) & (layout.n > 0)
    differences = counts * np.divide(1.0, n, out=np.zeros(features), where=known)[layout.feature_of]
    differences -= layout.shares if known.all() else layout.shares * known[layout.feature_of]
    cumulative = np.cumsum(differences)
    heights = np.abs(cumulative)
    largest = np.maximum.reduceat(heights, layout.starts) if features else np.zeros(0)
    ks, most = largest, largest
    if features and layout.numbers.any():
        # Within a cell the reference's share runs from below it to above it, and so does the window's: the gap is
        # the widest if one has all of its mass at the lower end, and the other one at the upper end.
        inside = np.maximum(cumulative + layout.open_shares, layout.open_shares - cumulative + differences)
        most = np.where(known, np.maximum(ks, np.maximum.reduceat(inside * layout.open, layout.starts)), 0.0)
    if not layout.numbers.all():
        largest_share = np.maximum.reduceat(np.abs(differences), layout.starts) if features else np.zeros(0)
        ks, most = np.where(layout.numbers, ks, largest_share), np.where(layout.numbers, most, largest_share)

    p = layout.group_shares
    q = p * known[layout.feature_of_group]
    q += np.add.reduceat(differences, layout.group_starts) if features else 0.0
    q = np.maximum(q, 0.0)
    owner, known_group = layout.feature_of_group, known[layout.feature_of_group]
    d1 = np.bincount(owner, np.abs(q - p) * known_group, minlength=features)
    middle = (p + q) / 2
    js = np.bincount(owner, (_x_log(p, middle) + _x_log(q, middle)) * known_group, minlength=features)
    p, q = np.maximum(p, LEAST), np.maximum(q, LEAST)
    log_ratio = np.log(q / p) * known_group
    way = _wasserstein(layout, cumulative, heights, lowest, highest)
    return Distances(
        ks=ks,
        most=most,
        d1=d1,
        psi=np.bincount(owner, (q - p) * log_ratio, minlength=features),
        js=np.sqrt(np.maximum(0.0, js / 2 / np.log(2))),
        wasserstein=way / np.where(layout.sd > 0, layout.sd, np.nan),
        kl=np.bincount(owner, q * log_ratio, minlength=features),
        n=n,
        differences=differences,
        cumulative=cumulative,
    )


def _x_log(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x ln(x / y), 0 where x is 0."""
    return np.asarray(x * np.log(np.where(x > 0, x, 1.0) / np.where(y > 0, y, 1.0)) * (x > 0))


def _wasserstein(
    layout: Layout, cumulative: np.ndarray, heights: np.ndarray, lowest: np.ndarray | None, highest: np.ndarray | None
) -> np.ndarray:
    """The area between both distribution functions, in the feature's unit, `(F,)`."""
    if not len(cumulative):
        return np.zeros(0)
    # Between the lower and the upper edge of a cell the gap runs evenly from the one to the other; where it crosses
    # zero, two triangles are left of the trapezium.
    total = heights[:-1] + heights[1:]
    crossing = np.flatnonzero((cumulative[:-1] * cumulative[1:] < 0) & (layout.widths[1:] > 0))
    area = np.zeros(len(cumulative))
    area[1:] = total / 2
    if len(crossing):
        squares = heights[crossing] ** 2 + heights[crossing + 1] ** 2
        area[crossing + 1] = squares / (2 * np.maximum(total[crossing], 1e-300))
    area = np.add.reduceat(area * layout.widths, layout.starts)
    ends = heights[layout.starts], heights[layout.starts + np.maximum(layout.sizes - 2, 0)]
    for height, beyond in zip(
        ends,
        (None if lowest is None else layout.first - lowest, None if highest is None else highest - layout.last),
        strict=True,
    ):
        if beyond is not None:
            area = area + np.where(np.isfinite(beyond) & (beyond > 0), beyond, 0.0) * height / 2
    return np.where(layout.numbers, area, np.nan)
