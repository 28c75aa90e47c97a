"""EdgeKit's push over ADB against `adb push`: one real adbd, one random file, in rounds.

    python benchmarks/adb_throughput.py [--rounds 9] [--megabytes 30]

A round sends the file in turn, and each round begins with another way:

- edgekit: `Transport.put` on an open connection: up to 32 MiB, and what takes less than a second, through adb's sync
  service; more through the shell;
- edgekit, connecting: the same with a new connection each time, which is what `adb push` does;
- edgekit, shell: through the shell whatever the size is; what a resumed upload takes;
- adb push.

Prints MB/s (10^6 bytes a second, wall clock), and EdgeKit's rate over adb's, round by round. The first round is a
warm-up and not counted. The adb server, adbd and the client share the machine's cores, so the rate is that of all of
them. The device is the tests' (tests/devices/adb_network.py): Debian's adbd, in a network namespace. It takes root.
Goal: at least as fast as `adb push`.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from report import machine, spread

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "devices"))

from adb_network import AdbNetwork

from edgekit.devices import adb, connect

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--megabytes", type=int, default=30)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name, AdbNetwork() as network, network.server():
        folder = Path(name)
        source, sent = folder / "random.bin", folder / "sent.bin"
        source.write_bytes(os.urandom(options.megabytes * 1_000_000))
        device = network.adbd(15660)
        target = device.target("board", root=str(folder / "root"))
        print(network.adb("version").stdout.splitlines()[1])

        def through_shell(put: Callable[[], None]) -> None:
            with mock.patch.multiple(adb, _SYNC_BYTES=0, _SYNC_S=0, _PROBE_BYTES=1):
                put()

        def connecting() -> None:
            with connect(target) as fresh:
                fresh.transport.put(source, str(sent), step="benchmark")

        def adb_push() -> None:
            done = network.adb("-s", device.serial, "push", str(source), str(sent))
            if done.returncode:
                raise SystemExit(done.stderr)

        with connect(target) as connected:

            def put() -> None:
                connected.transport.put(source, str(sent), step="benchmark")

            ways: dict[str, Callable[[], None]] = {
                "edgekit": put,
                "edgekit, connecting": connecting,
                "edgekit, shell": lambda: through_shell(put),
                "adb push": adb_push,
            }
            rates = _rounds(ways, options.rounds, options.megabytes, source, sent)
    print(f"\n{'':22} {'MB/s: median (min to max)':>28} {'over adb push, in a round':>28}")
    for way, found in rates.items():
        ratios = [mine / other for mine, other in zip(found, rates["adb push"], strict=True)]
        print(f"{way:22} {spread(found, 0):>28} {spread(ratios, 2):>28}")
    print(f"{options.rounds} rounds of {options.megabytes} MB")


def _rounds(
    ways: dict[str, Callable[[], None]], rounds: int, megabytes: int, source: Path, sent: Path
) -> dict[str, list[float]]:
    """MB/s of each way, one value a round. What arrived is compared with what was sent."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    names = list(ways)
    for number in range(rounds + 1):
        turn = number % len(names)
        for way in names[turn:] + names[:turn]:
            sent.unlink(missing_ok=True)
            began = time.perf_counter()
            ways[way]()
            took = time.perf_counter() - began
            if not filecmp.cmp(source, sent, shallow=False):
                raise SystemExit(f"{way}: what arrived is not what was sent")
            if number:
                rates[way].append(megabytes / took)
    return rates


if __name__ == "__main__":
    main()
