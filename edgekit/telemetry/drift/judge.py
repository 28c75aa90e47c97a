"""One window against its reference: rules and distances, feature by feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.telemetry.drift.distances import Distances, distances
from edgekit.telemetry.drift.rules import Tallies, broken_rules
from edgekit.telemetry.drift.verdict import FeatureVerdict, Outcome
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
    tallies = Tallies.of(windows)
    found = distances(layout, counts, tallies.lowest, tallies.highest)
    noise = layout.noise(found.n)
    thresholds = np.maximum(theta, noise.floors)
    few = (found.n < n_min) | (layout.n < n_min)
    moved = (found.ks > thresholds) & ~few
    broken = broken_rules(layout, found, windows, tallies, noise.dependence, n_min)
    sds = _sds(found.n, tallies)
    outcomes = np.where(few, _FEW, _QUIET)
    outcomes[(layout.n == 0) & (layout.missing == 0)] = _NOT_JUDGED
    outcomes[moved] = _DRIFT
    for f in broken:
        outcomes[f] = _DRIFT
    columns = zip(
        layout.features, windows,
        *(a.tolist() for a in (outcomes, found.n.astype(np.int64), found.ks, found.most, thresholds, found.d1,
                               found.psi, found.js, found.wasserstein, found.kl, sds, layout.sd)),
        strict=True,
    )  # fmt: skip
    verdicts = []
    for f, (of, window, outcome, n, ks, most, limit, d1, psi, js, way, divergence, sd, before) in enumerate(columns):
        known = window.min <= window.max
        rules = broken.get(f, ())
        told = ""
        if outcome == _DRIFT:
            said = [rule.told for rule in rules]
            if ks > limit and moved[f]:
                said.append(_moved(layout, found, f, window, sd))
            told = "; ".join(said)
        verdicts.append(
            FeatureVerdict(
                feature=of.name,
                role=of.role,
                kind=of.kind,
                outcome=_OUTCOMES[outcome],
                n=n,
                missing=window.missing,
                distance=ks,
                distance_most=most,
                threshold=limit,
                d1=d1,
                psi=psi,
                js=js,
                wasserstein=None if way != way else way,
                kl=divergence if kl else None,
                mean=window.mean if known else None,
                sd=None if sd != sd else sd,
                reference_mean=of.mean,
                reference_sd=None if before != before else before,
                broken=rules,
                told=told,
            )
        )
    return verdicts


_OUTCOMES: tuple[Outcome, ...] = ("drift", "quiet", "too few", "not judged")
_DRIFT, _QUIET, _FEW, _NOT_JUDGED = range(4)


def _sds(n: np.ndarray, tallies: Tallies) -> np.ndarray:
    """Standard deviations of the windows' finite values, by n - 1; NaN where there is none."""
    finite = n - tallies.infinite
    known = (tallies.lowest <= tallies.highest) & (finite > 1)
    variances = np.divide(tallies.m2, finite - 1, out=np.full(len(n), np.inf), where=known)
    return np.where(np.isfinite(variances), np.sqrt(variances), np.nan)


def _moved(layout: Layout, found: Distances, f: int, window: FeatureCounts, spread: float) -> str:
    """How the distribution moved, in words."""
    feature = layout.features[f]
    start = int(layout.starts[f])
    own = slice(start, start + feature.size)
    if not layout.numbers[f]:
        changes = found.differences[own]
        at = int(np.argmax(np.abs(changes)))
        name = repr(feature.categories[at]) if at < len(feature.categories) else "unseen categories"
        share = layout.shares[own][at]
        return f"{name} {share + changes[at]:.1%} instead of {share:.1%}"
    sd = float(layout.sd[f])
    if feature.mean is not None and sd > 0 and spread == spread:
        shift, ratio = (window.mean - feature.mean) / sd, spread / sd
        if abs(shift) >= 0.1 or not 0.8 < ratio < 1.25:
            return _shifted(feature, window, shift, ratio)
    cumulative = found.cumulative[own]
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
