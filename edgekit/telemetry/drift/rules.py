"""Rules: what goes wrong most often on devices needs no distance to be seen, and says what it is.

    missing            another share of missing values or NaN than in the reference
    infinite           infinities
    out_of_range       values outside the range that the reference calls possible
    beyond_reference   values below or above everything that the reference saw: a unit, a sentinel, a broken sensor
    constant           all values are the same, which the reference's are not
    stuck              one value far more often than in the reference, while its neighbours are not
    sentinel           the same with a value that was declared to mean "no value"
    unseen             categories that the reference does not have

A share breaks a rule when it exceeds the reference's by a margin and by what chance gives: Bernstein's bound, its
variance multiplied by the reference's own dependence between neighbours, at a probability that all rules of all
features and cells share. Rules stay silent below `n_min`, like distances.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgekit.telemetry.drift.verdict import Broken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.telemetry.drift.distances import Distances
    from edgekit.telemetry.drift.layout import Layout
    from edgekit.telemetry.reporter.window import FeatureCounts

MISSING, INFINITE, OUT_OF_RANGE, BEYOND, STUCK, UNSEEN = 0.02, 0.001, 0.005, 0.02, 0.03, 0.005
"""Margins: shares that nobody needs to hear of."""
FALSE_ALARMS = 0.001
"""Of a quiet window, over all rules, features and cells."""
ISOLATED = 4.0
"""A stuck value has this many times the surplus of the cells beside it."""


class Tallies(NamedTuple):
    """What windows counted beside their cells, `(F,)` each; `lowest` and `highest` are infinite where there is none."""

    missing: np.ndarray
    infinite: np.ndarray
    outside: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    m2: np.ndarray

    @classmethod
    def of(cls, windows: Sequence[FeatureCounts]) -> Tallies:
        """Those of one window a feature."""
        rows = [
            (missing, above + below, outside, lowest, highest, m2)
            for _, missing, above, below, outside, lowest, highest, _, m2 in windows
        ]
        return cls(*np.array(rows, dtype=float).reshape(-1, 6).T)


def broken_rules(
    layout: Layout, found: Distances, windows: Sequence[FeatureCounts], tallies: Tallies, dependence: np.ndarray,
    n_min: int,
) -> dict[int, tuple[Broken, ...]]:  # fmt: skip
    """The rules that features broke, by the feature's index; those that broke none are not in it.

    Args:
        layout: the reference's features.
        found: their distances.
        windows: their counts; `tallies` has them as arrays.
        tallies: see `Tallies`.
        dependence: `(F,)`, see `layout.Noise`.
        n_min: values below which nothing is said.
    """
    broken: dict[int, list[Broken]] = {}
    missing, infinite, outside, lowest, highest, _ = tallies
    at_least_one = np.maximum(found.n, 1)
    chance = math.log((len(layout.shares) + 8 * len(windows)) / FALSE_ALARMS)
    _missing(layout, missing, found.n + missing, dependence, chance, n_min, broken)
    seldom = 3 / np.maximum(layout.n, 3)  # what was never seen among N may have this share
    allowed = _bound(seldom, at_least_one, dependence, chance)
    judged = (found.n >= n_min) & (layout.n > 0)
    below, above = found.differences[layout.starts], found.differences[layout.starts + layout.sizes - 1]
    beyond = np.maximum(below, above) > np.maximum(np.where(layout.numbers, BEYOND, UNSEEN), allowed)
    odd = (infinite > 1) | (outside > OUT_OF_RANGE * found.n) | (lowest == highest) | beyond
    for f in np.flatnonzero(odd & (found.n >= n_min)).tolist():  # the few that need a closer look
        feature, window, n, chance_of_it = layout.features[f], windows[f], float(found.n[f]), float(allowed[f])
        own = broken.setdefault(f, [])
        if layout.numbers[f]:
            _plain(own, window, n, chance_of_it)
            if judged[f]:
                _beyond(own, layout, found, window, f, max(BEYOND, chance_of_it))
        elif judged[f]:
            share = window.cells[-1] / n
            limit = max(UNSEEN, chance_of_it) + feature.cells[-1] / float(layout.n[f])
            if share > limit:
                told = f"{share:.1%} of the values are categories that the reference does not have"
                own.append(Broken("unseen", share, limit, told))
    _stuck(layout, found, windows, dependence, chance, judged, broken)
    return {f: tuple(of) for f, of in broken.items() if of}


def _bound(p: np.ndarray | float, n: np.ndarray | float, dependence: np.ndarray | float, chance: float) -> np.ndarray:
    """By how much a share of p among n values may exceed p: Bernstein's inequality."""
    scaled = chance * dependence / n
    return np.asarray(np.sqrt(2 * p * scaled) + scaled / 3)


def _missing(
    layout: Layout, missing: np.ndarray, total: np.ndarray, dependence: np.ndarray, chance: float, n_min: int,
    broken: dict[int, list[Broken]],
) -> None:  # fmt: skip
    before = layout.missing
    expected = before / np.maximum(layout.n + before, 1)
    share = missing / np.maximum(total, 1)
    noise = _bound(np.maximum(expected, 1 / np.maximum(layout.n + before, 1)), np.maximum(total, 1), dependence, chance)
    limit = np.maximum(MISSING, noise)
    for f in np.flatnonzero((np.abs(share - expected) > limit) & (total >= n_min) & (layout.n + before > 0)).tolist():
        told = f"{share[f]:.1%} of the values are missing or NaN, where the reference has {expected[f]:.1%}"
        broken.setdefault(f, []).append(Broken("missing", float(share[f]), float(expected[f] + limit[f]), told))


def _plain(broken: list[Broken], window: FeatureCounts, n: float, allowed: float) -> None:
    infinite = window.positive_infinite + window.negative_infinite
    if infinite > 1 and infinite / n > INFINITE:
        told = f"{infinite} of the values are infinite"
        broken.append(Broken("infinite", infinite / n, INFINITE, told))
    share = window.out_of_range / n
    limit = max(OUT_OF_RANGE, allowed)
    if share > limit:
        extremes = f" (from {window.min:.6g} to {window.max:.6g})" if window.has_moments else ""
        told = f"{share:.1%} of the values are outside the valid range{extremes}"
        broken.append(Broken("out_of_range", share, limit, told))


def _beyond(
    broken: list[Broken], layout: Layout, found: Distances, window: FeatureCounts, f: int, limit: float
) -> None:
    n, feature = float(found.n[f]), layout.features[f]
    if window.has_moments and window.min == window.max and feature.min != feature.max:
        told = f"all values are {window.min:.6g}"
        broken.append(Broken("constant", 1.0, 0.0, told))
    if not feature.edges:
        return
    for cell, side, extreme in ((0, "below", window.min), (-1, "above", window.max)):
        share = window.cells[cell] / n
        if share > limit + feature.cells[cell] / float(layout.n[f]):
            seen = feature.min if cell == 0 else feature.max
            known = "" if seen is None or not math.isfinite(extreme) else f" (to {extreme:.6g}; it has {seen:.6g})"
            told = f"{share:.1%} of the values are {side} everything that the reference saw{known}"
            broken.append(Broken("beyond_reference", share, limit, told))


def _stuck(
    layout: Layout, found: Distances, windows: Sequence[FeatureCounts], dependence: np.ndarray, chance: float,
    judged: np.ndarray, broken: dict[int, list[Broken]],
) -> None:  # fmt: skip
    cells = np.flatnonzero(found.differences > STUCK)
    if not len(cells):
        return
    # All candidates at once, since a feature that moved by much has many of them.
    owner = layout.feature_of[cells]
    surplus = found.differences[cells]
    p = np.maximum(layout.shares[cells], 1 / np.maximum(layout.n[owner], 1))
    limits = np.maximum(STUCK, _bound(p, np.maximum(found.n[owner], 1), dependence[owner], chance))
    within = cells - layout.starts[owner]
    inner = (within > 0) & (within < layout.sizes[owner] - 1)  # `beyond_reference` has the others
    kept = inner & layout.numbers[owner] & judged[owner] & (surplus > limits)
    beside = np.zeros(len(cells))
    for step in (-1, 1):  # a neighbour that the reference has values in settles it, else look further below
        neighbour, at = cells[kept] + step, within[kept] + step
        inside = (at > 0) & (at < layout.sizes[owner[kept]] - 1)  # `_surplus` does not look at the outermost either
        settled = np.where(inside & (layout.shares[neighbour] > 0), found.differences[neighbour], 0.0)
        beside[kept] = np.maximum(beside[kept], settled)
    kept &= surplus >= ISOLATED * beside
    for cell, f, extra, limit in zip(*(a[kept].tolist() for a in (cells, owner, surplus, limits)), strict=True):
        feature, window = layout.features[f], windows[f]
        if extra < ISOLATED * max(_surplus(layout, found, f, cell, -1), _surplus(layout, found, f, cell, 1)):
            continue
        if window.has_moments and window.min == window.max:
            continue  # `constant` has said it
        at = cell - int(layout.starts[f])
        low, high = feature.edges[at - 1], feature.edges[at]
        single = not layout.open[cell]
        where = f"are {low:.6g}" if single else f"lie between {low:.6g} and {high:.6g}"
        expected = float(layout.shares[cell])
        share = extra + expected
        rule = "sentinel" if single and feature.cells[at] == 0 else "stuck"
        told = f"{share:.1%} of the values {where}, where the reference has {expected:.1%}"
        broken.setdefault(f, []).append(Broken(rule, share, expected + limit, told))


def _surplus(layout: Layout, found: Distances, f: int, cell: int, step: int) -> float:
    """The surplus of the next cell on one side that the reference has any values in (between are slivers at atoms)."""
    cell += step
    while layout.starts[f] < cell < layout.starts[f] + layout.sizes[f] - 1:
        if layout.shares[cell] > 0 or found.differences[cell] > 0:
            return float(found.differences[cell])
        cell += step
    return 0.0
