"""Distances of windows from their reference, from counts alone, for all features at once.

    ks            largest difference of the cumulative shares (Kolmogorov, Smirnov); for a category, whose order means
                  nothing, of a share. Decides.
    d1            sum of the differences of shares, 0 to 2
    psi           population stability index: Σ (q - p) ln(q / p)
    js            Jensen and Shannon's distance: root of the divergence to base 2, 0 to 1
    wasserstein   mean way that the values moved, in the reference's standard deviations; NaN for a category
    kl            Kullback and Leibler's divergence of the window from the reference, in nats: on request, since it is
                  as large as the smallest share that one cares to assume

d1, psi, js and kl compare 16 groups of equal mass (`layout.GROUPS`), or the categories; psi and kl take a share of 0
for `LEAST`. wasserstein takes values to be spread evenly within a cell; what lies beyond the outermost edges is counted
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
    shares = counts / np.maximum(n, 1)[layout.feature_of]
    differences = np.where(known[layout.feature_of], shares - layout.shares, 0.0)
    cumulative = np.cumsum(differences)
    largest_cumulative = np.maximum.reduceat(np.abs(cumulative), layout.starts) if features else np.zeros(0)
    largest_share = np.maximum.reduceat(np.abs(differences), layout.starts) if features else np.zeros(0)
    ks = np.where(layout.numbers, largest_cumulative, largest_share)

    p = layout.group_shares
    q = np.bincount(layout.group_of, shares, minlength=len(p))
    owner, known_group = layout.feature_of_group, known[layout.feature_of_group]
    d1 = np.bincount(owner, np.abs(q - p) * known_group, minlength=features)
    middle = (p + q) / 2
    js = np.bincount(owner, (_x_log(p, middle) + _x_log(q, middle)) * known_group, minlength=features)
    p, q = np.maximum(p, LEAST), np.maximum(q, LEAST)
    log_ratio = np.log(q / p) * known_group
    return Distances(
        ks=ks,
        d1=d1,
        psi=np.bincount(owner, (q - p) * log_ratio, minlength=features),
        js=np.sqrt(np.maximum(0.0, js / 2 / np.log(2))),
        wasserstein=_wasserstein(layout, cumulative, lowest, highest) / np.where(layout.sd > 0, layout.sd, np.nan),
        kl=np.bincount(owner, q * log_ratio, minlength=features),
        n=n,
        differences=differences,
        cumulative=cumulative,
    )


def _x_log(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x ln(x / y), 0 where x is 0."""
    return np.asarray(x * np.log(np.where(x > 0, x, 1.0) / np.where(y > 0, y, 1.0)) * (x > 0))


def _wasserstein(
    layout: Layout, cumulative: np.ndarray, lowest: np.ndarray | None, highest: np.ndarray | None
) -> np.ndarray:
    """The area between both distribution functions, in the feature's unit, `(F,)`."""
    a, b = np.abs(cumulative[layout.left]), np.abs(cumulative[layout.right])
    crossing = cumulative[layout.left] * cumulative[layout.right] < 0
    total = np.maximum(a + b, 1e-300)
    mean_height = np.where(crossing, (a * a + b * b) / (2 * total), (a + b) / 2)
    area = np.bincount(layout.feature_of_interval, mean_height * layout.widths, minlength=len(layout.sizes))
    heights = np.abs(cumulative[layout.starts]), np.abs(cumulative[layout.starts + np.maximum(layout.sizes - 2, 0)])
    for height, beyond in zip(
        heights,
        (None if lowest is None else layout.first - lowest, None if highest is None else highest - layout.last),
        strict=True,
    ):
        if beyond is not None:
            area = area + np.where(np.isfinite(beyond) & (beyond > 0), beyond, 0.0) * height / 2
    return np.where(layout.numbers, area, np.nan)
