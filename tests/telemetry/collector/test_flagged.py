"""Flagged windows: one entry for each drift, extended while it lasts; what people labelled comes back to it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from edgekit.cli.telemetry import command as telemetry
from edgekit.errors import DataError, StoreUnavailableError, TelemetryError
from edgekit.telemetry.collector import flagged, retention, schema
from edgekit.telemetry.collector.database import open_database
from edgekit.telemetry.collector.reading import SqlStore, open_store
from edgekit.telemetry.drift.steps import seconds_of
from edgekit.telemetry.evaluations import LabelledResult, Movement
from edgekit.telemetry.store import LATENCY, Checked, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.telemetry.collector.conftest import Collector
    from tests.telemetry.collector.fleet import Fleet

HOUR = 3600
REFERENCE = "a" * 64


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    made = open_store(url)
    yield made
    made.close()


def finding(feature: str = "x0", distance: float = 0.3, *, rule: str = "ks", began: str | None = None) -> Finding:
    details = {"distance": distance, "threshold": 0.1, "began": began}
    return Finding("tiny", REFERENCE, "", feature, rule, f"{feature} moved", details)


def found(*findings: Finding, hour: int, conclusive: bool = True, cohort: str = "") -> list[Checked]:
    return [Checked("tiny", REFERENCE, cohort, findings, conclusive, (hour - 24) * HOUR, hour * HOUR)]


def test_a_drift_is_one_entry_that_grows_while_it_lasts(store: SqlStore) -> None:
    def check(*findings: Finding, hour: int, conclusive: bool = True) -> list[tuple[int, int, int | None]]:
        flagged.record(store.database, found(*findings, hour=hour, conclusive=conclusive), hour * HOUR)
        return [(each.start_s // HOUR, each.end_s // HOUR, each.ended_s and each.ended_s // HOUR)
                for each in store.flagged()]  # fmt: skip

    assert check(hour=100) == []
    assert check(finding(began="1970-01-05T00:00:00Z"), hour=130) == [(96, 130, None)], "since the drift began"
    assert check(finding(distance=0.6), finding("x1"), hour=131) == [(96, 131, None)]
    assert check(finding(distance=0.6), finding("x1"), hour=131) == [(96, 131, None)], "the same check again"
    assert check(hour=132, conclusive=False) == [(96, 131, None)], "too little data ends nothing"
    assert check(finding(distance=0.2), hour=133) == [(96, 133, None)]
    [window] = store.flagged()
    assert window.movements == (Movement("x0", "ks", "x0 moved", 0.6, 0.1), Movement("x1", "ks", "x1 moved", 0.3, 0.1))
    assert (window.model, window.reference, window.cohort, window.times_found) == ("tiny", REFERENCE, "", 4)
    assert check(hour=134) == [(96, 133, 134)]
    assert check(hour=135) == [(96, 133, 134)]
    assert check(finding("x1"), hour=200) == [(176, 200, None), (96, 133, 134)], "another drift is another entry"
    assert [each.id for each in store.flagged(model="other")] == []


def test_what_nobody_can_label_is_no_entry_and_what_was_not_checked_stays(store: SqlStore) -> None:
    flagged.record(store.database, found(finding("", rule="volume"), finding(LATENCY), hour=100), 1)
    assert store.flagged() == []
    flagged.record(store.database, found(finding(), hour=100), 1)
    flagged.record(store.database, found(hour=101, cohort="pilot"), 2)
    assert [each.ended_s for each in store.flagged()] == [None]


def test_a_check_that_fails_half_way_changes_nothing(store: SqlStore) -> None:
    wrong = found(finding(began="never"), hour=100, cohort="pilot")
    with pytest.raises(ValueError, match="never"):
        flagged.record(store.database, [*found(finding(), hour=100), *wrong], 1)
    assert store.flagged() == []


def test_results_come_back_and_are_replaced_and_undone(store: SqlStore) -> None:
    flagged.record(store.database, found(finding(), hour=100), 1)
    [number] = [each.id for each in store.flagged(to_do=True)]
    first = LabelledResult("accuracy", 0.5, 0.95, 40, "some.csv", 10)
    for _ in range(2):
        flagged.give_result(store.database, number, first, done=False, note="half of it")
    assert [(each.results, each.done_s, each.note) for each in store.flagged(to_do=True)] == [
        ((first,), None, "half of it")
    ]
    second, other = (
        LabelledResult("accuracy", 0.8, 0.95, 90, "all.csv", 20),
        LabelledResult("f1", 0.7, None, None, "given", 30),
    )
    flagged.give_result(store.database, number, second)
    flagged.give_result(store.database, number, other)
    [window] = store.flagged()
    assert (window.results, window.done_s, window.note) == ((second, other), 20, "half of it")
    assert store.flagged(to_do=True) == []
    flagged.record(store.database, found(finding(distance=0.4), hour=101), 2)
    assert [each.end_s for each in store.flagged()] == [101 * HOUR], "done or not, it lasts"
    assert store.flagged()[0].results == (second, other), "kept across checks"
    flagged.mark(store.database, number, None)
    assert [each.id for each in store.flagged(to_do=True)] == [number]
    for ask in (lambda: flagged.give_result(store.database, 99, first), lambda: flagged.mark(store.database, 99, 1)):
        with pytest.raises(TelemetryError, match="no flagged window 99"):
            ask()


def test_retention_forgets_what_ended_long_ago_and_nothing_that_lasts(store: SqlStore) -> None:
    now = 1000 * 24 * HOUR
    flagged.record(store.database, found(finding(), hour=100), 1)
    [number] = [each.id for each in store.flagged()]
    flagged.give_result(store.database, number, LabelledResult("accuracy", 0.5, None, None, "given", 10))
    retention.sweep(store.database, now)
    assert len(store.flagged()) == 1
    flagged.record(store.database, found(hour=101), 2)
    retention.sweep(store.database, now)
    assert store.flagged() == []
    with store.database.read() as cursor:
        assert cursor.rows("SELECT COUNT(*) FROM flagged_results") == [(0,)]


def test_a_database_of_schema_1_gets_the_new_tables_and_keeps_what_it_has(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(schema, "SCHEMA", 1)
        database = open_database(url)
        with database.write() as cursor:
            cursor.run("INSERT INTO devices (device, cohort) VALUES ('d1', 'pilot')")
        database.close()
    store = open_store(url)
    assert [each.device for each in store.devices()] == ["d1"]
    flagged.record(store.database, found(finding(), hour=100), 1)
    assert len(store.flagged()) == 1
    store.close()


def run(*arguments: object, status: int = 0) -> dict[str, Any]:
    """The document that a command prints."""
    answer = CliRunner().invoke(telemetry, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert answer.exit_code == status, answer.output
    return json.loads(answer.output)


def test_what_devices_report_is_checked_kept_and_evaluated(collector: Collector, fleet: Fleet, tmp_path: Path) -> None:
    """`telemetry check` and `telemetry flagged` over each kind of database, from real uploads."""
    collector.store.register(fleet.reference)

    async def report() -> None:
        for i in range(6):
            key = collector.device(f"d{i}", cohort="pilot" if i else "field")
            for hours_ago in (27, 25, 3, 1):
                status, answer = await collector.client.ask(
                    "POST", "/v1/windows", fleet.upload(key, [fleet.window(key.device, hours_ago=hours_ago, n=600)])
                )
                assert status == 200, answer

    asyncio.run(report())
    database = ("--db", collector.url)
    verdict = run("check", *database, "--model", "tiny", "--keep", status=3)
    assert verdict["outcome"] == "drift"
    assert (verdict["n"], verdict["devices"]) == (6 * 2 * 600, 6)
    again = run("check", *database, "--model", "tiny", "--now", verdict["end"], "--keep", status=3)
    assert again == verdict, "the same question has the same answer"
    assert {(each["cohort"], each["outcome"]) for each in verdict["cohorts"]} == {
        ("pilot", "drift"),
        ("field", "too few"),
    }
    by_hour = run("check", *database, "--model", "tiny", "--phase", "hour-of-day", "--cohort", "pilot", status=3)
    assert (by_hour["n"], by_hour["cohort"]) == (5 * 2 * 600, "pilot")
    [window] = run("flagged", "list", "--todo", *database)["flagged"]
    drifted = {each["feature"] for each in verdict["features"] if each["outcome"] == "drift"} - {LATENCY}
    assert {each["feature"] for each in window["movements"]} == drifted
    assert (window["artifacts"], window["reference"]) == (["a1" * 32], fleet.reference.id)
    assert seconds_of(verdict["start"]) >= window["start_s"] > time.time() - 15 * 24 * HOUR
    assert window["end_s"] == seconds_of(verdict["end"])
    table = CliRunner().invoke(telemetry, ["flagged", "list", *database, "--csv"], catch_exceptions=False)
    rows = list(csv.DictReader(io.StringIO(table.output)))
    assert {row["feature"] for row in rows} == drifted
    labels = tmp_path / "labels.csv"
    labels.write_text("prediction,label\ncat,cat\ncat,dog\ndog,\n")
    number = window["id"]
    given = run("flagged", "result", number, *database, "--labelled", labels, "--expected", 0.9)
    assert (given["result"]["value"], given["result"]["samples"], given["done"]) == (0.5, 2, True)
    assert run("flagged", "list", "--todo", *database)["flagged"] == []
    run("flagged", "done", number, *database, "--undo", "--note", "more labels come")
    printed = CliRunner().invoke(telemetry, ["flagged", "list", *database], catch_exceptions=False).output
    for text in ("lasts, to do", "accuracy 0.5, expected 0.9 (n = 2)", "more labels come", "tiny"):
        assert text in printed


def test_commands_say_what_is_missing(tmp_path: Path) -> None:
    def refused(kind: type[Exception], match: str, *arguments: object) -> None:
        with pytest.raises(kind, match=match):
            CliRunner().invoke(telemetry, [*map(str, arguments)], catch_exceptions=False)

    database = ("--db", tmp_path / "t.db")
    open_store(str(tmp_path / "t.db")).close()
    refused(TelemetryError, "no flagged window 7", "flagged", "done", 7, *database)
    refused(DataError, "No device has reported yet", "check", *database, "--model", "m")
    away = f"postgresql://edgekit@/none?host={tmp_path}"
    refused(StoreUnavailableError, "cannot be used now", "check", "--db", away, "--model", "m")
    refused(StoreUnavailableError, "cannot be used now", "flagged", "list", "--db", away)
    both = ["result", "1", "--value", "1", "--labelled", "x.csv"]
    for wrong in (["result", "1"], both, ["result", "1", "--value", "nan"], ["list", "--csv", "--json"]):
        answer = CliRunner().invoke(telemetry, ["flagged", *wrong, *map(str, database)])
        assert answer.exit_code == 2, answer.output


def test_a_spreadsheet_computes_nothing_that_a_device_named(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    flagged.record(store.database, found(finding("+f"), hour=130, cohort='=HYPERLINK("http://x")'), 130 * HOUR)
    flagged.mark(store.database, 1, None, note="-1+2")
    store.close()
    table = CliRunner().invoke(telemetry, ["flagged", "list", "--db", sqlite_url, "--csv"], catch_exceptions=False)
    [row] = csv.DictReader(io.StringIO(table.output))
    assert (row["cohort"], row["feature"], row["note"]) == ('\'=HYPERLINK("http://x")', "'+f", "'-1+2")
    assert (row["value"], row["model"]) == ("0.3", "tiny")


@pytest.mark.parametrize(
    "arguments",
    [("flagged", "list"), ("flagged", "done", "1"), ("check", "--model", "m"), ("export", "--parquet", "out")],
)
def test_a_path_that_was_mistyped_is_told_and_no_database_is_made(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    mistyped = tmp_path / "telemtry.db"
    made = CliRunner().invoke(telemetry, [*arguments, "--db", str(mistyped)])
    assert isinstance(made.exception, TelemetryError)
    assert f"There is no database {mistyped}" in str(made.exception)
    assert list(tmp_path.iterdir()) == []
