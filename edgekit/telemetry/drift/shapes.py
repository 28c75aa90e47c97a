"""The kind of a drift, from how far a feature was from its reference at each of many steps of time.

    sudden      from one step to the next, and it stayed
    gradual     over several steps
    periodic    up and down with a period of a day or a week: the reference may lack the cycle (`--phase`)
    temporary   it is over: the last steps are quiet again

What is looked at is signed, at the one place of the distribution where the judged window differs the most: a drift that
turns round is seen to do so. A period explains the steps if their folded means do (adjusted R² of .6); a ramp explains
them better than a jump if it leaves a third less of the squares. Nothing here decides whether there is a drift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.telemetry.drift.verdict import Shape

FEWEST_STEPS = 6
EXPLAINED = 0.6
CYCLES = 2.5
"""A period is believed once it was seen this often."""
BETTER = 1.5
MOST_STEPS = 100


class Course(NamedTuple):
    """The kind, and the step at which it began; None where the steps do not tell."""

    shape: Shape | None
    began: int | None


def course_of(deviations: np.ndarray, thresholds: np.ndarray, periods: Sequence[int] = ()) -> Course:
    """The kind of a drift that the judged window has.

    Args:
        deviations: `(T,)`, signed differences of the shares at one place, oldest first.
        thresholds: `(T,)`, how large they may be at each step.
        periods: lengths, in steps, of the cycles to look for.
    """
    steps = len(deviations)
    if steps < FEWEST_STEPS:
        return Course(None, None)
    if steps > MOST_STEPS and not periods:
        return _coarser(deviations, thresholds)
    beyond = np.abs(deviations) > thresholds
    for period in periods:
        if steps >= CYCLES * period and _folds(deviations, period) and beyond.any():
            return Course("periodic", int(np.argmax(beyond)))
    if steps > MOST_STEPS:
        return _coarser(deviations, thresholds)
    after = max(2, steps // 10)
    if beyond.any() and not beyond[-after:].any():
        return Course("temporary", int(np.argmax(beyond)))
    return _change(deviations)


def _coarser(deviations: np.ndarray, thresholds: np.ndarray) -> Course:
    factor = -(-len(deviations) // MOST_STEPS)
    usable = len(deviations) // factor * factor
    first = len(deviations) - usable
    folded = [array[first:].reshape(-1, factor).mean(axis=1) for array in (deviations, thresholds)]
    shape, began = course_of(*folded)
    return Course(shape, None if began is None else first + began * factor)


def _folds(deviations: np.ndarray, period: int) -> bool:
    steps = len(deviations)
    phase = np.arange(steps) % period
    means = np.bincount(phase, deviations, minlength=period) / np.bincount(phase, minlength=period)
    total = float(((deviations - deviations.mean()) ** 2).sum())
    left = float(((deviations - means[phase]) ** 2).sum())
    if total <= 0 or steps - period < 1:
        return False
    return 1 - (left / (steps - period)) / (total / (steps - 1)) > EXPLAINED


def _change(deviations: np.ndarray) -> Course:
    """A jump or a ramp, whichever leaves less; all pairs of beginning and end are tried."""
    steps = len(deviations)
    begin, end = np.array([(a, b) for a in range(steps - 1) for b in range(a + 1, steps)]).T
    ramp = np.clip((np.arange(steps) - begin[:, None]) / (end - begin)[:, None], 0, 1)
    centred = ramp - ramp.mean(axis=1, keepdims=True)
    values = deviations - deviations.mean()
    slope = (centred @ values) / (centred**2).sum(axis=1)
    left = (values**2).sum() - slope**2 * (centred**2).sum(axis=1)
    jumps = end - begin == 1
    jump, best = int(np.argmin(np.where(jumps, left, np.inf))), int(np.argmin(left))
    before, after = deviations[: end[jump]].mean(), deviations[end[jump] :].mean()
    if abs(before) > abs(after) / 2:
        return Course(None, 0)  # it was there from the first step on
    if end[best] - begin[best] >= 3 and left[jump] > BETTER * left[best]:
        return Course("gradual", int(begin[best]) + 1)
    return Course("sudden", int(end[jump]))
