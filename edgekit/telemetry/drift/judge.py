"""One window against its reference: rules and distances, feature by feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.telemetry.drift.distances import Distances, distances
from edgekit.telemetry.drift.rules import Tallies, broken_rules
from edgekit.telemetry.drift.verdict import Broken, FeatureVerdict, Outcome
from edgekit.telemetry.reporter.distance import N_MIN, THETA
from edgekit.telemetry.reporter.reference import NUMBER

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
    sds = _or_none(_sds(found.n, tallies))
    outcomes = np.where(few, _FEW, _QUIET)
    outcomes[(layout.n == 0) & (layout.missing == 0)] = _NOT_JUDGED
    outcomes[moved] = _DRIFT
    rules: list[tuple[Broken, ...]] = [()] * len(windows)
    told = [""] * len(windows)
    for f, of_it in broken.items():
        outcomes[f] = _DRIFT
        rules[f] = of_it
    for f in np.flatnonzero(outcomes == _DRIFT).tolist():
        said = [rule.told for rule in rules[f]]
        if moved[f]:
            said.append(_moved(layout, found, f, windows[f], sds[f]))
        told[f] = "; ".join(said)
    means = [window.mean if window.min <= window.max else None for window in windows]
    nothing = (None,) * len(windows)
    # By columns, and by position: one call of the interpreter makes them all. The order is that of the fields.
    return list(
        map(
            FeatureVerdict, layout.names, layout.roles, layout.kinds,
            map(_OUTCOMES.__getitem__, outcomes.tolist()), found.n.astype(np.int64).tolist(),
            [window.missing for window in windows], found.ks.tolist(), found.most.tolist(), thresholds.tolist(),
            found.d1.tolist(), found.psi.tolist(), found.js.tolist(), _or_none(found.wasserstein),
            found.kl.tolist() if kl else nothing, means, sds, layout.means, layout.known_sds, rules, nothing, nothing,
            told,
        )
    )  # fmt: skip


_OUTCOMES: tuple[Outcome, ...] = ("drift", "quiet", "too few", "not judged")
_DRIFT, _QUIET, _FEW, _NOT_JUDGED = range(4)


def _or_none(values: np.ndarray) -> list[float | None]:
    """As a list, None for NaN."""
    return [None if value != value else value for value in values.tolist()]


def _sds(n: np.ndarray, tallies: Tallies) -> np.ndarray:
    """Standard deviations of the windows' finite values, by n - 1; NaN where there is none."""
    finite = n - tallies.infinite
    known = (tallies.lowest <= tallies.highest) & (finite > 1)
    variances = np.divide(tallies.m2, finite - 1, out=np.full(len(n), np.inf), where=known)
    return np.where(np.isfinite(variances), np.sqrt(variances), np.nan)


def _moved(layout: Layout, found: Distances, f: int, window: FeatureCounts, spread: float | None) -> str:
    """How the distribution moved, in words."""
    feature, sd = layout.features[f], layout.known_sds[f]
    if feature.mean is not None and sd and spread is not None:
        shift, ratio = (window.mean - feature.mean) / sd, spread / sd
        if abs(shift) >= 0.1 or not 0.8 < ratio < 1.25:
            return _shifted(feature, window, shift, ratio)
    start = int(layout.starts[f])
    own = slice(start, start + feature.size)
    if feature.kind != NUMBER:
        changes = found.differences[own]
        at = int(np.argmax(np.abs(changes)))
        name = repr(feature.categories[at]) if at < len(feature.categories) else "unseen categories"
        share = layout.shares[own][at]
        return f"{name} {share + changes[at]:.1%} instead of {share:.1%}"
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
