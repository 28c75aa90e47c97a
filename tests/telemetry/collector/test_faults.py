"""A database that cannot be used for a while: devices are told to come again, and then it works."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import pytest

from edgekit.errors import StoreUnavailableError, TelemetryError
from edgekit.telemetry.collector import sqlite
from edgekit.telemetry.collector.database import open_database
from edgekit.telemetry.collector.reading import open_store
from tests.machine import small_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.telemetry.collector.conftest import Collector
    from tests.telemetry.collector.fleet import Fleet


def test_a_full_disk_is_503_until_there_is_room(
    tmp_path: Path, make_collector: Callable[[str], Collector], fleet: Fleet
) -> None:
    with small_disk(tmp_path / "small", "2m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        collector = make_collector(str(disk / "telemetry.db"))
        collector.store.register(fleet.reference)
        key = collector.device()
        taken = []

        async def go() -> None:
            for seq in range(2000):
                window = fleet.window("d1", seq=seq, n=3)
                status, _ = await collector.client.ask("POST", "/v1/windows", fleet.upload(key, [window]))
                if status != 200:
                    break
                taken.append(seq)
            assert status == 503
            assert int(collector.client.headers[b"retry-after"]) > 0
            assert (await collector.client.ask("GET", "/health"))[0] == 200
            ballast.unlink()
            again = [await collector.client.ask("POST", "/v1/windows", fleet.upload(key, [window])) for _ in range(2)]
            assert again == [(200, {"accepted": 1, "duplicates": 0}), (200, {"accepted": 0, "duplicates": 1})]
            await collector.app.close()

        asyncio.run(go())
        assert taken, "the disk was full from the start"
        totals = collector.store.totals(fleet.reference.model, fleet.reference.id, 0, 1 << 33)
        assert totals.windows == len(taken) + 1
        collector.store.close()


def test_a_locked_database_is_503_until_it_is_free(
    sqlite_url: str, make_collector: Callable[[str], Collector], fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_S", 0.2)
    collector = make_collector(sqlite_url)
    collector.store.register(fleet.reference)
    key = collector.device()
    upload = fleet.upload(key, [fleet.window("d1")])
    other = sqlite3.connect(sqlite_url, isolation_level=None)

    async def go() -> None:
        other.execute("BEGIN EXCLUSIVE")
        assert (await collector.client.ask("POST", "/v1/windows", upload))[0] == 503
        other.execute("ROLLBACK")
        assert (await collector.client.ask("POST", "/v1/windows", upload))[1] == {"accepted": 1, "duplicates": 0}
        await collector.app.close()

    asyncio.run(go())
    other.close()


def test_a_fault_of_one_upload_is_not_the_others(
    collector: Collector, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.store.register(fleet.reference)
    key = collector.device()
    together = collector.ingest.commit

    def commit(uploads: list) -> list:
        if any(upload.envelope.sent_ns == 13 for upload in uploads):
            raise ZeroDivisionError
        return together(uploads)

    monkeypatch.setattr(collector.ingest, "commit", commit)
    uploads = [fleet.upload(key, [fleet.window("d1")], sent_ns=13 if i == 5 else None) for i in range(12)]

    async def go() -> list[int]:
        answers = await asyncio.gather(*(collector.client.ask("POST", "/v1/windows", each) for each in uploads))
        await collector.app.close()
        return [status for status, _ in answers]

    assert asyncio.run(go()) == [503 if i == 5 else 200 for i in range(12)]


def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    database = open_database(url)
    with database.write() as cursor:
        cursor.run("UPDATE meta SET value = '99' WHERE name = 'schema'")
    with pytest.raises(TelemetryError, match="schema 99"):
        open_store(url)


def test_what_is_no_database_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"no database" * 1000)
    for url, kind in (
        (str(junk), StoreUnavailableError),
        ("mysql://host/db", TelemetryError),
        ("postgresql://u:secret@h d/", TelemetryError),
    ):
        with pytest.raises(kind) as caught:
            open_store(url)
        assert caught.value.remedy
        assert "secret" not in str(caught.value)
    with pytest.raises(StoreUnavailableError):
        open_store("postgresql://nobody@127.0.0.1:9/none")
    open_store(str(tmp_path / "spans.db"), span_s=600).close()
    with pytest.raises(TelemetryError, match="600 s"):
        open_store(str(tmp_path / "spans.db"), span_s=3600)
    assert open_store(str(tmp_path / "spans.db")).span_s == 600
