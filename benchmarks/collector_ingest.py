"""How many uploads a second the collector makes durable, against FastAPI and Starlette with the same store behind.

Every server is a process on one core, the client one on another. 64 connections each send an upload of one window (ten
features) and wait for its answer before the next. An answer comes after the transaction that has the window, its
sums and its device in it was synced to disk (SQLite, WAL, synchronous=FULL). The client is a loop over epoll and raw
sockets with uploads that were signed before the clock starts; its share of a core is told, to show that it waits.

    ours       edgekit telemetry serve: uvicorn with httptools and uvloop, bounded connections, uploads without ASGI
    granian    the same application as ASGI under granian (if it is installed)
    starlette  a Starlette route around the same `CollectorApp.take`
    fastapi    a FastAPI route around it
    each       ours, but a transaction for each upload instead of a group commit

Goal: 5,000 acks a second and core or more, 99 % within 100 ms. On a machine that others use too, acks per CPU second of
the server is the steadier figure.

    python benchmarks/collector_ingest.py --seconds 6 --rounds 3
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))


from edgekit.telemetry.collector.app import CollectorApp  # noqa: E402
from edgekit.telemetry.collector.ingest import Ingest  # noqa: E402
from edgekit.telemetry.collector.keys import Keys, MasterKeys  # noqa: E402
from edgekit.telemetry.collector.reading import open_store  # noqa: E402
from tests.telemetry.collector.fleet import Fleet, a_reference  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

FOLDER = "EDGEKIT_BENCH_FOLDER"
TEMPLATES = 200
SERVERS = ("ours", "granian", "starlette", "fastapi", "each")


def collector(*, each: bool = False) -> CollectorApp:
    """The application over the database of the run."""
    folder = Path(os.environ[FOLDER])
    store = open_store(str(folder / "telemetry.db"))
    keys = Keys(store.database, MasterKeys.load(folder / "telemetry.db.key"))
    ingest = Ingest(store.database, span_s=store.span_s, max_body_bytes=4 << 20)
    if each:
        together = ingest.commit
        ingest.commit = lambda uploads: [together([upload])[0] for upload in uploads]  # type: ignore[method-assign]
    return CollectorApp(ingest, keys, store.register, max_upload_bytes=64_000, max_body_bytes=4 << 20)


def ours_asgi() -> object:
    """For granian."""
    return collector()


def ours_each() -> object:
    """A transaction for each upload."""
    return collector(each=True)


def starlette_app() -> object:
    """The same behind Starlette."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    taker = collector()

    async def windows(request: Request) -> Response:
        answer = await taker.take(await request.body())
        return Response(answer.body, answer.status, media_type="application/json")

    return Starlette(routes=[Route("/v1/windows", windows, methods=["POST"])])


def fastapi_app() -> object:
    """The same behind FastAPI."""
    from fastapi import FastAPI, Request
    from fastapi.responses import Response

    taker = collector()
    app = FastAPI()

    async def windows(request: Request) -> Response:
        answer = await taker.take(await request.body())
        return Response(answer.body, answer.status, media_type="application/json")

    windows.__annotations__ = {"request": Request, "return": Response}  # FastAPI cannot resolve names of this function
    app.post("/v1/windows", response_model=None)(windows)
    return app


def command_of(server: str, port: int) -> list[str]:
    """How a server is started."""
    python = [sys.executable, "-m"]
    module = "collector_ingest"
    uvicorn = ["uvicorn", "--factory", "--no-access-log", "--log-level", "warning", "--port", str(port)]
    uvicorn += ["--app-dir", str(REPOSITORY / "benchmarks")]
    uvicorn += ["--loop", "uvloop", "--http", "httptools"]
    if server == "ours":
        ports = ["--port", str(port), "--admin-port", "0"]
        return [*python, "edgekit", "telemetry", "serve", "--db", f"{os.environ[FOLDER]}/telemetry.db", *ports]
    if server == "granian":
        options = ["--interface", "asgi", "--factory", "--no-access-log", "--log-level", "error", "--loop", "uvloop"]
        options += ["--working-dir", str(REPOSITORY / "benchmarks")]
        return [*python, "granian", *options, "--port", str(port), f"{module}:ours_asgi"]
    factory = {"starlette": "starlette_app", "fastapi": "fastapi_app", "each": "ours_each"}[server]
    return [*python, *uvicorn, f"{module}:{factory}"]


@dataclass(frozen=True)
class Figures:
    """What one run gave."""

    acks_per_s: float
    acks_per_cpu_s: float
    p50_ms: float
    p99_ms: float
    client_share: float


def requests_of(folder: Path, count: int) -> list[bytes]:
    """Signed requests, each with a window of its own, for the database that is made in `folder`.

    The windows' counts come from a few templates.
    """
    store = open_store(str(folder / "telemetry.db"))
    keys = Keys(store.database, MasterKeys.load(folder / "telemetry.db.key"))
    reference = a_reference("bench", numbers=9, cells=136)
    store.register(reference)
    fleet = Fleet(reference, seed=1)
    templates = [fleet.window("d", n=1000) for _ in range(TEMPLATES)]
    devices = [keys.add(f"device-{i}") for i in range(100)]
    found = []
    for i in range(count):
        key = devices[i % len(devices)]
        body = fleet.upload(key, [templates[i % TEMPLATES]._replace(device=key.device, seq=i)])
        found.append(b"POST /v1/windows HTTP/1.1\r\nhost: b\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    store.close()
    return found


def drive(port: int, requests: list[bytes], connections: int, seconds: float) -> tuple[int, float, list[float]]:
    """(acks, seconds, latencies) of a closed loop over `connections` connections."""
    poll = select.epoll()
    sockets = {}
    pending = iter(requests)
    sent = {}
    for _ in range(connections):
        each = socket.create_connection(("127.0.0.1", port))
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        each.setblocking(False)
        sockets[each.fileno()] = each
        poll.register(each, select.EPOLLIN)
    began = time.perf_counter()
    for number, each in sockets.items():
        each.send(next(pending))
        sent[number] = time.perf_counter()
    latencies = []
    parts: dict[int, bytes] = {}
    end = began + seconds
    now = began
    open_now = set(sockets)
    while open_now:
        for number, _ in poll.poll(10):
            answer = parts.pop(number, b"") + sockets[number].recv(4096)
            if answer and not answer.endswith(b"}"):
                parts[number] = answer
                continue
            now = time.perf_counter()
            if not answer.startswith(b"HTTP/1.1 200") or b'"accepted":1' not in answer:
                raise RuntimeError(f"an upload was not taken: {answer!r}")
            latencies.append(now - sent[number])
            following = next(pending, None) if now < end else None
            if following is None:
                open_now.discard(number)
                poll.unregister(number)
                continue
            sockets[number].send(following)
            sent[number] = now
    for each in sockets.values():
        each.close()
    return len(latencies), now - began, latencies


def cpu_s(pid: int) -> float:
    """CPU seconds that a process, and its children, have used."""
    total = 0
    for task in [pid, *_children(pid)]:
        fields = Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def run(server: str, prepared: Path, requests: list[bytes], *, connections: int, seconds: float, core: int) -> Figures:
    """Starts a server, drives it, checks that the database has every window that was acknowledged."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:
        folder = Path(name)
        os.environ[FOLDER] = name
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = ["taskset", "-c", str(core), *command_of(server, port)]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise RuntimeError(f"{server} did not start") from None
                    time.sleep(0.1)
            time.sleep(3)  # until the first check for drift, of an empty store, is over: one comes every 15 minutes
            server_before, client_before = cpu_s(process.pid), time.process_time()
            acks, elapsed, latencies = drive(port, requests, connections, seconds)
            server_cpu, client_cpu = cpu_s(process.pid) - server_before, time.process_time() - client_before
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
        store = open_store(str(folder / "telemetry.db"))
        with store.database.read() as cursor:
            [(stored,)] = cursor.rows("SELECT COUNT(*) FROM windows")
        [model] = store.models()
        totals = store.totals(model.model, model.reference, 0, 1 << 33)
        store.close()
        if not stored == totals.windows == acks:
            raise RuntimeError(f"{acks} acknowledged, {stored} stored, {totals.windows} in the sums")
        cuts = statistics.quantiles(latencies, n=100)
        return Figures(acks / elapsed, acks / server_cpu, cuts[49] * 1e3, cuts[98] * 1e3, client_cpu / elapsed)


def measure(
    servers: Sequence[str], *, rounds: int = 3, seconds: float = 6, connections: int = 64, most: int = 60_000,
    server_core: int = 0, client_core: int = 1,
) -> dict[str, list[Figures]]:  # fmt: skip
    """Every server in turn, round after round. This process stays on the client's core afterwards."""
    os.sched_setaffinity(0, {client_core})
    results: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as name:
        requests = requests_of(Path(name), most)
        for _ in range(rounds):
            for server in servers:
                figures = run(server, Path(name), requests, connections=connections, seconds=seconds, core=server_core)
                results.setdefault(server, []).append(figures)
                print(f"{server}: {figures}", file=sys.stderr)
    return results


def main() -> None:
    """Runs every server in turn, round after round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--most", type=int, default=60_000, help="uploads that are signed ahead")
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    options = parser.parse_args()
    results = measure(
        options.servers.split(","), rounds=options.rounds, seconds=options.seconds, connections=options.connections,
        most=options.most, server_core=options.server_core, client_core=options.client_core,
    )  # fmt: skip
    print(
        f"load {os.getloadavg()[0]:.1f}; {options.connections} connections, {options.seconds:g} s, medians (min to max)"
    )
    print("| server | acks/s | acks per CPU s of the server | p50 ms | p99 ms | client's share of its core |")
    print("|---|---|---|---|---|---|")
    for server, runs in results.items():
        columns = zip(*[tuple(vars(each).values()) for each in runs], strict=True)
        cells = [f"{statistics.median(c):.3g} ({min(c):.3g} to {max(c):.3g})" if max(c) < 100 else
                 f"{statistics.median(c):,.0f} ({min(c):,.0f} to {max(c):,.0f})" for c in columns]  # fmt: skip
        print(f"| {server} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
