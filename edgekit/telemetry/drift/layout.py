"""Layout: all features of a reference as flat arrays, so that one pass of NumPy judges all of them.

The cells of all features lie one after another, feature f from `starts[f]` to `starts[f] + sizes[f]`. Shares of a
feature sum to 1 in the reference and in the window, so one cumulative sum over all of them is the cumulative sum of
each. Made once for a reference, and used for every window of it.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgekit.telemetry.reporter.distance import ALPHA
from edgekit.telemetry.reporter.reference import NUMBER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.telemetry.reporter.reference import Feature

GROUPS = 16
"""D1, PSI and JS compare this many parts of equal mass: over all cells they would mostly measure chance."""


class Noise(NamedTuple):
    """Of windows of given sizes, `(F,)` each.

    Attributes:
        floors: the distances that quiet windows stay below.
        dependence: how much neighbours resemble each other: the variance of the calibrated floors over that of
            independent draws, at least 1.
    """

    floors: np.ndarray
    dependence: np.ndarray


class Layout:
    """Features, one after another.

    Attributes:
        features: in the order of all arrays.
        starts, sizes: `(F,)`, where the cells of a feature begin, and how many they are.
        feature_of: `(C,)`, the feature of each cell.
        n: `(F,)` float, the reference's values.
        missing: `(F,)` float, how many more were missing.
        shares: `(C,)`, the reference's shares; 0 where a feature has no counts.
        numbers: `(F,)` bool, whether a feature is a number.
        group_of: `(C,)`, the group of each cell, counted over all features; `feature_of_group`: `(G,)`.
        group_shares: `(G,)`, the reference's shares of the groups.
        group_starts: `(G,)`, the first cell of each group.
        open: `(C,)`, 1 for the cells of numbers that hold more than a single value, else 0; `open_shares` are the
            reference's shares of those.
        widths: `(C,)`, from a cell's lower edge to its upper one; 0 for what has not both, and for categories.
        sd: `(F,)`, the reference's standard deviation; NaN for a category.
        names, roles, kinds, means, known_sds: of each feature, as lists; None where there is none.
        first, last: `(F,)`, the outermost edges; NaN where there are none.
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        self.features = tuple(features)
        self.sizes = np.array([feature.size for feature in features], dtype=np.intp)
        self.starts = np.concatenate(([0], np.cumsum(self.sizes)[:-1])).astype(np.intp)
        self.feature_of = np.repeat(np.arange(len(self.sizes)), self.sizes)
        cells = np.array([count for feature in features for count in feature.cells], dtype=float)
        self.n = np.bincount(self.feature_of, cells, minlength=len(self.sizes))
        self.shares = cells / np.maximum(self.n, 1)[self.feature_of]
        self.missing = np.array([feature.missing for feature in features], dtype=float)
        self.numbers = np.array([feature.kind == NUMBER for feature in features], dtype=bool)
        self.sd = np.array([_sd(feature) for feature in features], dtype=float)
        self.names, self.roles, self.kinds, self.means = (
            [getattr(feature, name) for feature in features] for name in ("name", "role", "kind", "mean")
        )
        self.known_sds: list[float | None] = [None if value != value else value for value in self.sd.tolist()]
        ends = [(f.edges[0], f.edges[-1]) if f.edges else (math.nan, math.nan) for f in features]
        self.first, self.last = np.array(ends, dtype=float).reshape(-1, 2).T
        self._group()
        self._intervals()
        self._floors()

    def _group(self) -> None:
        """Numbers in groups of equal mass of the reference, in order; each category by itself."""
        cumulative = np.cumsum(self.shares) - self.feature_of.astype(float)  # each feature before it sums to 1
        empty = np.concatenate(([0], np.cumsum(self.n == 0)[:-1]))[self.feature_of]
        middle = np.clip(cumulative + empty - self.shares / 2, 0, 1 - 1e-9)
        within = np.arange(len(self.shares)) - self.starts[self.feature_of]
        part = np.where(self.numbers[self.feature_of], np.floor(middle * GROUPS).astype(np.intp), within)
        new = np.ones(len(part), dtype=bool)
        new[1:] = (part[1:] != part[:-1]) | (self.feature_of[1:] != self.feature_of[:-1])
        self.group_of = np.cumsum(new) - 1
        self.group_starts = np.flatnonzero(new)
        self.feature_of_group = self.feature_of[new]
        self.group_shares = np.bincount(self.group_of, self.shares)

    def _intervals(self) -> None:
        self.widths = np.zeros(len(self.shares))
        self.open = np.zeros(len(self.shares))
        for start, size, feature in zip(self.starts.tolist(), self.sizes.tolist(), self.features, strict=True):
            if feature.kind != NUMBER:
                continue
            edges = np.array(feature.edges)
            self.open[start : start + size] = 1.0
            if size > 2:
                self.widths[start + 1 : start + size - 1] = np.diff(edges)
                self.open[start + 1 : start + size - 1] = edges[1:] > np.nextafter(edges[:-1], np.inf)
        self.open_shares = self.shares * self.open

    def _floors(self) -> None:
        longest = max((len(feature.floors) for feature in self.features), default=0)
        self._sizes = np.full((len(self.features), longest + 1), np.inf)
        self._floor = np.zeros((len(self.features), longest + 1))
        for row, feature in enumerate(self.features):
            for column, (n, floor) in enumerate(feature.floors):
                self._sizes[row, column], self._floor[row, column] = n, floor

    def calibrated_floors(self, n: np.ndarray) -> np.ndarray:
        """The reference's own noise floors for `(F,)` values: `distance.calibrated_floor` of each feature."""
        at = np.maximum((self._sizes <= n[:, None]).sum(axis=1) - 1, 0)
        rows = np.arange(len(at))
        sizes, floors = self._sizes[rows, at], self._floor[rows, at]
        below = np.isfinite(sizes) & (n < sizes)
        grown = floors * np.sqrt(np.where(below, sizes, 1) / np.maximum(n, 1))
        return np.where(n > 0, np.minimum(1.0, np.where(below, grown, floors)), 0.0)

    def sampling_floors(self, n: np.ndarray) -> np.ndarray:
        """What independent draws can give: `distance.sampling_floor` of each feature."""
        unit = math.sqrt(-math.log(ALPHA / 2) / 2)
        with np.errstate(divide="ignore"):
            found = unit * np.sqrt(1 / n + 1 / self.n)
        return np.where((n > 0) & (self.n > 0), np.minimum(1.0, found), 1.0)

    def noise(self, n: np.ndarray) -> Noise:
        """What quiet windows of `(F,)` values differ by."""
        calibrated, sampling = self.calibrated_floors(n), self.sampling_floors(n)
        return Noise(np.maximum(calibrated, sampling), np.maximum(1.0, (calibrated / sampling) ** 2))

    def thresholds(self, n: np.ndarray, theta: float) -> np.ndarray:
        """The distance above which a window of `(F,)` values has drifted: `distance.threshold_of` of each feature."""
        return np.asarray(np.maximum(theta, self.noise(n).floors))

    def flat(self, cells: Sequence[Sequence[int]]) -> np.ndarray:
        """Counts of each feature, one after another, as `(C,)` floats.

        Raises:
            ValueError: another number of features or cells.
        """
        sizes = [len(of) for of in cells]
        if sizes != self.sizes.tolist():
            raise ValueError(f"counts over {sizes} cells do not fit features of {self.sizes.tolist()}")
        whole = np.fromiter(itertools.chain.from_iterable(cells), dtype=np.int64, count=len(self.feature_of))
        return whole.astype(float)


def _sd(feature: Feature) -> float:
    if feature.m2 is None or feature.n < 2:
        return math.nan
    return math.sqrt(max(0.0, feature.m2) / (feature.n - 1))
