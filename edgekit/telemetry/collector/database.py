"""A database as the store needs it: transactions that end in a commit or an error, in two kinds.

`Database` is the Protocol; `sqlite` and `postgres` are its two implementations. SQL is written once, with `?` for its
parameters, in the dialect that both share. Whatever means "not now" (locked, full, gone, starting up) becomes
`StoreUnavailableError`, and the next transaction begins with a fresh connection if it must.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgekit.errors import StorageError, StoreUnavailableError, TelemetryError
from edgekit.telemetry.collector import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

Row = tuple[Any, ...]


class Cursor(Protocol):
    """Statements of one transaction."""

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Runs a statement; tells how many rows it changed."""
        ...

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows that a query gives. Bytes come as `bytes`."""
        ...

    def pages(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[list[Row]]:
        """The same, a few rows at a time: they are in the processor's cache when they are looked at."""
        ...

    def each(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Runs a statement once for each set of parameters."""
        ...

    def each_inserts(self, sql: str, parameters: Sequence[Sequence[Any]]) -> list[bool]:
        """The same with an INSERT … ON CONFLICT DO NOTHING: for each, whether a row was added."""
        ...

    def locked(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """A query whose rows no other transaction changes before this one ends."""
        ...

    def alone_with(self, table: str) -> None:
        """Lets no other transaction write to the table until this one ends."""
        ...


class Database(Protocol):
    """Where everything is kept."""

    kind: str

    def write(self) -> AbstractContextManager[Cursor]:
        """A transaction that is durable when the block has ended; undone if it raises.

        Raises:
            StoreUnavailableError: locked, full, gone.
        """
        ...

    def read(self) -> AbstractContextManager[Cursor]:
        """A transaction that only reads, and sees one state of everything.

        Raises:
            StoreUnavailableError: as `write`.
        """
        ...

    def size_bytes(self) -> int:
        """How much it takes on disk."""
        ...

    def close(self) -> None:
        """Ends this thread's connections, and those that nobody uses."""
        ...


def open_database(url: str, *, new: bool = True) -> Database:
    """`sqlite:PATH`, `PATH`, or `postgresql://…`; brought up to the schema of this version.

    Args:
        url: where it is.
        new: whether a file that is not there is made.

    Raises:
        TelemetryError: the URL is of no known kind, the database was made by a newer version, or there is none.
        StoreUnavailableError: it does not answer, or cannot be written.
        MissingPackageError: PostgreSQL without the package psycopg.
    """
    database: Database
    if url.startswith(("postgresql://", "postgres://")):
        from edgekit.telemetry.collector.postgres import Postgres

        database = Postgres(url)
    elif "://" in url.removeprefix("sqlite://"):
        raise TelemetryError(
            f"{url.split('://', maxsplit=1)[0]}:// is no database that EdgeKit knows.",
            remedy="Give a path, sqlite:PATH or postgresql://user@host/name.",
        )
    else:
        from edgekit.telemetry.collector.sqlite import Sqlite

        path = url.removeprefix("sqlite:").removeprefix("//")
        if not new and not Path(path).exists():
            raise TelemetryError(
                f"There is no database {path}.", remedy="Give the one of the collector: edgekit telemetry serve --db."
            )
        database = Sqlite(path)
    _migrate(database)
    return database


def _migrate(database: Database) -> None:
    with database.write() as cursor:
        cursor.run("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        cursor.alone_with("meta")
        found = cursor.rows("SELECT value FROM meta WHERE name = 'schema'")
        have = int(found[0][0]) if found else 0
        if have > schema.SCHEMA:
            raise TelemetryError(
                f"The database has schema {have}; this EdgeKit knows up to {schema.SCHEMA}.",
                remedy="Use the newer EdgeKit that made it.",
            )
        if have == schema.SCHEMA:
            return
        for statement in schema.statements(database.kind, have):
            cursor.run(statement)
        upsert = "INSERT INTO meta VALUES ('schema', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        cursor.run(upsert, (str(schema.SCHEMA),))
        cursor.run("INSERT INTO meta VALUES ('generation', '0') ON CONFLICT (name) DO NOTHING")


__all__ = ["Cursor", "Database", "Row", "StorageError", "StoreUnavailableError", "open_database"]
