"""What compressing on the way is worth: the same bytes with and without it, in turn, over links of several rates.

    python benchmarks/push_compression.py [--rounds 2] [--megabytes 32] [--rates 1e6 10e6 0]

The bytes are int8 weights as quantizers leave them (normally distributed, one deviation a block of 4096), and float32
ones. The link is tests/devices/link.py (needs root); rate 0 is as fast as it can. Prints seconds and the share of the
bytes that went over the link.
Goal: never slower than without.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from report import machine, spread

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "devices"))
from link import Link

from edgekit.devices import connect, load_target
from edgekit.devices.sending import send
from edgekit.devices.source import whole
from edgekit.devices.throwaway_sshd import ThrowawaySshd


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--megabytes", type=int, default=32)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e6, 10e6, 0])
    options = parser.parse_args()
    print(machine("paramiko", "numpy"))
    print(f"\n{'link':>8} {'weights':8} {'s without':>22} {'s with':>22} {'without / with':>22} {'sent':>6}")
    with tempfile.TemporaryDirectory() as name:
        for rate in options.rates:
            megabytes = min(options.megabytes, max(4, int(rate / 1e6) * 8)) if rate else options.megabytes
            for kind, content in _weights(megabytes * 1_000_000).items():
                _measure(Path(name), rate, kind, content, options.rounds)


def _weights(count: int) -> dict[str, bytes]:
    generator = np.random.default_rng(1)
    deviations = np.repeat(generator.uniform(10, 40, count // 4096 + 1), 4096)[:count]
    int8 = np.clip(np.round(generator.normal(size=count) * deviations), -127, 127).astype(np.int8)
    return {"int8": int8.tobytes(), "float32": generator.normal(size=count // 4).astype(np.float32).tobytes()}


def _measure(folder: Path, rate: float, kind: str, content: bytes, rounds: int) -> None:
    source = folder / "weights"
    source.write_bytes(content)
    took: dict[bool, list[float]] = {False: [], True: []}
    share = 1.0
    with (
        Link(delay_ms=10, bytes_per_s=rate or None) as link,
        ThrowawaySshd(address=link.far, enter=link.enter) as sshd,
    ):
        target = load_target(str(sshd.write_target(folder / "board.toml", "board", str(folder / "root"))))
        with connect(target) as device:
            for number in range(rounds):
                for packs in (False, True) if number % 2 else (True, False):
                    there = Path(device.path("there"))
                    began = time.perf_counter()
                    sent = send(
                        device.transport, whole(source), str(there), can_unpack=packs, on_bytes=lambda _: None,
                        step="benchmark",
                    )  # fmt: skip
                    took[packs].append(time.perf_counter() - began)
                    if there.read_bytes() != content:
                        raise SystemExit("what arrived is not what was sent")
                    if packs:
                        share = sent.bytes / len(content)
    ratios = [without / with_ for without, with_ in zip(took[False], took[True], strict=True)]
    link_rate = f"{rate / 1e6:g} MB/s" if rate else "free"
    print(f"{link_rate:>8} {kind:8} {spread(took[False], 2):>22} {spread(took[True], 2):>22} {spread(ratios, 2):>22}"
          f" {share:>6.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
