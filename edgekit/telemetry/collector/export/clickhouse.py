"""ClickHouse: tables and queries for more history than one database of sums should answer for.

The SQL is the same for a server and for `chdb`, which is ClickHouse in this process; the tests run it there. Rows come
from `parquet`:

    clickhouse-client --multiquery < tables.sql
    clickhouse-client --query 'INSERT INTO edgekit.counts FORMAT Parquet' < export/counts.parquet

A span's row is the whole sum of that span at the time of the export. `ReplacingMergeTree` keeps the latest one, so an
export may be loaded again, or overlap with another, and nothing is counted twice. Cells are added by `sumForEach`,
in 64 bits, exactly.
"""

from __future__ import annotations

TABLES = """\
CREATE DATABASE IF NOT EXISTS edgekit;
CREATE TABLE IF NOT EXISTS edgekit.counts (
    model LowCardinality(String), reference LowCardinality(String), cohort LowCardinality(String),
    feature LowCardinality(String), start_s Int64, end_s Int64, windows Int64, inferences Int64, errors Int64,
    n Int64, missing Int64, positive_infinite Int64, negative_infinite Int64, out_of_range Int64,
    min Nullable(Float64), max Nullable(Float64), mean Nullable(Float64), m2 Nullable(Float64),
    cells Array(Int64), exported_s Int64
) ENGINE = ReplacingMergeTree(exported_s)
PARTITION BY toYYYYMM(toDateTime(start_s, 'UTC'))
ORDER BY (model, reference, feature, cohort, start_s);
CREATE TABLE IF NOT EXISTS edgekit.references (
    model LowCardinality(String), reference LowCardinality(String), feature LowCardinality(String),
    kind LowCardinality(String), role LowCardinality(String), edges Array(Float64), categories Array(String),
    cells Array(Int64), missing Int64
) ENGINE = ReplacingMergeTree ORDER BY (model, reference, feature)
"""

TOTALS = """\
SELECT feature, sum(n) AS n, sum(missing) AS missing, sum(out_of_range) AS out_of_range, min(min) AS low,
    max(max) AS high, sumForEach(cells) AS cells
FROM edgekit.counts FINAL
WHERE model = {model:String} AND reference = {reference:String} AND start_s >= {since:Int64} AND start_s < {until:Int64}
GROUP BY feature ORDER BY feature
"""
"""Every feature between two times."""

DISTANCES = """\
WITH windows AS (
    SELECT feature, intDiv(start_s, {step_s:Int64}) * {step_s:Int64} AS step, cohort, sumForEach(cells) AS cells
    FROM edgekit.counts FINAL
    WHERE model = {model:String} AND reference = {reference:String}
        AND start_s >= {since:Int64} AND start_s < {until:Int64}
    GROUP BY feature, step, cohort)
SELECT w.feature AS feature, w.step AS step, w.cohort AS cohort, arraySum(w.cells) AS n,
    arrayMax(arrayMap((a, b) -> abs(a / arraySum(w.cells) - b / arraySum(r.cells)),
        arrayCumSum(w.cells), arrayCumSum(r.cells))) AS ks,
    arraySum(arrayMap((a, b) -> abs(a / arraySum(w.cells) - b / arraySum(r.cells)), w.cells, r.cells)) / 2 AS d1
FROM windows AS w INNER JOIN edgekit.references AS r FINAL ON w.feature = r.feature
WHERE r.model = {model:String} AND r.reference = {reference:String} AND arraySum(w.cells) >= {at_least:Int64}
    AND arraySum(r.cells) > 0 AND r.kind != 'joint'
ORDER BY ks DESC
"""
"""How far each feature was from its reference, per step of time and cohort: KS over cells, and half the D1. A joint
has sums and no cells: `edgekit telemetry check` has its distance."""
