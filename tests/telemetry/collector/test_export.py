"""Exports hold exactly what the store answers, and the programs that they are for read them."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from edgekit.errors import TelemetryError
from edgekit.telemetry.collector.export import clickhouse
from edgekit.telemetry.collector.export.otlp import export_otlp
from edgekit.telemetry.collector.export.parquet import export_parquet
from edgekit.telemetry.collector.export.rows import count_rows
from edgekit.telemetry.reporter.window import FeatureCounts
from tests.telemetry.collector.fleet import same

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.telemetry.collector.conftest import Collector
    from tests.telemetry.collector.fleet import Fleet

EVER = (0, 1 << 33)


@pytest.fixture
def filled(sqlite_url: str, make_collector: Callable[[str], Collector], fleet: Fleet) -> Collector:
    """A collector with three days of two cohorts."""
    collector = make_collector(sqlite_url)
    collector.store.register(fleet.reference)
    keys = [collector.device(f"d{i}", cohort="ab"[i]) for i in range(2)]

    async def go() -> None:
        for key in keys:
            windows = [fleet.window(key.device, hours_ago=i, n=(30, 400)[i % 2]) for i in range(1, 70)]
            for at in range(0, len(windows), 20):
                body = fleet.upload(key, windows[at : at + 20])
                assert (await collector.client.ask("POST", "/v1/windows", body))[0] == 200
        await collector.app.close()

    asyncio.run(go())
    return collector


def test_rows_are_the_totals_in_parts(filled: Collector, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekit.telemetry.collector.export.rows.PAGE", 7)
    totals = filled.store.totals("tiny", fleet.reference.id, *EVER)
    summed = {name: FeatureCounts.empty(len(counts.cells)) for name, counts in totals.features.items()}
    windows = 0
    for row in count_rows(filled.store, *EVER):
        moments = () if row.min is None else (row.min, row.max, row.mean, row.m2)
        odd = (row.missing, row.positive_infinite, row.negative_infinite, row.out_of_range)
        summed[row.feature] = summed[row.feature].merge(FeatureCounts(tuple(row.cells), *odd, *moments))
        windows += row.windows if row.feature == "x0" else 0
    assert windows == totals.windows == 138
    for name, counts in totals.features.items():
        assert same(summed[name], counts), name


def test_clickhouse_reads_the_parquet_and_gives_the_same_totals(
    filled: Collector, fleet: Fleet, tmp_path: Path
) -> None:
    """In-process: chdb is ClickHouse."""
    from chdb import session

    assert export_parquet(filled.store, tmp_path / "out", *EVER) == 138 * 5
    clickhouse_session = session.Session(str(tmp_path / "chdb"))

    def ask(sql: str, **parameters: object) -> list[dict]:
        for name, value in parameters.items():
            for kind in ("String", "Int64"):
                quoted = f"'{value}'" if kind == "String" else str(value)
                sql = sql.replace("{" + f"{name}:{kind}" + "}", quoted)
        text = str(clickhouse_session.query(sql, "JSONEachRow"))
        return [json.loads(line) for line in text.splitlines()]

    for statement in clickhouse.TABLES.split(";"):
        ask(statement)
    for _ in range(2):  # loading an export again changes nothing
        for table in ("counts", "references"):
            ask(f"INSERT INTO edgekit.{table} SELECT * FROM file('{tmp_path}/out/{table}.parquet', Parquet)")
    question = {"model": "tiny", "reference": fleet.reference.id, "since": 0, "until": 1 << 33}
    totals = filled.store.totals("tiny", fleet.reference.id, *EVER)
    answers = {row["feature"]: row for row in ask(clickhouse.TOTALS, **question)}
    assert answers.keys() == totals.features.keys()
    for name, counts in totals.features.items():
        assert [int(cell) for cell in answers[name]["cells"]] == list(counts.cells), name
        assert int(answers[name]["missing"]) == counts.missing
    distances = ask(clickhouse.DISTANCES, **question, step_s=24 * 3600, at_least=100)
    days = filled.store.series("tiny", fleet.reference.id, *EVER, step_s=24 * 3600, cohort="a")
    reference = fleet.reference.features[0]
    for day in days:
        counts = day.features["x0"]
        [found] = [
            row for row in distances if (row["feature"], row["cohort"], int(row["step"])) == ("x0", "a", day.start_s)
        ]
        gaps = [
            abs(sum(counts.cells[: i + 1]) / counts.n - sum(reference.cells[: i + 1]) / reference.n) for i in range(12)
        ]
        assert found["ks"] == pytest.approx(max(gaps), abs=1e-12)
    clickhouse_session.close()


def test_an_otlp_receiver_parses_the_gauges(filled: Collector, fleet: Fleet) -> None:
    from google.protobuf import json_format
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((self.path, json_format.Parse(body, ExportMetricsServiceRequest())))
            self.send_response(200 if len(got) < 100 else 400)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sent = export_otlp(filled.store, f"http://127.0.0.1:{server.server_port}/v1/metrics", *EVER)
    server.shutdown()
    server.server_close()
    assert {path for path, _ in got} == {"/v1/metrics"}
    metrics = [metric for _, request in got for metric in request.resource_metrics[0].scope_metrics[0].metrics]
    assert sum(len(metric.gauge.data_points) for metric in metrics) == sent
    total = sum(
        point.as_int
        for metric in metrics
        if metric.name == "edgekit.feature.n"
        for point in metric.gauge.data_points
        if {each.key: each.value.string_value for each in point.attributes}["feature"] == "x1"
    )
    assert total == filled.store.totals("tiny", fleet.reference.id, *EVER).features["x1"].n
    with pytest.raises(TelemetryError, match="did not take"):
        export_otlp(filled.store, "http://127.0.0.1:9/v1/metrics", *EVER)
    with pytest.raises(TelemetryError, match="no OTLP receiver"):
        export_otlp(filled.store, "file:///etc/passwd", *EVER)
