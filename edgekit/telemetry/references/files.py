"""Files of recorded data as raw columns, before anybody knows what they are: CSV, Parquet and NPZ.

CSV needs nothing but the standard library, and gives texts; Parquet needs pyarrow (the extra `parquet`).
"""

from __future__ import annotations

import csv
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import DataError, MissingPackageError, first_line

if TYPE_CHECKING:
    from pathlib import Path


def read_columns(path: Path) -> dict[str, Any]:
    """Columns by name: arrays, or lists of texts with None where missing.

    Raises:
        DataError: no such file, not such a table, or columns of different lengths.
        MissingPackageError: Parquet without pyarrow.
    """
    readers = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path} is no table that can be read.", remedy="Give a .csv, .parquet or .npz file.")
    if not path.is_file():
        raise DataError(f"There is no file {path}.", remedy="Check the path.")
    raw = readers[path.suffix.lower()](path)
    lengths = {len(values) for values in raw.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise DataError(f"{path} has columns of {sorted(lengths)} rows.", remedy="Give one row at least.")
    return raw


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
