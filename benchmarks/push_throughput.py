"""EdgeKit's push over SSH against scp, on one sshd on loopback, in pairs.

    python benchmarks/push_throughput.py [--pairs 7] [--megabytes 100]

Each pair sends the same random file three ways, in turn: EdgeKit's transport (an open connection, as in a deploy), scp
with its default cipher and scp with AES-GCM (each a connection of its own, as scp always makes). Prints MB/s (10^6
bytes) and the ratio pair by pair.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from edgekit.devices import connect, load_target
from edgekit.devices.throwaway_sshd import ThrowawaySshd


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ThrowawaySshd() as sshd:
        folder = Path(name)
        source = folder / "random.bin"
        source.write_bytes(os.urandom(options.megabytes * 1_000_000))
        target = load_target(str(sshd.write_target(folder / "board.toml", "board", str(folder / "root"))))
        assert target.ssh is not None
        base = ["scp", "-q", "-P", str(sshd.port), "-i", str(sshd.identity_file), "-o", "IdentitiesOnly=yes",
                "-o", f"UserKnownHostsFile={sshd.known_hosts}"]  # fmt: skip
        rows: dict[str, list[float]] = {"edgekit": [], "scp": [], "scp aes128-gcm": []}
        with connect(target) as device:
            for _ in range(options.pairs + 1):
                took = {"edgekit": _timed(lambda: device.transport.put(source, str(folder / "a"), step="benchmark"))}
                for label, more in (("scp", []), ("scp aes128-gcm", ["-c", "aes128-gcm@openssh.com"])):
                    command = [*base, *more, str(source), f"{sshd.user}@127.0.0.1:{folder / 'b'}"]
                    took[label] = _timed(lambda command=command: subprocess.run(command, check=True))
                for label, seconds in took.items():
                    rows[label].append(options.megabytes / seconds)
        print(f"{'':16} {'median':>8} {'min':>8} {'max':>8}  MB/s; edgekit against it: median (min to max)")
        for label, all_rates in rows.items():
            rates = all_rates[1:]  # the first is a warm-up
            ratios = [mine / theirs for mine, theirs in zip(rows["edgekit"][1:], rates, strict=True)]
            print(f"{label:16} {statistics.median(rates):8.1f} {min(rates):8.1f} {max(rates):8.1f}  "
                  f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip


def _timed(action: object) -> float:
    began = time.perf_counter()
    action()  # type: ignore[operator]
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
