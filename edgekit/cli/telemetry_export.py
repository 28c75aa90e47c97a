"""`edgekit telemetry export`: the counts for other programs."""

from __future__ import annotations

import time
from pathlib import Path

import click

from edgekit.cli.options import Duration
from edgekit.cli.output import json_option
from edgekit.cli.telemetry_options import database_option


class _Days(Duration):
    """Also `7d`."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        if text.endswith("d") and text[:-1].isdigit():
            return float(text[:-1]) * 24 * 3600
        return super().convert(value, param, ctx)


@click.command("export")
@database_option
@click.option("--parquet", type=click.Path(path_type=Path), metavar="FOLDER", help="Write Parquet into a new folder.")
@click.option("--otlp", metavar="URL", help="Send gauges to an OpenTelemetry receiver: http://host:4318/v1/metrics.")
@click.option("--clickhouse-sql", is_flag=True, help="Print the tables and queries that ClickHouse needs.")
@click.option("--last", type=_Days(), default="1d", show_default=True, help="How far back: 2h, 7d.")
@click.option("--model", help="Of this model only.")
@json_option
def command(
    database: str, parquet: Path | None, otlp: str | None, clickhouse_sql: bool, last: float, model: str | None, *,
    as_json: bool,
) -> None:  # fmt: skip
    """Export the counts: Parquet for analysis, OTLP for dashboards, SQL for ClickHouse."""
    from edgekit.cli import output
    from edgekit.telemetry.collector.export import clickhouse
    from edgekit.telemetry.collector.export.otlp import export_otlp
    from edgekit.telemetry.collector.export.parquet import export_parquet
    from edgekit.telemetry.collector.reading import open_store

    if not (parquet or otlp or clickhouse_sql):
        raise click.UsageError("Say what: --parquet, --otlp or --clickhouse-sql.")
    if clickhouse_sql:
        parts = {"tables": clickhouse.TABLES, "totals": clickhouse.TOTALS, "distances": clickhouse.DISTANCES}
        if as_json:
            output.print_json("telemetry export", sql=parts)
        else:
            click.echo("\n".join(f"-- {name}\n{sql.strip()};\n" for name, sql in parts.items()))
    if not (parquet or otlp):
        return
    store = open_store(database, new=False)
    until = int(time.time())
    span = (until - int(last), until)
    rows = export_parquet(store, parquet, *span, model=model) if parquet else None
    sent = export_otlp(store, otlp, *span, model=model) if otlp else None
    if as_json:
        output.print_json("telemetry export", since_s=span[0], until_s=span[1], parquet_rows=rows, otlp_points=sent)
        return
    if rows is not None:
        click.echo(f"{rows} rows of counts in {parquet}")
    if sent is not None:
        click.echo(f"{sent} data points sent to {otlp}")
