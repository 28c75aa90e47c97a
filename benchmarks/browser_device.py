"""A browser as a device beside this machine's own LiteRT: the same artifact, the same `bench`, blocks in turn.

    edgekit convert models/digits_cnn --to tflite:float32 --to tflite:int8
    python -m benchmarks.browser_device ARTIFACT... --pairs 5

A pair is one block of each, a fresh browser and a fresh Python process, in alternating order, one thread each. A ratio
is taken within a pair, of the blocks' medians: around the invoke alone on both sides. `start` is the wall time from
asking for a block to the runner's first event (browser, page, WebSocket; or process), and `block` that of all of it.
LiteRT.js comes from where the tests have it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

from report import machine, spread

from edgekit.artifact import open_artifact
from edgekit.bench.measure import Measured, Prepared, measure, prepare
from edgekit.devices import BenchSettings, Target, connect_runner
from edgekit.devices.settings import BrowserSettings
from tests import npm

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.devices import RunnerDevice


@dataclass
class Side:
    """One device, and what its blocks took."""

    device: RunnerDevice
    prepared: Prepared
    blocks: list[Measured] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    block_s: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """One block more."""
        begun = time.monotonic()
        first: list[float] = []
        self.blocks.append(measure(self.device, self.prepared, lambda _: first.append(time.monotonic() - begun)))
        self.start_s.append(first[0])
        self.block_s.append(time.monotonic() - begun)

    @property
    def p50_us(self) -> list[float]:
        """Each block's median."""
        return [one.block.median_ns / 1e3 for one in self.blocks]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--max", type=float, default=20.0, help="seconds of sampling a block, at most")
    arguments = parser.parse_args()
    os.environ.setdefault("EDGEKIT_CACHE", str(Path.home() / ".cache" / "edgekit"))
    litert_js = str(npm.node_modules() / "@litertjs" / "core")
    bench = BenchSettings(max_s=arguments.max)
    with tempfile.TemporaryDirectory() as root:
        page = Target("page", "browser", root=root, browser=BrowserSettings(litert_js=litert_js), bench=bench)
        here = Target("local", "local", root=root, python=sys.executable, bench=bench)
        with connect_runner(page) as browser, connect_runner(here) as host:
            print(machine("ai-edge-litert"))
            for path in arguments.artifacts:
                artifact = open_artifact(path)
                sides = (
                    Side(browser, prepare(browser, artifact, threads=1)),
                    Side(host, prepare(host, artifact, threads=1)),
                )
                for pair in range(arguments.pairs):
                    for side in sides if pair % 2 == 0 else sides[::-1]:
                        side.measure()
                print_artifact(artifact, *sides)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


def print_artifact(artifact: Artifact, browser: Side, host: Side) -> None:
    """What was found of one artifact."""
    values = browser.blocks[0].block.before.values
    worst = [output.snr_db for one in browser.blocks for output in one.block.golden if output.snr_db is not None]
    answers = f"{min(worst):.1f} dB" if worst else "equal to the bit"
    ratios = [a / b for a, b in zip(browser.p50_us, host.p50_us, strict=True)]
    pages = [one.block.page_memory.wasm_bytes for one in browser.blocks if one.block.page_memory is not None]
    memory = [page / 1e6 for page in pages if page is not None]
    invokes = sorted({one.block.invokes_per_sample for one in browser.blocks})
    steady = sum(one.block.steady for one in browser.blocks), sum(one.block.steady for one in host.blocks)
    print(f"\n{artifact.title}, {values['browser']}, clock {values['clock_resolution_ns'] / 1e3:g} µs")
    print(f"  answers         {answers} (floor {artifact.manifest.golden.min_snr_db:g} dB)")
    print(f"  p50 browser, µs {spread(browser.p50_us, 1)}, invokes a sample {invokes}, steady {steady[0]}")
    print(f"  p50 host, µs    {spread(host.p50_us, 1)}, steady {steady[1]}")
    print(f"  ratio in a pair {spread(ratios, 2)}")
    print(f"  init, ms        {spread([one.block.init_ns / 1e6 for one in browser.blocks], 0)}")
    print(f"  wasm memory, MB {spread(memory, 1) if memory else 'not told'}")
    for name, side in (("browser", browser), ("host", host)):
        print(f"  {name:8} start {spread(side.start_s, 1)} s, block {spread(side.block_s, 1)} s")


if __name__ == "__main__":
    main()
