"""One window against its reference: rules and distances, feature by feature."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edgekit.telemetry.drift.distances import Distances, distances
from edgekit.telemetry.drift.rules import broken_rules
from edgekit.telemetry.drift.verdict import Broken, FeatureVerdict, Outcome
from edgekit.telemetry.reporter.distance import N_MIN, THETA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.telemetry.drift.layout import Layout
    from edgekit.telemetry.reporter.reference import Feature
    from edgekit.telemetry.reporter.window import FeatureCounts


def judge(
    layout: Layout,
    windows: Sequence[FeatureCounts],
    *,
    theta: float = THETA,
    n_min: int = N_MIN,
    kl: bool = False,
) -> list[FeatureVerdict]:
    """What rules and distances say of a window.

    Args:
        layout: the reference's features.
        windows: counts of the same features in the same order.
        theta: the distance that matters.
        n_min: values below which there is no verdict, in the window as in the reference.
        kl: whether to compute KL as well.

    Returns:
        One verdict a feature, in the same order.

    Raises:
        ValueError: the counts are those of other features.
    """
    counts = layout.flat([window.cells for window in windows])
    lowest = np.array([window.min for window in windows], dtype=float)
    highest = np.array([window.max for window in windows], dtype=float)
    found = distances(layout, counts, lowest, highest)
    thresholds = layout.thresholds(found.n, theta)
    few = (found.n < n_min) | (layout.n < n_min)
    moved = (found.ks > thresholds) & ~few
    broken = broken_rules(layout, found, windows, n_min)
    columns = zip(
        *(a.tolist() for a in (found.n, found.ks, thresholds, found.d1, found.psi, found.js, found.wasserstein,
                               found.kl, few, moved, layout.n, layout.sd)),
        strict=True,
    )  # fmt: skip
    verdicts = []
    for f, (n, ks, threshold, d1, psi, js, way, divergence, is_few, is_moved, n_reference, sd) in enumerate(columns):
        feature, window = layout.features[f], windows[f]
        outcome: Outcome = "too few" if is_few else "quiet"
        if not n_reference and not feature.missing:
            outcome = "not judged"
        if is_moved or broken[f]:
            outcome = "drift"
        known = window.min <= window.max
        finite = int(n) - window.positive_infinite - window.negative_infinite
        variance = window.m2 / (finite - 1) if known and finite > 1 else math.inf
        verdicts.append(
            FeatureVerdict(
                feature=feature.name,
                role=feature.role,
                kind=feature.kind,
                outcome=outcome,
                n=int(n),
                missing=window.missing,
                distance=ks,
                threshold=threshold,
                d1=d1,
                psi=psi,
                js=js,
                wasserstein=None if math.isnan(way) else way,
                kl=divergence if kl else None,
                mean=window.mean if known else None,
                sd=math.sqrt(variance) if variance < math.inf else None,
                reference_mean=feature.mean,
                reference_sd=None if math.isnan(sd) else sd,
                broken=broken[f],
                told=_told(layout, found, f, window, broken[f], moved=is_moved) if outcome == "drift" else "",
            )
        )
    return verdicts


def _told(
    layout: Layout, found: Distances, f: int, window: FeatureCounts, broken: Sequence[Broken], *, moved: bool
) -> str:
    """What changed, in words: the rules first, then how the distribution moved."""
    said = [rule.told for rule in broken]
    if moved:
        said.append(_moved(layout, found, f, window))
    return "; ".join(said)


def _moved(layout: Layout, found: Distances, f: int, window: FeatureCounts) -> str:
    feature = layout.features[f]
    own = slice(int(layout.starts[f]), int(layout.starts[f] + layout.sizes[f]))
    if not layout.numbers[f]:
        changes = found.differences[own]
        at = int(np.argmax(np.abs(changes)))
        name = repr(feature.categories[at]) if at < len(feature.categories) else "unseen categories"
        share = layout.shares[own][at]
        return f"{name} {share + changes[at]:.1%} instead of {share:.1%}"
    cumulative = found.cumulative[own]
    sd, spread = float(layout.sd[f]), window.variance
    if feature.mean is not None and sd > 0 and spread is not None and math.isfinite(spread):
        shift, ratio = (window.mean - feature.mean) / sd, math.sqrt(spread) / sd
        if abs(shift) >= 0.1 or not 0.8 < ratio < 1.25:
            return _shifted(feature, window, shift, ratio)
    at = int(np.argmax(np.abs(cumulative)))
    edge, change = feature.edges[min(at, len(feature.edges) - 1)], float(cumulative[at])
    return f"{abs(change):.1%} more of the values are {'below' if change > 0 else 'above'} {edge:.6g}"


def _shifted(feature: Feature, window: FeatureCounts, shift: float, ratio: float) -> str:
    said = []
    if abs(shift) >= 0.1:
        way = "higher" if shift > 0 else "lower"
        said.append(f"{way}: mean {window.mean:.4g} instead of {feature.mean:.4g} ({shift:+.2f} standard deviations)")
    if not 0.8 < ratio < 1.25:
        said.append(f"{'wider' if ratio > 1 else 'narrower'}: spread × {ratio:.2f}")
    return ", ".join(said)
