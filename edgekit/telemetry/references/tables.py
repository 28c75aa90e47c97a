"""Tables of recorded data as columns: CSV, Parquet and NPZ.

A column is a number if all its values are; otherwise a category, unless it has too many values for one. A column of
times tells the order of the rows; a column that counts the rows (an id) and a text that is different in each row say
nothing of what is normal, and are left out. What was left out, and why, is told (`Table.remarks`): nothing is dropped
in silence. `files` reads them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import DataError
from edgekit.telemetry.references.columns import CATEGORIES, Column
from edgekit.telemetry.references.files import read_columns
from edgekit.telemetry.reporter.reference import CATEGORY, INPUT, NUMBER, OUTPUT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Texts that stand for no value, in lower case."""


@dataclass(frozen=True)
class Options:
    """What is known of a table that its values do not say.

    Attributes:
        categories, ignored, outputs: names of columns.
        time: the column of times; None: the first one whose values are times, if any.
        ranges: name to the smallest and largest possible value, None for open.
        sentinels: name to numbers that mean "no value"; under "" for all columns.
    """

    categories: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    time: str | None = None
    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    sentinels: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def named(self) -> set[str]:
        """All columns that it names."""
        named = {*self.categories, *self.ignored, *self.outputs, *self.ranges, *(n for n in self.sentinels if n)}
        return named | ({self.time} if self.time else set())


@dataclass(frozen=True)
class Table:
    """Columns in the order of recording; `times` in seconds since 1970 if there are any, `(rows,)`."""

    path: str
    rows: int
    columns: tuple[Column, ...]
    times: np.ndarray | None = None
    remarks: tuple[str, ...] = ()


def read_table(path: Path, options: Options | None = None, *, expected: Mapping[str, str] | None = None) -> Table:
    """Reads a table, in the order of its times if it has any.

    Args:
        path: a `.csv`, `.parquet` or `.npz` file.
        options: see `Options`.
        expected: column to kind, as a reference has them; only these are read, and they are of that kind.

    Raises:
        DataError: no such file, not such a table, or an option names a column that it does not have.
        MissingPackageError: Parquet without pyarrow.
    """
    options = options or Options()
    raw = read_columns(path)
    unknown = options.named() - set(raw)
    if unknown:
        raise DataError(
            f"{path} has no column {', '.join(sorted(unknown))}; it has {', '.join(raw)}.", remedy="Check the names."
        )
    return _Reading(str(path), raw, options, expected).table()


class _Reading:
    """Columns as read, on their way to a table."""

    def __init__(self, path: str, raw: dict[str, Any], options: Options, expected: Mapping[str, str] | None) -> None:
        self._path, self._raw, self._options, self._expected = path, raw, options, expected
        self._remarks: list[str] = []
        self._rows = len(next(iter(raw.values())))

    def table(self) -> Table:
        """The whole of it."""
        times = self._times()
        columns = []
        for name, values in self._raw.items():
            if name in self._options.ignored or (self._expected is not None and name not in self._expected):
                continue
            column = self._column(name, values)
            if column is not None:
                columns.append(column)
        if times is not None and (np.diff(times) < 0).any():
            order = np.argsort(times, kind="stable")
            times = times[order]
            columns = [_reordered(column, order) for column in columns]
            self._remarks.append("the rows were put in the order of their times")
        return Table(self._path, self._rows, tuple(columns), times, tuple(self._remarks))

    def _times(self) -> np.ndarray | None:
        name = self._options.time
        if name is not None:
            times = _as_times(self._raw.pop(name))
            if times is None:
                raise DataError(
                    f"The column {name!r} of {self._path} does not hold times.",
                    remedy="Times are like 2026-11-27T17:00:00, or seconds since 1970.",
                )
            return times
        for name, values in self._raw.items():
            if name in {*self._options.categories, *self._options.ignored, *(self._expected or ())}:
                continue
            if isinstance(values, list) or values.dtype.kind == "M":
                times = _as_times(values)
                if times is not None:
                    self._raw.pop(name)
                    self._remarks.append(f"{name} gives the times of the rows")
                    return times
        return None

    def _column(self, name: str, values: Any) -> Column | None:
        options = self._options
        wanted = (self._expected or {}).get(name) or (CATEGORY if name in options.categories else None)
        numbers = None if wanted == CATEGORY else _as_numbers(values)
        role = OUTPUT if name in options.outputs else INPUT
        if numbers is not None:
            if wanted is None and _counts_rows(numbers):
                self._remarks.append(f"{name} was left out: it counts the rows")
                return None
            if wanted is None and not np.isfinite(numbers).any():
                self._remarks.append(f"{name} was left out: it has no values")
                return None
            low, high = options.ranges.get(name, (None, None))
            sentinels = (*options.sentinels.get("", ()), *options.sentinels.get(name, ()))
            return Column(name, NUMBER, numbers, role, valid_min=low, valid_max=high, sentinels=sentinels)
        if wanted == NUMBER:
            raise DataError(
                f"The column {name!r} of {self._path} is a number in the reference, and has texts here.",
                remedy="Check that it is the same column, and how missing values are written.",
            )
        texts = _as_categories(values)
        if wanted is None and len(set(texts)) > CATEGORIES:
            self._remarks.append(f"{name} was left out: {len(set(texts))} different texts are no category")
            return None
        return Column(name, CATEGORY, texts, role)


def _counts_rows(numbers: np.ndarray) -> bool:
    steps = np.diff(numbers)
    return len(steps) > 1 and bool((steps == steps[0]).all() and steps[0] != 0)


def _as_numbers(values: Any) -> np.ndarray | None:
    """`(n,)` float64, NaN where missing; None if it holds anything else."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind in "iuf":
            return values.astype(np.float64)
        return None
    with suppress(ValueError, TypeError):  # most columns are whole
        return np.array(values, dtype=np.float64)
    try:
        return np.array([np.nan if v is None or v.strip().lower() in MISSING else v for v in values], dtype=np.float64)
    except (ValueError, AttributeError):
        return None


def _as_categories(values: Any) -> list[str | int | None]:
    """Texts, or integers where all are; None where missing."""
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    listed = [None if v is None or (isinstance(v, float) and v != v) else v for v in listed]
    listed = [None if isinstance(v, str) and v.strip().lower() in MISSING else v for v in listed]
    if all(v is None or (isinstance(v, float) and v.is_integer()) for v in listed):
        return [None if v is None else int(v) for v in listed]
    if all(v is None or (isinstance(v, int) and not isinstance(v, bool)) for v in listed):
        return listed
    if all(v is None or (isinstance(v, str) and v.lstrip("-").isdigit()) for v in listed):
        return [None if v is None else int(v) for v in listed]
    return [None if v is None else str(v) for v in listed]


def _as_times(values: Any) -> np.ndarray | None:
    """Seconds since 1970, `(n,)`; times without a zone are UTC. None if these are no times."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind == "M":
            return values.astype("datetime64[ms]").astype(np.float64) / 1000
        return values.astype(np.float64) if values.dtype.kind in "iuf" else None
    try:
        return np.array([_seconds(value) for value in values])
    except (ValueError, AttributeError):
        pass
    numbers = _as_numbers(values)
    return None if numbers is None or not np.isfinite(numbers).all() or (numbers < 1e8).any() else numbers


def _seconds(value: str) -> float:
    time = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def _reordered(column: Column, order: np.ndarray) -> Column:
    values = column.values
    ordered = values[order] if isinstance(values, np.ndarray) else [values[i] for i in order]
    return Column(column.name, column.kind, ordered, column.role, column.tensor, column.summary,
                  column.valid_min, column.valid_max, column.sentinels)  # fmt: skip
