"""Steps of time: a store's totals grouped by phase, and merged until there is enough in each to follow a drift."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import numpy as np

from edgekit.telemetry.reporter.window import FeatureCounts
from edgekit.telemetry.store import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.telemetry.reporter.reference import Feature
    from edgekit.telemetry.store import Totals

DAY_S = 24 * HOUR_S
STEPS_S = (HOUR_S, 3 * HOUR_S, 6 * HOUR_S, DAY_S)


def counts_in(totals: Totals, feature: Feature) -> FeatureCounts:
    """A feature's counts; empty where the totals have none."""
    counts = totals.features.get(feature.name)
    return FeatureCounts.empty(feature.size) if counts is None else counts


def merged(counts: Sequence[FeatureCounts]) -> FeatureCounts:
    """All of them together."""
    whole = counts[0]
    for other in counts[1:]:
        whole = whole.merge(other)
    return whole


def grouped(steps: Sequence[Totals], phase_of: Callable[[int], int]) -> dict[int, list[Totals]]:
    """Steps by the phase in which they begin."""
    groups: dict[int, list[Totals]] = {}
    for totals in steps:
        groups.setdefault(phase_of(totals.start_s), []).append(totals)
    return groups


def coarse_enough(
    steps: Sequence[Totals], feature: Feature, step_s: int, n_min: int
) -> tuple[int, list[tuple[int, FeatureCounts]]]:
    """Steps merged until the middle one has `n_min` values: (seconds a step, [(start, counts)])."""
    rows = [(totals.start_s, counts_in(totals, feature)) for totals in steps]
    for wider in [step_s, *(s for s in STEPS_S if s > step_s and s % step_s == 0)]:
        sums: dict[int, FeatureCounts] = {}
        for start, counts in rows:
            at = start // wider * wider
            sums[at] = sums[at].merge(counts) if at in sums else counts
        found = [(at, counts) for at, counts in sorted(sums.items()) if counts.n]
        if not found or float(np.median([counts.n for _, counts in found])) >= n_min or wider == STEPS_S[-1]:
            break
    return wider, found


def when(seconds: int) -> str:
    """A time as people and programs read it: `2026-11-27T17:00:00Z`."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(time: str) -> int:
    """The seconds since 1970 that `when` made a text of."""
    return int(datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp())
