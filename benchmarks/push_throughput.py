"""EdgeKit's push over SSH against scp: one sshd on loopback, one random file, in rounds.

    python benchmarks/push_throughput.py [--rounds 9] [--megabytes 100]

A round sends the file four ways, and each round begins with another one:

- edgekit: `Transport.put` on an open connection, as every file of a deployment after the first;
- edgekit, connecting: the same with a new connection each time, which is what scp does;
- scp with its default cipher; scp with AES-128-GCM.

Prints MB/s (10^6 bytes a second, wall clock), the CPU seconds of the client, and EdgeKit's rate over scp's, round by
round. The first round is a warm-up and not counted. Both ends share the machine's cores, so the rate is that of the two
together.
Goal: at least as fast as scp.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from report import machine, spread

from edgekit.devices import connect, load_target
from edgekit.devices.throwaway_sshd import ThrowawaySshd

if TYPE_CHECKING:
    from collections.abc import Callable

GCM = ["-c", "aes128-gcm@openssh.com"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--megabytes", type=int, default=100)
    options = parser.parse_args()
    print(machine("paramiko", "cryptography"))
    with tempfile.TemporaryDirectory() as name, ThrowawaySshd() as sshd:
        folder = Path(name)
        source, sent = folder / "random.bin", folder / "sent.bin"
        source.write_bytes(os.urandom(options.megabytes * 1_000_000))
        target = load_target(str(sshd.write_target(folder / "board.toml", "board", str(folder / "root"))))
        base = ["scp", "-q", "-P", str(sshd.port), "-i", str(sshd.identity_file), "-o", "IdentitiesOnly=yes",
                "-o", f"UserKnownHostsFile={sshd.known_hosts}"]  # fmt: skip

        def scp(*more: str) -> None:
            subprocess.run([*base, *more, str(source), f"{sshd.user}@127.0.0.1:{sent}"], check=True)

        def connecting() -> None:
            with connect(target) as fresh:
                fresh.transport.put(source, str(sent), step="benchmark")

        with connect(target) as device:
            ways: dict[str, Callable[[], object]] = {
                "edgekit": lambda: device.transport.put(source, str(sent), step="benchmark"),
                "edgekit, connecting": connecting,
                "scp": scp,
                "scp aes128-gcm": lambda: scp(*GCM),
            }
            rates, cpu = _rounds(ways, options.rounds, options.megabytes, source, sent)
    print(f"\n{'':20} {'MB/s: median (min to max)':>28} {'client CPU s':>13}")
    for way in ways:
        print(f"{way:20} {spread(rates[way], 0):>28} {statistics.median(cpu[way]):>13.2f}")
    print(f"\n{'ratio in a round':40} median (min to max), {options.rounds} rounds")
    for ours in ("edgekit", "edgekit, connecting"):
        for theirs in ("scp", "scp aes128-gcm"):
            ratios = [mine / other for mine, other in zip(rates[ours], rates[theirs], strict=True)]
            print(f"{f'{ours} / {theirs}':40} {spread(ratios, 2)}")


def _rounds(
    ways: dict[str, Callable[[], object]], rounds: int, megabytes: int, source: Path, sent: Path
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """MB/s and client CPU seconds of each way, one value a round. What arrived is compared with what was sent."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    names = list(ways)
    for number in range(rounds + 1):
        for way in names[number % 4 :] + names[: number % 4]:
            sent.unlink(missing_ok=True)
            burnt, began = _cpu_seconds(), time.perf_counter()
            ways[way]()
            took = time.perf_counter() - began
            if not filecmp.cmp(source, sent, shallow=False):
                raise SystemExit(f"{way}: what arrived is not what was sent")
            if number:
                rates[way].append(megabytes / took)
                cpu[way].append(_cpu_seconds() - burnt)
    return rates, cpu


def _cpu_seconds() -> float:
    """CPU of this process and of children that ended: scp and its ssh. The sshd still runs, so it is not in it."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


if __name__ == "__main__":
    main()
