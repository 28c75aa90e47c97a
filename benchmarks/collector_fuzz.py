"""100,000 hostile requests to the collector: no crash, no 5xx, bounded memory, and sums that are those of the windows.

Most go straight into the ASGI application, some over real sockets to `edgekit telemetry serve`. They are those of
tests/telemetry/collector/hostile.py: noise, damaged and replayed uploads, everything that a stolen key can sign
(damaged frames with good checksums, decompression bombs, deeply nested references), oversized bodies, bad enrolments,
broken HTTP.

    python benchmarks/collector_fuzz.py --requests 100000 --sockets 5000 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from report import machine

from edgekit.telemetry.collector.keys import MasterKeys
from tests.telemetry.collector.conftest import Collector
from tests.telemetry.collector.fleet import Fleet, a_reference
from tests.telemetry.collector.hostile import Enemy, raw_request
from tests.telemetry.collector.process import CollectorProcess
from tests.telemetry.collector.test_hostile import resident_kb, sums_are_those_of_the_windows

TOGETHER = 250


async def in_process(collector: Collector, enemy: Enemy, requests: int) -> tuple[Counter[int], list[int]]:
    """Statuses, and the memory in kB as it went."""
    statuses: Counter[int] = Counter()
    memory = []
    for at in range(0, requests, TOGETHER):
        batch = [enemy.request() for _ in range(min(TOGETHER, requests - at))]
        asked = [collector.client.ask(each.method, each.path, each.body) for each in batch]
        statuses.update([status for status, _ in await asyncio.gather(*asked)])
        memory.append(resident_kb())
    await collector.app.close()
    return statuses, memory


def over_sockets(process: CollectorProcess, random: Random, requests: int) -> Counter[str]:
    """Statuses of raw requests; what was not answered within 20 ms counts as such."""
    statuses: Counter[str] = Counter()
    for _ in range(requests):
        with socket.create_connection(("127.0.0.1", process.port), timeout=10) as peer:
            peer.settimeout(0.02)
            try:
                peer.sendall(raw_request(random, b"EE" + random.randbytes(50)))
                statuses[peer.recv(65536)[9:12].decode("latin-1") or "closed"] += 1
            except TimeoutError:
                statuses["waits for more"] += 1
            except OSError:
                statuses["closed"] += 1
    return statuses


def main() -> None:
    """Both, and what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--sockets", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        collector = Collector(str(folder / "telemetry.db"), MasterKeys.load(folder / "key"))
        fleet = Fleet(a_reference(), seed=options.seed)
        collector.store.register(fleet.reference)
        enemy = Enemy(Random(options.seed), fleet, collector.device("stolen"))
        began = time.perf_counter()
        statuses, memory = asyncio.run(in_process(collector, enemy, options.requests))
        seconds = time.perf_counter() - began
        merged = sums_are_those_of_the_windows(collector, fleet)
        collector.store.close()

        process = CollectorProcess(str(folder / "second.db"), folder / "key")
        before = resident_kb(process.process.pid)
        raw = over_sockets(process, Random(options.seed), options.sockets)
        after = resident_kb(process.process.pid)
        healthy = process.ask("GET", "/health")[0] == 200
        ended = process.stop()
    print(machine("uvicorn", "httptools"))
    print(f"in-process: {sum(statuses.values()):,} requests in {seconds:.0f} s: {dict(sorted(statuses.items()))}")
    tenth = max(1, len(memory) // 10)
    print(f"memory: {max(memory[:tenth]) >> 10} MB after a tenth, {max(memory) >> 10} MB at most")
    print(f"{merged:,} windows were taken and merged; the sums are theirs")
    print(f"sockets: {sum(raw.values()):,} requests: {dict(sorted(raw.items()))}; {before >> 10} to {after >> 10} MB")
    failed = [status for status in (*map(str, statuses), *raw) if status.startswith("5")]
    print(f"5xx: {failed or 'none'}; healthy at the end: {healthy}; exit status {ended}")
    if failed or not healthy or ended:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
