"""What `edgekit evaluate` costs around the inferences: samples a second, and how much a cut costs.

    edgekit convert models/crepe_tiny --to tflite:int8
    python benchmarks/evaluate_over_link.py artifacts/crepe_tiny/tflite-int8 [--rounds 5] [--samples 2000]
                                            [--rate 10e6] [--delay-ms 10]

In each round, each time beginning with another way, the same random samples go through the artifact:

- bare: a loop over the runtime's own API in a fresh process of this machine, from its start to its end;
- here, ssh, link: EdgeKit's whole collection, push of the samples included, on this machine, over SSH on loopback, and
  over SSH through a slow link (tests/devices/link.py; needs root); and once more with the samples there already;
- resumed: over the slow link, after a call that was cut in the middle: the whole next call;
- stream: over the slow link, the samples to a `cat` there: what streaming them would cost instead of the push.

Prints seconds and samples a second, and ratios to the bare loop in the same round. Goals: over loopback at least half
of the bare loop's samples a second; a resumed call takes less than a whole one.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from report import machine, spread

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "devices"))
from link import Link

from edgekit.artifact import open_artifact
from edgekit.bench.evaluation.asking import Asked
from edgekit.bench.evaluation.collecting import Telling, collect
from edgekit.bench.evaluation.samples import SampleSet
from edgekit.devices import connect, load_target
from edgekit.devices.store import Store
from edgekit.devices.throwaway_sshd import ThrowawaySshd
from edgekit.files import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.devices import Target

_BARE = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
samples = np.load(sys.argv[2])
scale, zero = inputs[0]["quantization"]
for sample in samples:
    if inputs[0]["dtype"] is np.int8:
        sample = np.clip(np.rint(sample / scale) + zero, -128, 127).astype(np.int8)
    interpreter.set_tensor(inputs[0]["index"], sample)
    interpreter.invoke()
    interpreter.get_tensor(outputs[0]["index"])
"""


class CutError(Exception):
    """Ends a call in the middle."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=10e6)
    parser.add_argument("--delay-ms", type=float, default=10)
    options = parser.parse_args()
    artifact = open_artifact(options.artifact)
    (spec,) = artifact.manifest.inputs
    samples = np.random.default_rng(0).standard_normal((options.samples, *spec.shape)).astype("float32")
    asked = Asked(artifact, SampleSet((samples,), artifact.manifest.outputs), 1, 64)
    print(machine("ai-edge-litert", "paramiko"), f"{artifact.title}, {options.samples} samples, "
          f"{asked.samples.total_bytes / 1e6:.1f} MB")  # fmt: skip
    print(f"link: {options.rate / 1e6:g} MB/s, {2 * options.delay_ms:g} ms round trip")
    took: dict[str, list[float]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory() as name,
        ThrowawaySshd() as near,
        Link(delay_ms=options.delay_ms, bytes_per_s=options.rate) as link,
        ThrowawaySshd(address=link.far, enter=link.enter) as far,
    ):
        folder = Path(name)
        np.save(folder / "samples.npy", samples)
        here = msgspec.structs.replace(load_target("local"), name="here", root=str(folder / "here"), runner="python")
        targets = {
            "here": here,
            "ssh": load_target(str(near.write_target(folder / "ssh.toml", "near", str(folder / "near")))),
            "link": load_target(str(far.write_target(folder / "link.toml", "far", str(folder / "far")))),
        }
        for number in range(options.rounds):
            _round(number, targets, asked, folder, took)
    _report(took, options.samples)


def _round(number: int, targets: dict[str, Target], asked: Asked, folder: Path, took: dict[str, list[float]]) -> None:
    payload = asked.artifact.path / asked.artifact.manifest.payload
    bare = [sys.executable, "-c", _BARE, str(payload), str(folder / "samples.npy")]
    ways: dict[str, Callable[[], object]] = {"bare": lambda: subprocess.run(bare, check=True, capture_output=True)}
    for name, target in targets.items():
        ways[name] = lambda target=target: collect(lambda: connect(target), asked).kept.remove()
    ways["stream"] = lambda: _stream(targets["link"], folder / "samples.npy")
    order = list(ways)
    order = order[number % len(order) :] + order[: number % len(order)]
    for name in order:
        if name in targets:
            shutil.rmtree(targets[name].root, ignore_errors=True)
            with connect(targets[name]) as device:
                Store(device).push(asked.artifact)  # an evaluated artifact was benchmarked before
        took[name].append(_timed(ways[name]))
        if name in targets:
            took[f"{name}, samples there"].append(_timed(ways[name]))
    took["link, resumed"].append(_resumed(targets["link"], asked))


def _resumed(target: Target, asked: Asked) -> float:
    """Seconds of the call after one that ended in the middle."""

    def cut(known: int, of: int) -> None:
        if known >= of // 2:
            raise CutError

    with suppress(CutError):
        collect(lambda: connect(target), asked, Telling(cut))
    took = _timed(lambda: collect(lambda: connect(target), asked))
    shutil.rmtree(cache_folder() / "answers", ignore_errors=True)
    return took


def _stream(target: Target, file: Path) -> None:
    """The samples to a program there that drops them, on a connection of its own, as an evaluation has one."""
    with connect(target) as device, file.open("rb") as opened:
        device.transport.feed(
            ["sh", "-c", "cat > /dev/null"], iter(lambda: opened.read(1 << 18), b""), step="streaming"
        )


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _report(took: dict[str, list[float]], count: int) -> None:
    print(f"\n{'way':22} {'s':>26} {'samples/s':>10} {'bare / it, in a round':>28}")
    for name, seconds in took.items():
        rate = count / sorted(seconds)[len(seconds) // 2]
        ratios = [a / b for a, b in zip(took["bare"], seconds, strict=True)]
        print(f"{name:22} {spread(seconds, 2):>26} {rate:>10.0f} {spread(ratios, 2):>28}")


if __name__ == "__main__":
    main()
