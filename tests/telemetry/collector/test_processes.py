"""Real processes that are killed, stopped, and put side by side: what was acknowledged is there, once."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.telemetry.collector.keys import Keys, MasterKeys
from edgekit.telemetry.collector.reading import open_store
from tests.telemetry.collector.fleet import Fleet, same, summed
from tests.telemetry.collector.process import CollectorProcess, Senders

if TYPE_CHECKING:
    from edgekit.telemetry.reporter.window import Window
    from tests.telemetry.collector.postgres_server import PostgresServer

EVER = (0, 1 << 33)


class Prepared:
    """A database with a reference and devices, and signed uploads of one window each."""

    def __init__(self, url: str, key_file: Path, fleet: Fleet, count: int) -> None:
        self.url, self.key_file, self.fleet = url, key_file, fleet
        store = open_store(url)
        store.register(fleet.reference)
        keys = Keys(store.database, MasterKeys.load(key_file))
        devices = [keys.add(f"d{i}") for i in range(4)]
        self.windows: list[Window] = []
        self.uploads: list[tuple[int, bytes]] = []
        for i in range(count):
            key = devices[i % 4]
            self.windows.append(fleet.window(key.device, seq=i, n=40, hours_ago=i % 5))
            self.uploads.append((i, fleet.upload(key, [self.windows[-1]])))
        store.close()

    def stored(self) -> list[int]:
        """Which windows the database has; the sums must be those of exactly these."""
        store = open_store(self.url)
        with store.database.read() as cursor:
            found = [row[0] for row in cursor.rows("SELECT seq FROM windows ORDER BY seq")]
        totals = store.totals(self.fleet.reference.model, self.fleet.reference.id, *EVER)
        store.close()
        assert totals.windows == len(found)
        for name, counts in summed(self.fleet.reference, [self.windows[i] for i in found]).items():
            assert same(totals.features[name], counts), name
        return found


def test_killed_under_load_no_acknowledged_window_is_lost(sqlite_url: str, tmp_path: Path, fleet: Fleet) -> None:
    prepared = Prepared(sqlite_url, tmp_path / "key", fleet, 1200)
    acknowledged: set[int] = set()
    at = random.Random(11)
    begin = 0
    for _ in range(3):
        collector = CollectorProcess(sqlite_url, tmp_path / "key")
        senders = Senders([collector.port], prepared.uploads[begin : begin + 300], threads=16)
        senders.wait_for(at.randrange(40, 200))
        collector.kill()
        senders.join()
        begin += 300
        acknowledged |= set(senders.acknowledged)
        assert acknowledged <= set(prepared.stored())
    collector = CollectorProcess(sqlite_url, tmp_path / "key")
    senders = Senders([collector.port], prepared.uploads)  # devices send again what they do not know about
    senders.join()
    assert senders.statuses == [200] * 1200
    assert collector.stop() == 0
    assert prepared.stored() == list(range(1200))


def test_stopped_under_load_it_commits_answers_and_ends_with_status_0(
    sqlite_url: str, tmp_path: Path, fleet: Fleet
) -> None:
    prepared = Prepared(sqlite_url, tmp_path / "key", fleet, 900)
    collector = CollectorProcess(sqlite_url, tmp_path / "key")
    senders = Senders([collector.port], prepared.uploads, threads=16)
    senders.wait_for(100)
    assert collector.stop() == 0
    senders.join()
    assert set(senders.statuses) <= {200, 503}
    assert set(senders.acknowledged) == set(prepared.stored()), "everything that was taken was answered"


def test_two_processes_on_one_postgresql_give_the_totals_of_one(
    postgres: PostgresServer, tmp_path: Path, fleet: Fleet
) -> None:
    url = postgres.new_database("two")
    prepared = Prepared(url, tmp_path / "key", fleet, 400)
    both = [CollectorProcess(url, tmp_path / "key") for _ in range(2)]
    shuffled = prepared.uploads * 3
    random.Random(2).shuffle(shuffled)
    senders = Senders([each.port for each in both], shuffled, threads=8)
    senders.join()
    assert senders.statuses == [200] * len(shuffled)
    assert prepared.stored() == list(range(400))
    assert [each.stop() for each in both] == [0, 0]


def test_postgresql_killed_and_back_the_collector_goes_on(tmp_path: Path, fleet: Fleet) -> None:
    from tests.telemetry.collector.postgres_server import PostgresServer

    server = PostgresServer()
    server.start()
    try:
        prepared = Prepared(server.url, tmp_path / "key", fleet, 3)
        collector = CollectorProcess(server.url, tmp_path / "key")
        assert collector.upload(prepared.uploads[0][1]) == 200
        server.kill()
        status, _, headers = collector.ask("POST", "/v1/windows", prepared.uploads[1][1])
        assert status == 503
        assert int(headers["retry-after"]) > 0
        assert collector.ask("GET", "/health")[0] == 200
        assert collector.ask("GET", "/ready")[0] == 503
        assert b"edgekit_database_up 0" in collector.ask("GET", "/metrics", admin=True)[1]
        server.start()
        assert [collector.upload(body) for _, body in prepared.uploads] == [200, 200, 200]
        assert collector.ask("GET", "/ready")[0] == 200
        assert collector.stop() == 0
        assert prepared.stored() == [0, 1, 2]
    finally:
        server.stop()
