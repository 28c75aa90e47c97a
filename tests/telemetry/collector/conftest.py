"""Fixtures: both kinds of database for real, and a collector in this process over each."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgekit.telemetry.collector.app import CollectorApp
from edgekit.telemetry.collector.ingest import Ingest
from edgekit.telemetry.collector.keys import IssuedKey, Keys, MasterKeys
from edgekit.telemetry.collector.reading import SqlStore, open_store
from tests.telemetry.collector.fleet import Client, Fleet, a_reference
from tests.telemetry.collector.postgres_server import PostgresServer

_NAMES = (f"t{number}" for number in itertools.count())


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL server."""
    server = PostgresServer()
    server.start()
    yield server
    server.stop()


@dataclass
class Collector:
    """A collector without sockets."""

    url: str
    masters: MasterKeys
    store: SqlStore = field(init=False)
    keys: Keys = field(init=False)
    app: CollectorApp = field(init=False)
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.store = open_store(self.url)
        self.keys = Keys(self.store.database, self.masters)
        self.ingest = Ingest(self.store.database, span_s=self.store.span_s, max_body_bytes=1 << 20)
        bounds = {"max_upload_bytes": 1 << 16, "max_body_bytes": 1 << 20}
        self.app = CollectorApp(self.ingest, self.keys, self.store.register, **bounds)
        self.client = Client(self.app)

    def device(self, name: str = "d1", *, cohort: str | None = None) -> IssuedKey:
        """A device with a key."""
        return self.keys.add(name, cohort=cohort)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Where a database of SQLite can be made."""
    return str(tmp_path / "telemetry.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database(next(_NAMES))


@pytest.fixture
def make_collector(tmp_path: Path) -> Callable[[str], Collector]:
    """Makes collectors over a URL; all of a test share their master key."""
    masters = MasterKeys.load(tmp_path / "master.key")
    return lambda url: Collector(url, masters)


@pytest.fixture
def collector(url: str, make_collector: Callable[[str], Collector]) -> Iterator[Collector]:
    """A collector over each kind of database."""
    made = make_collector(url)
    yield made
    made.store.close()


@pytest.fixture
def fleet() -> Fleet:
    """Windows of a small reference."""
    return Fleet(a_reference(), seed=7)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder that is emptied afterwards: databases of load tests are large."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
