"""Noise floors: how far quiet windows of n values lie from their reference, calibrated on the reference itself.

Independent draws lie about `sqrt(1/n + 1/N)` apart, and Kolmogorov's distribution says how far at most. Streams of
sensors are no independent draws: neighbours resemble each other, and hours and days differ. So the reference is cut
into blocks in the order in which it was recorded, and each block is compared with the rest: the mean square of those
differences over what independent draws would give is the *design effect* of that block length (Kish 1965). It is 1 for
independent draws, tends to a constant for a short memory (about 13 for an AR(1) process of .9), and grows with
the length where the level itself wanders. The floor for windows of n values is

    K × sqrt(design_effect(n) × (1/n + 1/N) + OFFSET)

K is Kolmogorov's quantile for what a whole window may cost: `FALSE_ALARMS` shared by all features of the reference.
OFFSET is an allowance for what no two quiet windows agree in: a wandering of the mean by .02 standard deviations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

FALSE_ALARMS = 0.005
"""False alarms per quiet window, over all features: half of the 1 % that are promised."""
OFFSET = (0.02 / math.sqrt(2 * math.pi)) ** 2 / 0.25
"""A shift of a normal distribution's mean by .02 standard deviations moves its median's share by .008; squared, and in
the units of 1/n: the variance of a share is at most .25/n."""
SMALLEST_BLOCK = 50
FEWEST_BLOCKS = 8
_STEPS = (100, 112, 125, 140, 160, 180, 200, 224, 250, 280, 315, 355, 400, 450, 500, 560, 630, 710, 800, 900)
SIZES = tuple(step * 10**decade for decade in range(5) for step in _STEPS if step * 10**decade >= 200)
"""Window sizes that floors are kept for: 200 to 9 million, twenty a decade."""


def quantile(features: int, false_alarms: float = FALSE_ALARMS) -> float:
    """The quantile of Kolmogorov's distribution that one of so many features exceeds in its share of `false_alarms`."""
    return math.sqrt(-math.log(false_alarms / max(1, features) / 2) / 2)


def block_lengths(n: int) -> list[int]:
    """Block lengths to try, doubling, so that there are at least `FEWEST_BLOCKS` of each."""
    lengths = []
    length = SMALLEST_BLOCK
    while length * FEWEST_BLOCKS <= n:
        lengths.append(length)
        length *= 2
    return lengths


def design_effects(cell_of: np.ndarray, size: int, *, ordered: bool) -> dict[int, float]:
    """The design effect by block length, never falling; it rises only where chance does not explain the rise.

    Args:
        cell_of: `(N,)` integers, the cell of each value in the order of recording.
        size: number of cells.
        ordered: whether cells are those of a number, whose cumulative shares count, or categories.

    Returns:
        Block length to design effect, by increasing length; empty where the reference is too short for blocks.
    """
    effects = {}
    effect = 1.0
    n = len(cell_of)
    for length in block_lengths(n):
        blocks = n // length
        used = cell_of[: blocks * length]
        flat = used + size * (np.arange(len(used)) // length)
        shares = np.bincount(flat, minlength=blocks * size).reshape(blocks, size) / length
        effect = effects[length] = risen(effect, design_effect(shares, length, ordered=ordered), blocks)
    return effects


def risen(effect: float, found: float, blocks: int) -> float:
    """`found`, if it is above `effect` by more than so few blocks would give by chance (2.5 standard errors)."""
    return found if found > effect * (1 + 2.5 / math.sqrt(blocks)) else effect


def design_effect(shares: np.ndarray, length: int, *, ordered: bool) -> float:
    """Of blocks of one length, `(blocks, cells)` shares: their mean square distance over that of independent draws."""
    if len(shares) < 2:
        return 1.0
    if ordered:
        shares = np.cumsum(shares, axis=1)
    mean = shares.mean(axis=0)
    independent = float((mean * (1 - mean)).sum()) / length
    if independent <= 0:
        return 1.0
    # A block against the rest is (share - mean) × B/(B-1), which independent draws give a variance of p(1-p)/length ×
    # B/(B-1): their ratio is the sample variance over p(1-p)/length.
    return float(((shares - mean) ** 2).sum()) / (len(shares) - 1) / independent


def floors(
    effects: dict[int, float], n_reference: int, features: int, false_alarms: float = FALSE_ALARMS
) -> tuple[tuple[int, float], ...]:
    """The table of (n, floor), never rising with n, without the sizes that change it by less than a hundredth.

    Args:
        effects: from `design_effects`.
        n_reference: N, the values of the reference.
        features: how many features the reference has.
        false_alarms: see `FALSE_ALARMS`.
    """
    if not n_reference:
        return ()
    k = quantile(features, false_alarms)
    table: list[tuple[int, float]] = []
    for n in SIZES:
        floor = min(1.0, k * math.sqrt(effect_at(effects, n) * (1 / n + 1 / n_reference) + OFFSET))
        if not table or floor < 0.99 * table[-1][1]:
            table.append((n, float(f"{floor:.4g}")))
    return tuple(table)


def effect_at(effects: dict[int, float], n: int) -> float:
    """The design effect for windows of n values: that of the longest blocks up to that length.

    Beyond the longest blocks it goes on growing if it still grew there: a level that wanders does not average out.
    """
    if not effects:
        return 1.0
    lengths: Sequence[int] = list(effects)
    longest = lengths[-1]
    effect = max((effects[length] for length in lengths if length <= n), default=effects[lengths[0]])
    if n > longest and len(lengths) > 2:
        earlier = effects[lengths[-3]]
        if effects[longest] > 1.25 * earlier:
            effect += (effects[longest] - earlier) / (longest - lengths[-3]) * (n - longest)
    return effect
