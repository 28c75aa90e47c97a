"""Verdict: what a comparison says, by rules that were fixed before anything was measured.

With the tolerance τ (3 % unless the target says otherwise) and a 95 % interval for the ratio candidate / baseline:

    regressed     the whole interval lies above 1 + τ
    improved      the whole interval lies below 1 / (1 + τ)
    equivalent    it lies between the two
    inconclusive  anything else: `because` says what could have been seen, and how many blocks would have settled it
    incomparable  the two were not measured alike; `because` names the fields

"Equivalent" is a finding, not the absence of one: a noisy device never gives it (two one-sided tests, Schuirmann 1987).
A matrix of comparisons is judged by Holm's step-down method (1979), so that a hundred cells do not give five false
alarms.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit.bench.effect import Interval, exceeds, student

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.effect import Effect

TOLERANCE = 0.03
CONFIDENCE = 0.95
POWER = 0.95
_STOPPED = "a clearer comparison of the same call is inconclusive, and by Holm's method nothing after it is settled"

Outcome = Literal["regressed", "improved", "equivalent", "inconclusive", "incomparable"]


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outcome, the interval it stands on, and what the comparison could have seen.

    interval: at the level that the outcome was judged by; None where nothing could be computed.
    detectable: the smallest slow-down that it would have called regressed in 95 of 100 times, as a share (0.05 is 5 %).
    blocks: of the side that has fewer.
    """

    outcome: Outcome
    tolerance: float
    interval: Interval | None
    blocks: int
    detectable: float | None
    because: str = ""


def is_open(verdict: Verdict) -> bool:
    """Whether a regression is still possible: an interval that lies below 1 + τ leaves only how good the news is."""
    if verdict.outcome == "inconclusive":
        return verdict.interval is None or verdict.interval.high >= 1 + verdict.tolerance
    return verdict.outcome == "incomparable"


def judge(effects: Sequence[Effect], tolerance: float = TOLERANCE, confidence: float = CONFIDENCE) -> list[Verdict]:
    """The verdicts on comparisons that are read together, by Holm's method: one alone is judged at `confidence`.

    With the error rate e = 1 - `confidence`, the comparison that is clearest is judged at 1 - e/m, the next at
    1 - e/(m - 1), and so on; from the first that is inconclusive on, all are. The chance of any wrong outcome among
    them is at most e.
    """
    order = sorted(range(len(effects)), key=lambda k: least_alpha(effects[k], tolerance))
    verdicts: dict[int, Verdict] = {}
    stopped = False
    for rank, k in enumerate(order):
        level = 1 - (1 - confidence) / (len(effects) - rank)
        interval = effects[k].interval(level)
        outcome = classify(interval, tolerance)
        verdicts[k] = _verdict(effects[k], interval, outcome, tolerance)
        if stopped and outcome != "inconclusive":
            verdicts[k] = msgspec.structs.replace(verdicts[k], outcome="inconclusive", because=_STOPPED)
        stopped = stopped or outcome == "inconclusive"
    return [verdicts[k] for k in range(len(effects))]


def incomparable(because: str, *, blocks: int = 0, tolerance: float = TOLERANCE) -> Verdict:
    """The verdict on two runs that were not measured alike."""
    return Verdict("incomparable", tolerance, None, blocks, None, because)


def inconclusive(because: str, *, blocks: int = 0, tolerance: float = TOLERANCE) -> Verdict:
    """The verdict where there is too little to compute an interval of."""
    return Verdict("inconclusive", tolerance, None, blocks, None, because)


def classify(interval: Interval, tolerance: float) -> Outcome:
    """Where an interval lies."""
    if interval.low > 1 + tolerance:
        return "regressed"
    if interval.high < 1 / (1 + tolerance):
        return "improved"
    if 1 / (1 + tolerance) < interval.low and interval.high < 1 + tolerance:
        return "equivalent"
    return "inconclusive"


def least_alpha(effect: Effect, tolerance: float) -> float:
    """The smallest error rate at which a comparison is conclusive, by Student's t: it orders comparisons for Holm."""
    edge = math.log1p(tolerance)
    above = exceeds(effect.mean - edge, effect.error, effect.freedom)
    below = exceeds(-edge - effect.mean, effect.error, effect.freedom)
    inside = max(
        exceeds(edge - effect.mean, effect.error, effect.freedom),
        exceeds(edge + effect.mean, effect.error, effect.freedom),
    )
    return 2 * min(above, below, inside)


def blocks_needed(effect: Effect, tolerance: float = TOLERANCE, confidence: float = CONFIDENCE) -> int:
    """How many blocks a side would settle it in 95 of 100 times, should the ratio and the spread be what was found.

    The distance of the ratio from the nearer edge of the tolerance must be the interval's half-width, and as much as
    the next estimate may lie nearer to that edge besides. The half-width alone would settle every second one.
    """
    edge = math.log1p(tolerance)
    distance = abs(abs(effect.mean) - edge)
    if not effect.error:
        return effect.blocks
    if not distance:
        return 1 << 30
    spread = effect.error * math.sqrt(effect.blocks)
    blocks = effect.blocks
    for _ in range(20):  # the quantile depends on the count; it settles in a few rounds
        freedom = max(2, blocks - 1)
        wanted = ((student(confidence, freedom) + student(2 * POWER - 1, freedom)) * spread / distance) ** 2
        if wanted > 1 << 30:
            return 1 << 30
        following = max(3, math.ceil(wanted))
        if following == blocks:
            break
        blocks = following
    return blocks


def detectable(effect: Effect, tolerance: float = TOLERANCE, confidence: float = CONFIDENCE) -> float:
    """The smallest true slow-down that would be called regressed with a chance of 95 %, as a share."""
    reach = student(confidence, effect.freedom) + student(2 * POWER - 1, effect.freedom)
    return math.expm1(math.log1p(tolerance) + reach * effect.error)


def _verdict(effect: Effect, interval: Interval, outcome: Outcome, tolerance: float) -> Verdict:
    smallest = detectable(effect, tolerance, interval.confidence)
    because = ""
    if outcome == "inconclusive":
        needed = blocks_needed(effect, tolerance, interval.confidence)
        wanted = f"about {needed} blocks a side would settle it" if needed <= 1000 else "more blocks will not settle it"
        because = (
            f"the interval from {interval.low - 1:+.1%} to {interval.high - 1:+.1%} reaches across an edge of "
            f"±{tolerance:.1%}; with {effect.blocks} blocks a side a slow-down of {smallest:.1%} or more would have "
            f"been seen, and {wanted}"
        )
    return Verdict(outcome, tolerance, interval, effect.blocks, smallest, because)
