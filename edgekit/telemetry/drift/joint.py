"""The verdict on a joint: whether features moved together, and whether any of them moved alone.

A joint moves with its members, so it says something of its own only where they stay: then what changed is which values
come together, their *dependence*. Rows are counted and not values, and none of the distances from shares apply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.telemetry.drift.verdict import FeatureVerdict, Outcome
from edgekit.telemetry.reporter import distance
from edgekit.telemetry.reporter.reference import JOINT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgekit.telemetry.reporter.reference import Feature
    from edgekit.telemetry.reporter.window import FeatureCounts

_OUTCOMES: dict[str, Outcome] = {
    distance.QUIET: "quiet", distance.DRIFT: "drift", distance.TOO_FEW: "too few",
}  # fmt: skip


def plain(features: Iterable[Feature]) -> tuple[Feature, ...]:
    """Those that are no joints: the ones with cells."""
    return tuple(feature for feature in features if feature.kind != JOINT)


def joints(features: Iterable[Feature]) -> tuple[Feature, ...]:
    """Those that are."""
    return tuple(feature for feature in features if feature.kind == JOINT)


def judge_joint(
    feature: Feature, counts: FeatureCounts, members: Sequence[FeatureVerdict], *, theta: float, n_min: int
) -> FeatureVerdict:
    """What a joint says of a window.

    Args:
        feature: the joint, in the reference.
        counts: its vector in the window.
        members: verdicts of the same window; those of the joint's members are looked at.
        theta, n_min: see `judge`.
    """
    assert feature.joint is not None
    found = distance.judge(feature, counts.cells, theta=theta, n_min=n_min)
    alone = [v.feature for v in members if v.feature in feature.joint.members and v.outcome == "drift"]
    outcome = _OUTCOMES[found.verdict]
    told = ""
    if outcome == "drift" and alone:
        told = f"the features moved together; of themselves {', '.join(alone[:8])} did"
    elif outcome == "drift":
        told = "the features moved together (their dependence), though none of them moved alone"
    return FeatureVerdict(
        feature=feature.name, role=feature.role, kind=feature.kind, outcome=outcome, n=found.n, missing=0,
        distance=found.distance, distance_most=found.distance, threshold=found.threshold, d1=None, psi=None, js=None,
        wasserstein=None, kl=None, mean=None, sd=None, reference_mean=None, reference_sd=None, told=told,
    )  # fmt: skip
