"""A joint for a reference: which frequencies, what they sum to, and how far quiet windows lie from that.

The frequencies are draws of the Gaussian kernel's spectrum. Its bandwidth is half of the median distance between rows
(in scores): the whole median (Gretton et al. 2012) is what suits a shift of everything, and finds a correlation of .6
between two of ten features in 1,000 rows a little less often. All draws are written into the reference: who reads it
draws none.

The noise floor is as for cells (`calibration`): independent rows differ by a quadratic form of normal values, whose
quantile follows from its first three moments (Hall, Buckley and Eagleson), times the design effect of the reference's
own blocks. Where they show dependence, their covariance takes the place of the rows' own: a stream wanders along some
directions more than along others. An allowance for means that wander by .02 standard deviations is added. Nothing below
what one feature's shift of an eighth of a standard deviation moves the vector by is drift: that is a distance of .05.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from edgekit.telemetry.references.calibration import (
    FALSE_ALARMS,
    FEWEST_BLOCKS,
    SIZES,
    SMALLEST_BLOCK,
    effect_at,
    risen,
)
from edgekit.telemetry.reporter.distance import THETA
from edgekit.telemetry.reporter.joint import (
    LARGEST_FACTOR,
    LARGEST_SCORE,
    MAX_MEMBERS,
    MIDDLE,
    SCORE_UNIT,
    TURN,
    Joint,
    NumpySums,
)
from edgekit.telemetry.reporter.reference import INPUT, JOINT, NUMBER, Feature
from edgekit.telemetry.reporter.window import FeatureCounts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Values = np.ndarray | Sequence[str | int | None]

FREQUENCIES = 128
SEED = 41
BANDWIDTH = 0.5
"""Of the median distance between rows."""
WANDER, MATTERS = 0.02, 0.125
"""Standard deviations that a mean may wander by unheard, and that one feature must move by to matter."""
CHUNK = 8192
BLOCKS_OF_SHAPE = 100
"""So many blocks tell how a stream's wandering is shaped; fewer would make it look simpler than it is."""
MOST_ROWS = 1_000_000


def joint_of(
    features: Sequence[Feature], columns: Mapping[str, Values], *, role: str = INPUT, tensor: str = "",
    name: str = "joint",
) -> Feature | None:  # fmt: skip
    """How the numbers among some features go together.

    Args:
        features: of one row, with their cells; numbers of `role` are looked at, the first 64 of them.
        columns: their values by name, `(n,)` each, in the order of recording, NaN where missing; others may be there.
        role, tensor, name: of the joint; `tensor` empty for tensors that are numbers themselves.

    Returns:
        The joint as a feature; None where there are not two numbers that vary.
    """
    members = [
        feature
        for feature in features
        if feature.kind == NUMBER and feature.role == role and sum(count > 0 for count in feature.cells) > 1
    ][:MAX_MEMBERS]
    if len(members) < 2:
        return None
    scores = tuple(_scores(feature) for feature in members)
    values = np.array([np.asarray(columns[f.name][:MOST_ROWS], dtype=np.float64) for f in members])
    rng = np.random.default_rng(SEED)
    joint = Joint(tuple(f.name for f in members), scores, _frequencies(scores, members, values, rng), 1.0)
    summed = _Summed(joint, members, values)
    joint = joint._replace(scale=float(f"{summed.matters() / THETA:.6g}"))
    made = Feature(name, JOINT, role, tensor, "joint", cells=summed.vector, joint=joint)
    return made._replace(floors=summed.floors(joint.scale, len(features) + 1))


def joint_counts_of(feature: Feature, features: Sequence[Feature], columns: Mapping[str, Values]) -> FeatureCounts:
    """What a device that takes every row would have summed.

    Args:
        feature: the joint.
        features: its members among others.
        columns: values by name, `(n,)` each.
    """
    joint = feature.joint
    assert joint is not None
    edges = {each.name: each.edges for each in features}
    sums = NumpySums(np, joint, [edges[name] for name in joint.members])
    values = np.array([np.asarray(columns[name], dtype=np.float64) for name in joint.members])
    total = np.zeros(feature.size, dtype=np.int64)
    for start in range(0, values.shape[1], CHUNK):
        total += np.array(sums(values[:, start : start + CHUNK]))
    return FeatureCounts(tuple(total.tolist()))


def _scores(feature: Feature) -> tuple[int, ...]:
    """The normal score of each cell's middle rank; what lies outside all that was seen has the largest."""
    normal = NormalDist()
    found = []
    below = 0
    for count in feature.cells:
        rank = (below + count / 2) / feature.n
        limit = LARGEST_SCORE / SCORE_UNIT
        score = -limit if rank <= 0 else limit if rank >= 1 else normal.inv_cdf(rank)
        found.append(max(-LARGEST_SCORE, min(LARGEST_SCORE, round(score * SCORE_UNIT))))
        below += count
    return tuple(found)


def _frequencies(
    scores: tuple[tuple[int, ...], ...], members: Sequence[Feature], values: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[int, ...], ...]:
    chosen = values[:, rng.integers(0, values.shape[1], (2, 2000))]
    points = np.array([
        np.array(own, dtype=float)[np.searchsorted(np.array(feature.edges), column, side="right")]
        for own, feature, column in zip(scores, members, chosen, strict=True)
    ])  # fmt: skip
    median = float(np.median(np.sqrt(((points[:, 0] - points[:, 1]) ** 2).sum(axis=0)))) or float(SCORE_UNIT)
    factors = rng.normal(size=(FREQUENCIES, len(members))) / (BANDWIDTH * median) * TURN / (2 * math.pi)
    whole = np.clip(np.rint(factors), -LARGEST_FACTOR, LARGEST_FACTOR).astype(int)
    return tuple(tuple(row) for row in whole.tolist())


class _Summed:
    """What the reference's rows sum to, and how much that varies; everything as mean vectors of unit features."""

    def __init__(self, joint: Joint, members: Sequence[Feature], values: np.ndarray) -> None:
        self._joint = joint
        self._n = values.shape[1]
        sums = NumpySums(np, joint, [feature.edges for feature in members])
        size = 2 * len(joint.frequencies)
        total, squares = np.zeros(size, dtype=np.int64), np.zeros((size, size))
        blocks = np.zeros((self._n // SMALLEST_BLOCK, size))
        step = CHUNK // SMALLEST_BLOCK * SMALLEST_BLOCK
        for start in range(0, self._n, step):
            rows = sums.features(values[:, start : start + step])
            total += rows.sum(axis=0, dtype=np.int64)
            centred = rows.astype(np.float64) / MIDDLE - 1
            squares += centred.T @ centred
            whole = len(rows) // SMALLEST_BLOCK
            means = centred[: whole * SMALLEST_BLOCK].reshape(whole, SMALLEST_BLOCK, size).mean(axis=1)
            blocks[start // SMALLEST_BLOCK : start // SMALLEST_BLOCK + whole] = means
        self.vector = (self._n, *total.tolist())
        self._mean = total / (self._n * MIDDLE) - 1
        self._covariance = squares / self._n - np.outer(self._mean, self._mean)
        self._blocks = blocks
        # How the mean vector moves when one member's score moves by a standard deviation, (members, size).
        omega = np.array(joint.frequencies).T * (2 * math.pi / TURN * SCORE_UNIT)
        half = len(joint.frequencies)
        self._moves = np.concatenate([-omega * self._mean[half:], omega * self._mean[:half]], axis=1)

    def matters(self) -> float:
        """The distance of mean vectors, before any scale, that one member's shift of `MATTERS` makes."""
        squares = (self._moves**2).sum(axis=1).mean() * MATTERS**2
        return max(1e-3, math.sqrt(float(squares) / len(self._joint.frequencies)))

    def floors(self, scale: float, features: int) -> tuple[tuple[int, float], ...]:
        """The table of (n, floor), as of cells; empty if no window is long enough to tell anything."""
        wander = self._moves.T @ self._moves * WANDER**2
        effects = self._effects()
        own = self._shape(effects)
        products = [np.trace(own), np.trace(wander), np.sum(own * own), np.sum(own * wander), np.sum(wander * wander)]
        both = own @ wander
        products += [
            np.sum(own @ own * own),
            np.sum(own * both),
            np.sum(both * wander),
            np.sum(wander @ wander * wander),
        ]
        z = NormalDist().inv_cdf(1 - FALSE_ALARMS / features)
        table: list[tuple[int, float]] = []
        for n in SIZES:
            a = effect_at(effects, n) * (1 / n + 1 / self._n)
            first = a * products[0] + products[1]
            second = a * a * products[2] + 2 * a * products[3] + products[4]
            third = a**3 * products[5] + 3 * a * a * products[6] + 3 * a * products[7] + products[8]
            limit = math.sqrt(_quantile(first, second, third, z) / len(self._joint.frequencies)) / scale
            # A joint's distance may be above 1, and a floor may not: it is told from the size on where it fits.
            if limit <= 1 and (not table or limit < 0.99 * table[-1][1]):
                table.append((n, float(f"{limit:.4g}")))
        return tuple(table)

    def _shape(self, effects: dict[int, float]) -> np.ndarray:
        """The covariance of independent rows; of a stream that of its blocks, scaled to the same trace."""
        if max(effects.values(), default=1.0) == 1.0:
            return np.asarray(self._covariance)
        blocks = self._blocks
        while len(blocks) >= 2 * BLOCKS_OF_SHAPE:
            half = len(blocks) // 2 * 2
            blocks = (blocks[0:half:2] + blocks[1:half:2]) / 2
        centred = blocks - blocks.mean(axis=0)
        shape = centred.T @ centred
        return np.asarray(shape * float(np.trace(self._covariance) / np.trace(shape)))

    def _effects(self) -> dict[int, float]:
        """The design effect by block length."""
        effects: dict[int, float] = {}
        effect, length, means = 1.0, SMALLEST_BLOCK, self._blocks
        independent = float(np.trace(self._covariance))
        while len(means) >= FEWEST_BLOCKS and independent > 0:
            spread = float(((means - means.mean(axis=0)) ** 2).sum()) / (len(means) - 1)
            effect = effects[length] = risen(effect, spread / (independent / length), len(means))
            half = len(means) // 2 * 2
            means, length = (means[0:half:2] + means[1:half:2]) / 2, 2 * length
        return effects


def _quantile(first: float, second: float, third: float, z: float) -> float:
    """Of a weighted sum of squared normal values whose weights, their squares and their cubes have these sums.

    It is compared with the chi-squared distribution of the same three moments, whose quantile is Wilson and Hilferty's
    for the normal quantile z.
    """
    degrees = second**3 / third**2
    chi = degrees * (1 - 2 / (9 * degrees) + z * math.sqrt(2 / (9 * degrees))) ** 3
    return first + math.sqrt(second / degrees) * (chi - degrees)
