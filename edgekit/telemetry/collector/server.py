"""The collector as a service: two ports under uvicorn, and a shutdown that loses nothing.

Devices talk to one port, people and monitoring to the other (`admin`). At SIGTERM or SIGINT nothing more is accepted,
what was received is committed and answered, and then the process ends with status 0.
"""

from __future__ import annotations

import gc
import logging
import signal
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import MissingPackageError, TelemetryError
from edgekit.telemetry.collector.admin import AdminApp
from edgekit.telemetry.collector.app import CollectorApp
from edgekit.telemetry.collector.ingest import Ingest
from edgekit.telemetry.collector.keys import Keys, MasterKeys
from edgekit.telemetry.collector.reading import open_store
from edgekit.telemetry.collector.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.telemetry.collector.http import App, Receive, Scope, Send
    from edgekit.telemetry.collector.reading import SqlStore
    from edgekit.telemetry.collector.upkeep import Chores

SHUTDOWN_S = 20
BACKLOG = 2048
GARBAGE_AFTER_OBJECTS = 50_000


@dataclass(frozen=True)
class Settings:
    """How a collector runs.

    Attributes:
        database: its URL.
        key_file: with the master keys.
        host, port: where devices reach it; port 0 takes a free one.
        admin_host, admin_port: where people do.
        span_s: length of a span, for a new database; None: an hour.
        max_upload_bytes: of a body as it travels.
        max_body_bytes: of one after decompression.
        max_connections: of both ports together.
        request_s: within which a request must have come in whole.
        admin_names: further names under which people reach the admin port, such as the one that a proxy has.
    """

    database: str
    key_file: Path
    host: str = "127.0.0.1"
    port: int = 8787
    admin_host: str = "127.0.0.1"
    admin_port: int = 8788
    span_s: int | None = None
    max_upload_bytes: int = 64 << 10
    max_body_bytes: int = 4 << 20
    max_connections: int = 1024
    request_s: float = 20.0
    admin_names: tuple[str, ...] = ()


def key_file_of(database: str) -> Path:
    """Where the master key of a database is unless it is said: beside a file of SQLite.

    Raises:
        TelemetryError: PostgreSQL has no such place.
    """
    if database.startswith(("postgresql://", "postgres://")):
        raise TelemetryError(
            "With PostgreSQL the master key's file must be named.",
            remedy="Give --key-file FILE: the same content for every collector of the database.",
        )
    path = Path(database.removeprefix("sqlite:").removeprefix("//"))
    return path.with_name(path.name + ".key")


def serve(
    settings: Settings,
    chores: Chores,
    *,
    ready: Callable[[int, int], None],
    page_of: Callable[[SqlStore], App] | None = None,
) -> None:
    """Runs until a signal ends it.

    Args:
        settings: how.
        chores: what runs beside it.
        ready: called with both ports once they are open.
        page_of: makes what answers on the admin port beside the collector's own paths.

    Raises:
        TelemetryError: a port is taken; the database or the key cannot be used.
        MissingPackageError: uvicorn is not installed.
    """
    try:
        import uvicorn

        from edgekit.telemetry.collector.direct import protocol_of
    except ImportError as error:
        raise MissingPackageError(
            f"The collector needs the package {error.name}.", remedy="Install edgekit[collector]."
        ) from error
    store = open_store(settings.database, span_s=settings.span_s)
    keys = Keys(store.database, MasterKeys.load(settings.key_file))
    ingest = Ingest(store.database, span_s=store.span_s, max_body_bytes=settings.max_body_bytes)
    bounds = {"max_upload_bytes": settings.max_upload_bytes, "max_body_bytes": settings.max_body_bytes}
    collector = CollectorApp(ingest, keys, store.register, **bounds)
    names = frozenset((settings.admin_host, *settings.admin_names))
    admin = AdminApp(store, collector, hosts=names, page=page_of and page_of(store))
    sockets = [_listen(settings.host, settings.port), _listen(settings.admin_host, settings.admin_port)]
    port, admin_port = (each.getsockname()[1] for each in sockets)
    protocol = protocol_of(
        collector, port, max_upload_bytes=settings.max_upload_bytes,
        max_connections=settings.max_connections, request_s=settings.request_s,
    )  # fmt: skip
    config = uvicorn.Config(
        _by_port(collector, admin, admin_port), http=protocol,
        loop=_loop(), ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
        timeout_keep_alive=75, timeout_graceful_shutdown=SHUTDOWN_S, backlog=BACKLOG,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it writes a line for whatever is no HTTP
    upkeep = Upkeep(store, chores)
    upkeep.start()
    _collect_garbage_rarely()
    ready(port, admin_port)
    try:
        _server_class()(config).run(sockets=sockets)
    finally:
        upkeep.stop()
        store.close()


def _collect_garbage_rarely() -> None:
    """An upload makes hundreds of objects and no cycles: looking for cycles among everything that is imported, as often
    as Python does by itself, took a quarter of the time of an upload. Connections that end do leave cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER_OBJECTS, 10, 10)


def _loop() -> str:
    try:
        import uvloop  # noqa: F401 - twice as fast, where there is a wheel of it
    except ImportError:
        return "asyncio"
    return "uvloop"


def _by_port(collector: CollectorApp, admin: AdminApp, admin_port: int) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["server"][1] == admin_port:
            await admin(scope, receive, send)
        else:
            await collector(scope, receive, send)

    return app


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise TelemetryError(
            f"Nothing can listen on {host}:{port}: {error.strerror or error}.",
            remedy="Choose another one with --host, --port, --admin-host or --admin-port.",
        ) from error
    found.listen(BACKLOG)
    return found


def _server_class() -> type[Any]:
    import uvicorn

    class Server(uvicorn.Server):
        """Ends with status 0 at a signal, where uvicorn's own raises the signal again."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for each, handler in before.items():
                    signal.signal(each, handler)

    return Server
