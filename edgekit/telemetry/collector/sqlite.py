"""SQLite: the default. One file, WAL, synchronous=FULL: what was committed survives a power cut.

There is one writer at a time; every thread has its own connection, and readers see the last commit without waiting.
A write waits for another process's for `BUSY_S` at most.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import StoreUnavailableError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgekit.telemetry.collector.database import Row

BUSY_S = 5.0
PAGE = 64
PAGE_BYTES = 8192
"""Of a new file. Windows mostly have 1 to 3 kB: of pages of 4 kB, SQLite's own choice, half is often left empty, and
every page that a transaction touches is written to the log."""
CHECKPOINT_PAGES = 2000
"""Pages of the log between checkpoints: 16 MB, so that a checkpoint is rare under load."""


class _Cursor:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return self._connection.execute(sql, parameters).rowcount

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def pages(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[list[Row]]:
        cursor = self._connection.execute(sql, parameters)
        while page := cursor.fetchmany(PAGE):
            yield page

    def each(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(sql, parameters)

    def each_inserts(self, sql: str, parameters: Sequence[Sequence[Any]]) -> list[bool]:
        execute = self._connection.execute
        return [execute(sql, row).rowcount > 0 for row in parameters]

    locked = rows  # a write transaction is alone anyway

    def alone_with(self, table: str) -> None:
        """Nothing to do: a write transaction is alone."""


class Sqlite:
    """A database file.

    Raises:
        StoreUnavailableError: it cannot be opened, or is no SQLite file.
    """

    kind = "sqlite"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._local = threading.local()
        self._writing = threading.Lock()
        self._connect()

    @contextmanager
    def write(self) -> Iterator[_Cursor]:
        """A durable transaction (see `Database`)."""
        if not self._writing.acquire(timeout=BUSY_S):  # SQLite's own wait for a lock polls, ever more rarely
            raise self._unavailable(sqlite3.OperationalError("another thread writes for too long"))
        try:
            with self._transaction("BEGIN IMMEDIATE") as cursor:
                yield cursor
        finally:
            self._writing.release()

    @contextmanager
    def read(self) -> Iterator[_Cursor]:
        """A snapshot (see `Database`)."""
        with self._transaction("BEGIN") as cursor:
            yield cursor

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[_Cursor]:
        connection: sqlite3.Connection = getattr(self._local, "connection", None) or self._connect()
        try:
            connection.execute(begin)
            yield _Cursor(connection)
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._undo(connection)
            if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)):
                raise
            raise self._unavailable(error) from error
        except BaseException:
            self._undo(connection)
            raise

    def _undo(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # says nothing to a file that is there
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA mmap_size = 268435456")
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        self._local.connection = connection
        return connection

    def _unavailable(self, error: sqlite3.Error) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"The database {self.path} cannot be used now: {first_line(error)}.",
            remedy="Check the disk's space, the file's permissions, and which other program holds it.",
        )

    def size_bytes(self) -> int:
        """Of the file and its log."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        """Ends this thread's connection; those of other threads end with them."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None
