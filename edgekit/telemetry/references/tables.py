"""Tables of recorded data as columns: CSV, Parquet and NPZ.

A column is a number if all its values are; otherwise a category, unless it has too many values for one. A column of
times tells the order of the rows; a column that counts the rows (an id) and a text that is different in each row say
nothing of what is normal, and are left out. What was left out, and why, is told (`Table.remarks`): nothing is dropped
in silence. CSV needs nothing but the standard library; Parquet needs pyarrow (the extra `parquet`).
"""

from __future__ import annotations

import csv
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import DataError, MissingPackageError, first_line
from edgekit.telemetry.references.columns import CATEGORIES, Column
from edgekit.telemetry.reporter.reference import CATEGORY, INPUT, NUMBER, OUTPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""Texts that stand for no value, in lower case."""
MOST_BYTES = 4 << 30


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
    readers: dict[str, Callable[[Path], dict[str, Any]]] = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path} is no table that can be read.", remedy="Give a .csv, .parquet or .npz file.")
    if not path.is_file():
        raise DataError(f"There is no file {path}.", remedy="Check the path.")
    raw = readers[path.suffix.lower()](path)
    lengths = {len(values) for values in raw.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise DataError(f"{path} has columns of {sorted(lengths)} rows.", remedy="Give one row at least.")
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


def _csv(path: Path) -> dict[str, Any]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            sample = file.read(1 << 16)
            file.seek(0)
            try:
                dialect: Any = csv.Sniffer().sniff(sample.split("\n", 1)[0], delimiters=",;\t")
            except csv.Error:
                dialect = "excel"
            rows = csv.reader(file, dialect)
            names = next(rows, [])
            table = list(rows)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no CSV: {first_line(error)}.", remedy="Write it as UTF-8 with commas.") from error
    table = [row for row in table if row]
    if not names or len(set(names)) != len(names):
        raise DataError(f"The first line of {path} does not name its columns: {names}.", remedy="Name each once.")
    uneven = next((i for i, row in enumerate(table, 2) if len(row) != len(names)), None)
    if uneven is not None:
        raise DataError(
            f"Line {uneven} of {path} has {len(table[uneven - 2])} values; {len(names)} columns are named.",
            remedy="Quote values that hold commas.",
        )
    return {name: [row[i] for row in table] for i, name in enumerate(names)}


def _parquet(path: Path) -> dict[str, Any]:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingPackageError(
            "Reading Parquet needs the package pyarrow.", remedy="Install it with: pip install 'edgekit[parquet]'."
        ) from error
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {first_line(error)}.", remedy="Check the file.") from error
    return {name: _arrow_values(column) for name, column in zip(table.column_names, table.columns, strict=True)}


def _arrow_values(column: Any) -> Any:
    kind = str(column.type)
    if kind.startswith(("int", "uint", "float", "double", "timestamp", "date")):
        values = column.to_numpy()
        return values.astype("datetime64[ms]") if kind.startswith("date") else values
    return [None if value is None else str(value) for value in column.to_pylist()]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file.

    Raises:
        DataError: it is none, or holds Python objects.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}.", remedy="Check the path.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as NPZ: {first_line(error)}.", remedy="Write it with numpy.savez, without objects."
        ) from error


def _npz(path: Path) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, array in read_arrays(path).items():
        if array.ndim == 0:
            raise DataError(f"The array {name!r} of {path} has no rows.", remedy="Give (n, …) arrays.")
        rows = array.reshape(len(array), -1)
        for i in range(rows.shape[1]):
            values = rows[:, i]
            columns[name if array.ndim == 1 else f"{name}.{i}"] = (
                [str(v) for v in values] if values.dtype.kind in "USb" else values
            )
    return columns
