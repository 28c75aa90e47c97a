"""From verdicts on features to one on the window; and where in a distribution to follow a drift over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from edgekit.telemetry.reporter.reference import NUMBER, OUTPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.telemetry.drift.verdict import Broken, FeatureVerdict
    from edgekit.telemetry.reporter.reference import Feature

_ORDER = {"drift": 0, "too few": 1, "not judged": 2, "quiet": 3}


def by_severity(features: Sequence[FeatureVerdict]) -> tuple[FeatureVerdict, ...]:
    """The drifted first, by how far they are beyond their thresholds; the quiet last, in their order."""
    return tuple(
        sorted(features, key=lambda v: (_ORDER[v.outcome], -v.distance / v.threshold if v.outcome == "drift" else 0))
    )


def outcome_of(
    features: Sequence[FeatureVerdict], broken: Sequence[Broken], n: int, n_min: int, *, unit: str
) -> tuple[Literal["quiet", "drift", "inconclusive"], str]:
    """The outcome of a window, and why."""
    drifted = [v.feature for v in features if v.outcome == "drift"]
    if drifted or broken:
        what = [", ".join(drifted[:8]) + (" and others" if len(drifted) > 8 else "") + " drifted"] if drifted else []
        return "drift", "; ".join([*what, *(rule.told for rule in broken)])
    if n < n_min:
        return "inconclusive", f"{n} {unit} are too few for a verdict, which takes {n_min}"
    if not any(v.outcome == "quiet" for v in features):
        return "inconclusive", f"no feature has {n_min} values on both sides"
    few = sum(v.outcome == "too few" for v in features)
    return "quiet", f"{few} of {len(features)} features had too few values for a verdict" if few else ""


def outputs_moved(features: Sequence[FeatureVerdict]) -> bool | None:
    """Whether any output drifted; None where none could be judged."""
    judged = [v for v in features if v.role == OUTPUT and v.outcome in ("drift", "quiet")]
    return any(v.outcome == "drift" for v in judged) if judged else None


def place_of(feature: Feature, cells: Sequence[int]) -> Callable[[Sequence[int]], float]:
    """What to follow over time: the signed difference of the share below the edge, or of the category, at which this
    window differs the most. The function takes the counts of a step; 0 where it has none."""
    reference = _shares(feature, feature.cells)
    at = int(np.argmax(np.abs(_shares(feature, cells) - reference)))
    expected = float(reference[at])
    return lambda counts: float(_shares(feature, counts)[at]) - expected if sum(counts) else 0.0


def _shares(feature: Feature, cells: Sequence[int]) -> np.ndarray:
    counts = np.asarray(cells, dtype=float)
    shares = counts / max(1.0, float(counts.sum()))
    return np.cumsum(shares) if feature.kind == NUMBER else shares
