"""Both ways that an upload can go give the same answers, in the order of the requests, on one connection."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from edgekit.telemetry.collector.direct import protocol_of
from edgekit.telemetry.collector.keys import Keys, MasterKeys
from edgekit.telemetry.collector.reading import open_store
from tests.telemetry.collector.process import CollectorProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.telemetry.collector.conftest import Collector
    from tests.telemetry.collector.fleet import Fleet

HEALTH = b"GET /health HTTP/1.1\r\nhost: c\r\n\r\n"


def post(body: bytes, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST /v1/windows HTTP/{version}", "Host: c", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes) -> bytes:
    head = b"POST /v1/windows HTTP/1.1\r\nhost: c\r\ntransfer-encoding: chunked\r\n\r\n"
    parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:50], body[50:]))
    return head + parts + b"0\r\n\r\n"


class Peer:
    """One connection, and the answers on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self.socket.makefile("rb")

    def send(self, *requests: bytes) -> None:
        self.socket.sendall(b"".join(requests))

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """(status, headers, JSON) of the next answer."""
        line = self._file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers = {}
        while (header := self._file.readline().decode().strip()) != "":
            name, _, value = header.partition(": ")
            headers[name.lower()] = value
        body = self._file.read(int(headers.get("content-length", "0")))
        return int(line.split()[1]), headers, json.loads(body) if body else None

    def is_closed(self) -> bool:
        return self._file.read(1) == b""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CollectorProcess, Any]]:
    """A collector, and a device's key."""
    folder = tmp_path_factory.mktemp("direct")
    url = str(folder / "t.db")
    store = open_store(url)
    key = Keys(store.database, MasterKeys.load(folder / "key")).add("d1")
    store.close()
    process = CollectorProcess(url, folder / "key")
    yield process, key
    assert process.stop() == 0
    assert b"Traceback" not in process.log.read_bytes()


@pytest.fixture
def upload(served: tuple[CollectorProcess, Any], fleet: Fleet, tmp_path: Path) -> Callable[..., bytes]:
    """Makes uploads of so many windows that were never sent."""
    boot = f"{abs(hash(tmp_path)):032x}"[:32]
    return lambda windows=1: fleet.upload(served[1], [fleet.window("d1", n=50, boot=boot) for _ in range(windows)])


def test_answers_come_in_the_order_of_the_requests(
    served: tuple[CollectorProcess, Any], upload: Callable[..., bytes]
) -> None:
    first = upload(1)
    peer = Peer(served[0].port)
    peer.send(post(first), HEALTH, post(upload(2)), chunked(upload(3)), HEALTH, post(b"no envelope"), post(first))
    found = [peer.answer() for _ in range(7)]
    assert [status for status, _, _ in found] == [200, 200, 200, 200, 200, 400, 200]
    counted = [(body or {}).get("accepted") for _, _, body in found]
    assert counted == [1, None, 2, 3, None, None, 0]
    assert found[6][2] == {"accepted": 0, "duplicates": 1}
    for _ in range(3):  # and again, one after another
        peer.send(post(upload(1)))
        status, headers, body = peer.answer()
        assert (status, body) == (200, {"accepted": 1, "duplicates": 0})
        assert headers.keys() >= {"date", "content-type", "content-length", "x-content-type-options"}
        assert "connection" not in headers


def test_an_upload_in_many_pieces(served: tuple[CollectorProcess, Any], upload: Callable[..., bytes]) -> None:
    peer = Peer(served[0].port)
    request = post(upload(2))
    for at in range(0, len(request), 200):
        peer.send(request[at : at + 200])
    assert peer.answer()[2] == {"accepted": 2, "duplicates": 0}


@pytest.mark.parametrize(
    ("headers", "version"),
    [(("Connection: close",), "1.1"), ((), "1.0"), (("Upgrade: h2c", "Connection: close"), "1.1")],
)
def test_odd_ones_are_answered_too_and_closed(
    served: tuple[CollectorProcess, Any], upload: Callable[..., bytes], headers: tuple[str, ...], version: str
) -> None:
    peer = Peer(served[0].port)
    peer.send(post(upload(1), *headers, version=version))
    status, _, body = peer.answer()
    assert (status, body) == (200, {"accepted": 1, "duplicates": 0})
    assert peer.is_closed()


def test_one_that_asks_before_it_sends(served: tuple[CollectorProcess, Any], upload: Callable[..., bytes]) -> None:
    body = upload(1)
    peer = Peer(served[0].port)
    peer.send(post(body, "Expect: 100-continue", "X-Odd: 1")[: -len(body)])
    assert peer.answer()[0] == 100
    peer.send(body)
    assert peer.answer()[2] == {"accepted": 1, "duplicates": 0}


def test_what_is_no_upload_is_refused(served: tuple[CollectorProcess, Any], upload: Callable[..., bytes]) -> None:
    body = bytearray(upload(1))
    body[-1] ^= 1
    peer = Peer(served[0].port)
    peer.send(post(bytes(body)))
    assert peer.answer()[0] == 401
    peer.send(post(b""))
    assert peer.answer()[0] == 400
    peer.send(post(bytes(70_000)))
    status, headers, _ = peer.answer()
    assert (status, headers["connection"]) == (413, "close")
    assert peer.is_closed()
    admin = Peer(served[0].admin_port)
    admin.send(post(upload(1)).replace(b"Host: c", b"Host: localhost"))
    assert admin.answer()[0] in (404, 405), "people's port takes no uploads"


class Wire(asyncio.Transport):
    """A connection whose peer reads nothing."""

    def __init__(self, collector: Collector, *, request_s: float = 20.0) -> None:
        import uvicorn
        from uvicorn.server import ServerState

        super().__init__()
        self.unread, self.closed, self.reading = 0, False, True
        bounds = {"max_connections": 8, "request_s": request_s}
        kind = protocol_of(collector.app, 80, max_upload_bytes=1 << 16, **bounds)
        config = uvicorn.Config(collector.app, http=kind, log_config=None, lifespan="off")
        config.load()
        self.protocol = kind(config=config, server_state=ServerState(), app_state={})
        self.protocol.connection_made(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 80) if name in ("sockname", "peername") else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.unread += len(data)
        if self.unread > 1 << 16:
            self.protocol.pause_writing()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def test_answers_do_not_pile_up_for_a_client_that_reads_none(collector: Collector) -> None:
    async def run() -> Wire:
        wire = Wire(collector)
        for _ in range(5000):
            if wire.reading and not wire.closed:
                wire.protocol.data_received(post(b"no envelope"))
            await asyncio.sleep(0)
        wire.protocol.connection_lost(None)
        await asyncio.sleep(0.1)
        return wire

    wire = asyncio.run(run())
    assert wire.unread < 100_000


@pytest.mark.parametrize("first", [HEALTH, post(b"no envelope")])
@pytest.mark.parametrize("beginning", [post(bytes(100))[:-50], HEALTH[:-5]])
def test_a_request_that_begins_in_the_piece_that_ends_another_has_its_time_too(
    collector: Collector, first: bytes, beginning: bytes
) -> None:
    async def run() -> bool:
        wire = Wire(collector, request_s=0.2)
        wire.protocol.data_received(first + beginning)
        await asyncio.sleep(1)
        ended = wire.closed
        wire.protocol.connection_lost(None)
        await asyncio.sleep(0.1)
        return ended

    assert asyncio.run(run())
