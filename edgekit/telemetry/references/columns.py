"""A column of values as a feature of a reference, and a column's counts over a reference's cells.

Cells are cut by the reporter's own `cells.edges_of`, so that a device that cuts its own cuts them alike. Values stay in
the order in which they were recorded: the noise floors are calibrated on blocks of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit.errors import DataError
from edgekit.telemetry.reporter.cells import edges_of, next_after
from edgekit.telemetry.reporter.reference import CATEGORY, INPUT, MAX_CELLS, NUMBER, Feature
from edgekit.telemetry.reporter.window import FeatureCounts

from .calibration import design_effects, floors

if TYPE_CHECKING:
    from collections.abc import Sequence

CATEGORIES = 256
"""A column of texts with more different values than this is no category."""


@dataclass(frozen=True)
class Column:
    """Values of one feature in the order of recording.

    Attributes:
        name: the feature's name.
        kind: "number" or "category".
        values: a number's as `(n,)` float64, NaN where missing; a category's texts or integers, None where missing.
        role: "input", "output" or "inference".
        tensor, summary: where it comes from on a device (see `Feature`).
        valid_min, valid_max: the possible range, as far as it is known.
        sentinels: numbers that mean "no value" and get cells of their own.
        categories: all that are possible, where that is known; else those that are seen.
    """

    name: str
    kind: str
    values: np.ndarray | Sequence[str | int | None]
    role: str = INPUT
    tensor: str = ""
    summary: str = "value"
    valid_min: float | None = None
    valid_max: float | None = None
    sentinels: tuple[float, ...] = ()
    categories: tuple[str | int, ...] = ()


def features_of(columns: Sequence[Column]) -> tuple[Feature, ...]:
    """The columns as features, their noise floors calibrated for so many of them.

    Raises:
        DataError: a column without values, or a category with too many of them.
    """
    made = []
    for column in columns:
        feature = _number(column) if column.kind == NUMBER else _category(column)
        effects = design_effects(cells_of(feature, column.values), feature.size, ordered=feature.kind == NUMBER)
        made.append(feature._replace(floors=floors(effects, feature.n, len(columns))))
    return tuple(made)


def _number(column: Column) -> Feature:
    values = np.asarray(column.values, dtype=np.float64)
    finite = np.sort(values[np.isfinite(values)])
    if not len(finite):
        raise DataError(
            f"The column {column.name!r} has no number in {len(values)} values.",
            remedy="Leave it out, or name it as a category.",
        )
    extra: set[float] = set()
    for value in column.sentinels:
        extra |= {value, next_after(value)}
    if column.valid_min is not None:
        extra.add(column.valid_min)
    if column.valid_max is not None:
        extra.add(next_after(column.valid_max))
    ordinary = finite[~np.isin(finite, column.sentinels)]
    ordinary = ordinary if len(ordinary) else finite
    edges = tuple(sorted({*edges_of(ordinary.tolist()), *map(float, extra)}))
    if len(edges) >= MAX_CELLS:
        raise DataError(
            f"The column {column.name!r} would have {len(edges) + 1} cells; {MAX_CELLS} are possible.",
            remedy="Declare fewer sentinel values for it.",
        )
    mean = float(finite.mean())
    m2 = float(((finite - mean) ** 2).sum())
    feature = _feature(column, NUMBER)._replace(
        edges=edges, mean=mean, m2=m2 if math.isfinite(m2) else None, min=float(finite[0]), max=float(finite[-1])
    )
    return _counted(feature, values)


def _category(column: Column) -> Feature:
    if column.categories:
        return _counted(_feature(column, CATEGORY)._replace(categories=column.categories), column.values)
    seen = {value for value in column.values if value is not None}
    if len(seen) > CATEGORIES:
        raise DataError(
            f"The column {column.name!r} has {len(seen)} different values, too many for a category ({CATEGORIES}).",
            remedy="Leave it out with --ignore, or give the number behind it.",
        )
    if not seen:
        raise DataError(f"The column {column.name!r} has no value.", remedy="Leave it out with --ignore.")
    ordered = sorted(seen, key=lambda value: (isinstance(value, str), value))
    return _counted(_feature(column, CATEGORY)._replace(categories=tuple(ordered)), column.values)


def _feature(column: Column, kind: str) -> Feature:
    return Feature(
        column.name, kind, column.role, column.tensor or column.name, column.summary,
        valid_min=column.valid_min, valid_max=column.valid_max,
    )  # fmt: skip


def _counted(feature: Feature, values: np.ndarray | Sequence[str | int | None]) -> Feature:
    counts = np.bincount(cells_of(feature, values), minlength=feature.size)
    return feature._replace(cells=tuple(counts.tolist()), missing=len(values) - int(counts.sum()))


def cells_of(feature: Feature, values: np.ndarray | Sequence[str | int | None]) -> np.ndarray:
    """The cell of each value that is not missing, `(m,)` integers in the order of the values."""
    if feature.kind == NUMBER:
        numbers = np.asarray(values, dtype=np.float64)
        found: np.ndarray = np.searchsorted(np.array(feature.edges), numbers[~np.isnan(numbers)], side="right")
        return found
    at = {category: index for index, category in enumerate(feature.categories)}
    unseen = len(feature.categories)
    return np.array([at.get(value, unseen) for value in values if value is not None], dtype=np.intp)


def counts_of(feature: Feature, values: np.ndarray | Sequence[str | int | None]) -> FeatureCounts:
    """What a device would have counted for these values."""
    cells = np.bincount(cells_of(feature, values), minlength=feature.size)
    counts = FeatureCounts(tuple(cells.tolist()), missing=len(values) - int(cells.sum()))
    if feature.kind != NUMBER:
        return counts
    numbers = np.asarray(values, dtype=np.float64)
    low = -math.inf if feature.valid_min is None else feature.valid_min
    high = math.inf if feature.valid_max is None else feature.valid_max
    finite = numbers[np.isfinite(numbers)]
    counts = counts._replace(
        positive_infinite=int((numbers == math.inf).sum()),
        negative_infinite=int((numbers == -math.inf).sum()),
        out_of_range=int(((numbers < low) | (numbers > high)).sum()),
    )
    if not len(finite):
        return counts
    mean = float(finite.mean())
    return counts._replace(
        min=float(finite.min()), max=float(finite.max()), mean=mean, m2=float(((finite - mean) ** 2).sum())
    )
