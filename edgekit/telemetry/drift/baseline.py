"""A reference made of earlier windows, where the model's own does not fit the question.

`--phase hour-of-day` compares like with like: what each hour of the judged span saw is compared with the same hours of
the days before, mixed in the judged span's own proportions, so that a daily cycle is no drift. Latencies have no
reference from conversion at all, because the host is not the device: they are compared with the time before.

The noise floors come from the history itself: each of its parts (the same hour of one day) is compared with the others
of its phase, and the design effect of that (`references.calibration`) scales the floor. With fewer than `FEWEST_PARTS`
parts there is no baseline.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from edgekit.telemetry.references.calibration import design_effect, floors, risen
from edgekit.telemetry.reporter.reference import NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgekit.telemetry.reporter.reference import Feature
    from edgekit.telemetry.reporter.window import FeatureCounts

FEWEST_PARTS = 3


def baseline(
    feature: Feature,
    judged: Mapping[int, FeatureCounts],
    history: Mapping[int, Sequence[FeatureCounts]],
    features: int,
) -> Feature | None:
    """The feature with the history's counts, moments and floors in place of its own.

    Args:
        feature: its cells are kept.
        judged: what the judged span saw, by phase; only its proportions matter.
        history: what each earlier part saw, by phase.
        features: how many features are judged together.

    Returns:
        The feature, or None where a phase of the judged span has too little history.
    """
    total = sum(counts.n for counts in judged.values())
    if not total:
        return None
    mixture = np.zeros(feature.size)
    inverse, effect = 0.0, 1.0
    used: list[tuple[float, FeatureCounts]] = []
    for phase, counts in judged.items():
        if not counts.n:
            continue
        parts = [part for part in history.get(phase, ()) if part.n]
        if len(parts) < FEWEST_PARTS:
            return None
        weight = counts.n / total
        merged = parts[0]
        for part in parts[1:]:
            merged = merged.merge(part)
        mixture += weight * np.array(merged.cells, dtype=float) / merged.n
        inverse += weight * weight / merged.n
        shares = np.array([np.array(part.cells, dtype=float) / part.n for part in parts])
        found = design_effect(shares, round(_harmonic([part.n for part in parts])), ordered=feature.kind == NUMBER)
        effect = max(effect, risen(1.0, found, len(parts)))
        used.append((weight, merged))
    if not inverse:
        return None
    n = max(1, round(1 / inverse))
    cells = tuple(np.rint(mixture * n).astype(int).tolist())
    made = feature._replace(cells=cells, missing=_missing(used, sum(cells)))
    table = floors({1: effect}, made.n, features)
    moments = _moments(used) if feature.kind == NUMBER else None
    if moments is None:
        return made._replace(floors=table)
    low, high, mean, variance = moments
    return made._replace(floors=table, min=low, max=high, mean=mean, m2=variance * max(0, made.n - 1))


def _harmonic(sizes: Sequence[int]) -> float:
    return len(sizes) / sum(1 / size for size in sizes)


def _missing(used: Sequence[tuple[float, FeatureCounts]], n: int) -> int:
    share = sum(weight * counts.missing / (counts.n + counts.missing) for weight, counts in used)
    return round(n * share / max(1e-9, 1 - share))


def _moments(used: Sequence[tuple[float, FeatureCounts]]) -> tuple[float, float, float, float] | None:
    """Smallest, largest, mean and variance of the mixture; None where there is no finite number."""
    known = [(weight, counts) for weight, counts in used if counts.has_moments and counts.finite]
    whole = sum(weight for weight, _ in known)
    if not known or not whole:
        return None
    mean = sum(weight * counts.mean for weight, counts in known) / whole
    variance = sum(w * (c.m2 / c.finite + (c.mean - mean) ** 2) for w, c in known) / whole
    if not math.isfinite(variance):
        return None
    return min(c.min for _, c in known), max(c.max for _, c in known), mean, variance
