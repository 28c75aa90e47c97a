"""Two Parquet files: `counts.parquet`, a row per model, reference, cohort, span and feature, and `references.parquet`,
what each feature's cells are. docs/telemetry-collector.md shows how pandas, DuckDB and ClickHouse read them.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingPackageError
from edgekit.files import publishing_folder
from edgekit.telemetry.collector.export.rows import count_rows
from edgekit.telemetry.reporter.reference import LATENCY

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.telemetry.collector.reading import SqlStore

ROWS_AT_ONCE = 20_000


def export_parquet(store: SqlStore, folder: Path, since: int, until: int, *, model: str | None = None) -> int:
    """Writes both files into a new folder, whole or not at all; tells how many rows of counts.

    Raises:
        MissingPackageError: pyarrow is not installed.
        StorageError: the folder cannot be written.
        StoreUnavailableError: the database cannot be used.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingPackageError("Parquet needs the package pyarrow.", remedy="Install edgekit[parquet].") from error
    text, whole, real = pa.string(), pa.int64(), pa.float64()
    names = ("model", "reference", "cohort", "feature")
    times = ("start_s", "end_s", "windows", "inferences", "errors", "n", "missing")
    odd = ("positive_infinite", "negative_infinite", "out_of_range")
    schema = pa.schema(
        [(name, text) for name in names]
        + [(name, whole) for name in (*times, *odd)]
        + [(name, real) for name in ("min", "max", "mean", "m2")]
        + [("cells", pa.list_(pa.field("element", whole, nullable=False))), ("exported_s", whole)]
    )
    now = int(time.time())
    rows = 0
    with publishing_folder(folder) as temporary:
        with pq.ParquetWriter(temporary / "counts.parquet", schema, compression="zstd") as writer:
            found = count_rows(store, since, until, model=model)
            while batch := list(itertools.islice(found, ROWS_AT_ONCE)):
                rows += len(batch)
                records = [{**row._asdict(), "exported_s": now} for row in batch]
                writer.write_table(pa.Table.from_pylist(records, schema=schema))
        pq.write_table(_references(store, model, pa), temporary / "references.parquet", compression="zstd")
    return rows


def _references(store: SqlStore, model: str | None, pa: Any) -> Any:
    schema = pa.schema(
        [(name, pa.string()) for name in ("model", "reference", "feature", "kind", "role")]
        + [
            ("edges", pa.list_(pa.field("element", pa.float64(), nullable=False))),
            ("categories", pa.list_(pa.field("element", pa.string(), nullable=False))),
            ("cells", pa.list_(pa.field("element", pa.int64(), nullable=False))),
            ("missing", pa.int64()),
        ]
    )
    records = []
    for reference in store.references(model).values():
        features = reference.features
        if all(feature.name != LATENCY.name for feature in features):
            features = (*features, LATENCY)
        records += [
            {
                "model": reference.model, "reference": reference.id, "feature": each.name, "kind": each.kind,
                "role": each.role, "edges": list(each.edges), "categories": [str(value) for value in each.categories],
                "cells": list(each.cells), "missing": each.missing,
            }
            for each in features
        ]  # fmt: skip
    return pa.Table.from_pylist(records, schema=schema)
