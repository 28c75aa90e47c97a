"""The counts for other programs: Parquet files, OpenTelemetry metrics, and ClickHouse.

rows         one row per model, reference, cohort, span and feature: what everything here is made of
parquet      two files, for pandas, DuckDB, Spark or ClickHouse (needs pyarrow)
clickhouse   tables and queries, the same in a server and in-process with chdb
otlp         gauges of the last spans, as OTLP over HTTP with JSON (needs nothing)
"""
