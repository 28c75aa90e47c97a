"""A few thousand hostile requests: no crash, no 5xx, bounded memory, and sums that are still those of the windows.

benchmarks/collector_fuzz.py sends 100,000 and more of the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from edgekit.telemetry.reporter import wire
from tests.telemetry.collector.fleet import Fleet, summed
from tests.telemetry.collector.hostile import Enemy, raw_request
from tests.telemetry.collector.process import CollectorProcess

if TYPE_CHECKING:
    from tests.telemetry.collector.conftest import Collector

pytestmark = pytest.mark.slow
REQUESTS = 5000
ROOM_KB = 120_000
"""What the process may grow by: a body of the largest kind several times over."""


def resident_kb(pid: int | str = "self") -> int:
    """Memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def sums_are_those_of_the_windows(collector: Collector, fleet: Fleet) -> int:
    """Asserts it for what is merged; how many windows that are."""
    with collector.store.database.read() as cursor:
        rows = cursor.rows(
            "SELECT frame FROM windows JOIN streams ON windows.stream = streams.stream WHERE state = 0 AND model = ?"
            " AND reference = ?",
            (fleet.reference.model, fleet.reference.id),
        )
    totals = collector.store.totals(fleet.reference.model, fleet.reference.id, 0, 1 << 40)
    windows = [wire.decode(frame) for (frame,) in rows]
    assert totals.windows == len(windows)
    for name, counts in summed(fleet.reference, windows).items():
        assert totals.features[name][:7] == counts[:7], name  # moments that contradict themselves merge as they may
    return len(windows)


def test_hostile_requests_do_no_harm(sqlite_url: str, make_collector: Callable[[str], Collector], fleet: Fleet) -> None:
    collector = make_collector(sqlite_url)
    collector.store.register(fleet.reference)
    enemy = Enemy(Random(20), fleet, collector.device("stolen"))
    requests = [enemy.request() for _ in range(REQUESTS)]
    before = resident_kb()
    statuses: list[int] = []

    async def go() -> None:
        for at in range(0, REQUESTS, 250):
            batch = requests[at : at + 250]
            statuses.extend(
                status
                for status, _ in await asyncio.gather(
                    *(collector.client.ask(each.method, each.path, each.body) for each in batch)
                )
            )
        await collector.app.close()

    asyncio.run(go())
    assert set(statuses) <= {200, 400, 401, 404, 405, 413}
    assert min(statuses.count(each) for each in (200, 400, 401, 404, 405, 413)) > 20, "all kinds were reached"
    assert resident_kb() - before < ROOM_KB
    assert sums_are_those_of_the_windows(collector, fleet) > 100


def test_hostile_bytes_on_real_sockets_do_no_harm(sqlite_url: str, tmp_path: Path) -> None:
    process = CollectorProcess(sqlite_url, tmp_path / "key", "--max-connections", "60")
    random = Random(4)
    started = resident_kb(process.process.pid)
    statuses: dict[bytes, int] = {}
    idle = []
    for number in range(1500):
        peer = socket.create_connection(("127.0.0.1", process.port), timeout=10)
        peer.settimeout(0.02)
        try:
            peer.sendall(raw_request(random, b"EE" + random.randbytes(50)))
            answer = peer.recv(65536)
        except TimeoutError:
            answer = b"(waits)"
        except OSError:
            answer = b"(closed)"
        statuses[answer[9:12] or b"(closed)"] = statuses.get(answer[9:12] or b"(closed)", 0) + 1
        if number % 30 == 0 and len(idle) < 30:
            idle.append(peer)  # a client that leaves its request unfinished
        else:
            peer.close()
    assert not [status for status in statuses if status.startswith(b"5")], statuses
    assert statuses.keys() >= {b"200", b"400", b"404", b"431"}, statuses
    assert process.ask("GET", "/health")[0] == 200
    assert resident_kb(process.process.pid) - started < ROOM_KB
    for peer in idle:
        peer.close()
    assert process.stop() == 0
    assert b"Traceback" not in process.log.read_bytes()


def test_too_many_connections_are_told_to_come_again_and_slow_ones_are_ended(sqlite_url: str, tmp_path: Path) -> None:
    process = CollectorProcess(sqlite_url, tmp_path / "key", "--max-connections", "8", "--request-timeout", "3s")
    peers = [socket.create_connection(("127.0.0.1", process.port), timeout=40) for _ in range(8)]
    time.sleep(0.3)
    extra = socket.create_connection(("127.0.0.1", process.port), timeout=10)
    assert extra.recv(100).startswith(b"HTTP/1.1 503")
    extra.close()
    peers[0].sendall(b"POST /v1/windows HTTP/1.1\r\ncontent-length: 100\r\n\r\nslow")
    peers[1].sendall(b"POST /v1/windows HTTP/1.1\r\n")
    began = time.monotonic()
    for peer in peers[:3]:  # a body that stops, a head that stops, nothing at all
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(100) == b""
    assert 1 < time.monotonic() - began < 20
    assert process.ask("GET", "/health")[0] == 200
    assert process.stop() == 0


def test_a_body_that_is_too_large_gets_its_answer(sqlite_url: str, tmp_path: Path) -> None:
    process = CollectorProcess(sqlite_url, tmp_path / "key")
    for size in (64_001, 500_000, 1 << 20):
        assert process.upload(bytes(size)) == 413
    assert process.stop() == 0
