"""PostgreSQL, for more than one collector. A write is a transaction of READ COMMITTED whose row locks order the rest.

Every thread has a connection. One that broke is thrown away, and the next transaction makes a new one, within
`CONNECT_S`; a statement that takes longer than `STATEMENT_S`, or waits for a lock that long, gives up.
"""

from __future__ import annotations

import select
import threading
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingPackageError, StoreUnavailableError, TelemetryError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import psycopg

    from edgekit.telemetry.collector.database import Row

CONNECT_S = 5
STATEMENT_S = 30
PAGE = 512
OPTIONS = f"-c statement_timeout={STATEMENT_S}s -c lock_timeout={STATEMENT_S}s -c synchronous_commit=on"
LINK = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": STATEMENT_S * 1000,
}  # fmt: skip
"""So that a server that vanishes without a word is noticed as soon as one that is slow."""


@lru_cache(maxsize=256)
def _dialect(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


class _Cursor:
    def __init__(self, cursor: psycopg.Cursor[Row]) -> None:
        self._cursor = cursor

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        self._cursor.execute(_dialect(sql), parameters)
        return self._cursor.rowcount

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._cursor.execute(_dialect(sql), parameters, binary=True).fetchall()

    def pages(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[list[Row]]:
        with self._cursor.connection.cursor("pages", binary=True) as cursor:  # named: it stays on the server
            cursor.execute(_dialect(sql), parameters)
            while page := cursor.fetchmany(PAGE):
                yield page

    def each(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        self._cursor.executemany(_dialect(sql), parameters)

    def each_inserts(self, sql: str, parameters: Sequence[Sequence[Any]]) -> list[bool]:
        if not parameters:
            return []
        added = []
        self._cursor.executemany(_dialect(sql + " RETURNING 1"), parameters, returning=True)
        while True:
            added.append(bool(self._cursor.fetchall()))
            if not self._cursor.nextset():
                return added

    def locked(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self.rows(sql + " FOR UPDATE", parameters)

    def alone_with(self, table: str) -> None:
        self._cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE".encode())


class Postgres:
    """A database on a server.

    Args:
        url: `postgresql://user:password@host:port/name`, as libpq reads it.

    Raises:
        MissingPackageError: the package psycopg is not installed.
        TelemetryError: the URL is none.
        StoreUnavailableError: the server does not answer.
    """

    kind = "postgresql"

    def __init__(self, url: str) -> None:
        try:
            import psycopg
            from psycopg import conninfo
        except ImportError as error:
            raise MissingPackageError(
                "PostgreSQL needs the package psycopg.", remedy="Install edgekit[collector-postgresql]."
            ) from error
        self._psycopg = psycopg
        try:
            self._conninfo = conninfo.make_conninfo(url, options=OPTIONS, application_name="edgekit", **LINK)
        except psycopg.ProgrammingError:  # its text has the whole URL, and so the password
            raise TelemetryError(
                "The URL of PostgreSQL cannot be read.", remedy="Write postgresql://user:password@host:port/name."
            ) from None
        self._local = threading.local()
        self._connection()

    @contextmanager
    def write(self) -> Iterator[_Cursor]:
        """A durable transaction (see `Database`)."""
        with self._transaction() as cursor:
            yield cursor

    @contextmanager
    def read(self) -> Iterator[_Cursor]:
        """A snapshot (see `Database`)."""
        with self._transaction("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY") as cursor:
            yield cursor

    @contextmanager
    def _transaction(self, begin: str = "") -> Iterator[_Cursor]:
        connection = self._connection()
        if not self._answers(connection):  # the server was restarted since; nothing was asked of it yet
            connection = self._connection()
        try:
            with connection.transaction(), connection.cursor() as cursor:
                if begin:
                    cursor.execute(begin.encode())
                yield _Cursor(cursor)
        except (self._psycopg.OperationalError, self._psycopg.InterfaceError, self._psycopg.InternalError) as error:
            self._forget(connection)
            raise self._unavailable(error) from error

    def _answers(self, connection: psycopg.Connection[Row]) -> bool:
        """Whether the server has not hung up; looks at the socket only. If it has, the connection is forgotten."""
        if not select.select([connection.fileno()], [], [], 0)[0]:
            return True
        try:
            connection.execute("SELECT 1")
        except self._psycopg.Error:
            self._forget(connection)
            return False
        return True

    def _forget(self, connection: psycopg.Connection[Row]) -> None:
        with suppress(Exception):  # it is broken; closing it may fail in any way
            connection.close()
        self._local.connection = None

    def _connection(self) -> psycopg.Connection[Row]:
        connection: psycopg.Connection[Row] | None = getattr(self._local, "connection", None)
        if connection is not None and not connection.closed:
            return connection
        try:
            connection = self._psycopg.connect(self._conninfo, autocommit=True)
        except self._psycopg.Error as error:
            raise self._unavailable(error) from error
        self._local.connection = connection
        return connection

    def _unavailable(self, error: Exception) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"PostgreSQL cannot be used now: {first_line(error)}.",
            remedy="Check that the server runs, that the URL is right, and that its disk has space.",
        )

    def size_bytes(self) -> int:
        """Of the whole database."""
        with self.read() as cursor:
            return int(cursor.rows("SELECT pg_database_size(current_database())")[0][0])

    def close(self) -> None:
        """Ends this thread's connection; those of other threads end with them."""
        connection: psycopg.Connection[Row] | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None
