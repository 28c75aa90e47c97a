"""A real PostgreSQL in a temporary folder, on a Unix socket of its own, run by the user `postgres`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

STARTS_WITHIN_S = 30


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        raise FileNotFoundError("no PostgreSQL here; on Debian: apt-get install postgresql")
    return found[-1]


class PostgresServer:
    """The server; `url` reaches it. It can be killed and started again."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="edgekit-postgres-"))
        self._data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self.folder.chmod(0o711)
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres")
        command = [_binaries() / "initdb", "-D", self._data, "-U", "edgekit", "--auth=trust", "--no-sync"]
        subprocess.run([*self._as_postgres(), *command], check=True, capture_output=True, cwd="/", timeout=60)

    @property
    def url(self) -> str:
        """Of its default database."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Of one of its databases."""
        return f"postgresql://edgekit@/{database}?host={self.folder}"

    def new_database(self, name: str) -> str:
        """Makes an empty database; its URL."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url_of(name)

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        settings = ("listen_addresses=", f"unix_socket_directories={self.folder}", "fsync=off")
        options = [part for setting in settings for part in ("-c", setting)]
        command = [*self._as_postgres(), _binaries() / "postgres", "-D", self._data, *options]
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, start_new_session=True)
        log.close()
        deadline = time.monotonic() + STARTS_WITHIN_S
        ready = [_binaries() / "pg_isready", "-q", "-h", self.folder, "-U", "edgekit", "-d", "postgres"]
        while subprocess.run(ready, cwd="/").returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text())
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends it as a crash does: no checkpoint, connections broken."""
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGQUIT)
        self._wait()

    def stop(self) -> None:
        """Ends it, and removes everything."""
        if self._process is not None and self._process.poll() is None:
            postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
            os.kill(postmaster, signal.SIGQUIT)
            self._wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(timeout=30)

    def _as_postgres(self) -> list[str]:
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
