"""TVM against LiteRT (XNNPACK), one thread each, in turn in one process: how far each step of ours goes.

    python benchmarks/tvm_against_litert.py [mobilenet_v2] [encoder] [--pairs 15] [--invokes 10] [--skip-default]

`mobilenet_v2` is the model of this repository; `encoder` a transformer encoder with token ids (3 layers, width 192, 4
heads, 128 tokens), both with random weights in float32. The steps:

    default     TVM's own pipeline ("zero": legalise, fuse), as `tvm.compile` takes a model
    graph       our graph (constants folded, channels last, views sunk, weights packed), TVM's loops
    x86-64-v3   and our schedules, for AVX2: what `tvm:float32` gives without options
    native      and for this machine's processor: the option `cpu = native`

A pair is a block of invokes of LiteRT and one of TVM; the order alternates. The ratio is TVM's median over LiteRT's,
pair by pair. SNR is against PyTorch, as is LiteRT's. Goal: a median ratio of `native` below 1.5.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from report import machine as this_machine
from report import spread

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = ("default", "graph", "x86-64-v3", "native")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=["mobilenet_v2", "encoder"])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--invokes", type=int, default=10)
    parser.add_argument("--skip-default", action="store_true", help="leave out TVM's own pipeline, which is slow")
    options = parser.parse_args()
    print(this_machine("apache-tvm", "ai-edge-litert", "torch"))
    print(f"\n{'':26} {'SNR':>8} {'compile':>8} {'litert':>9} {'tvm':>9}   tvm/litert: median (min to max)")
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            network, sample = _mobilenet() if name == "mobilenet_v2" else _encoder()
            _compare(name, network, sample, Path(folder), options)


def _compare(name: str, network: Any, sample: Any, folder: Path, options: argparse.Namespace) -> None:
    import litert_torch
    import torch

    from edgekit.runner.runtimes import litert
    from edgekit.runner.runtimes import tvm as runtime

    with torch.no_grad():
        expected = network(sample).numpy()
    value = sample.numpy()
    with contextlib.redirect_stdout(sys.stderr):  # the converter tells its progress
        litert_torch.convert(network, (sample,)).export(str(folder / "model.tflite"))
    other = litert.load(str(folder / "model.tflite"), 1, {"inputs": [], "outputs": []})
    other.set_input(0, value.astype(other.inputs[0]["dtype"]))
    other.invoke()
    print(f"{name:14} {'litert':11} {_snr(expected, other.get_output(0)):5.1f} dB")
    torch.export.save(torch.export.export(network, (sample,)), folder / "program.pt2")
    for step, library, seconds in _compiled(folder, options.skip_default):
        ours = runtime.load(str(library), 1, {"inputs": [], "outputs": []})
        ours.set_input(0, value)
        ours.invoke()
        pairs = [_pair(other, ours, options.invokes, pair) for pair in range(options.pairs)]
        theirs, mine = ([pair[k] for pair in pairs] for k in (0, 1))
        print(
            f"{name:14} {step:11} {_snr(expected, ours.get_output(0)):5.1f} dB {seconds:6.1f} s "
            f"{statistics.median(theirs) * 1e3:6.2f} ms {statistics.median(mine) * 1e3:6.2f} ms   "
            f"{spread([b / a for a, b in pairs], 2)}",
            flush=True,
        )


def _pair(first: Any, second: Any, invokes: int, number: int) -> tuple[float, float]:
    """Median seconds of a block of invokes of each."""
    if number % 2 == 0:
        return _block(first, invokes), _block(second, invokes)
    after = _block(second, invokes)
    return _block(first, invokes), after


def _block(session: Any, invokes: int) -> float:
    session.invoke()  # the other's data are in the caches
    samples = []
    for _ in range(invokes):
        start = time.perf_counter()
        session.invoke()
        samples.append(time.perf_counter() - start)
    return statistics.median(samples)


def _snr(expected: np.ndarray, answer: np.ndarray) -> float:
    error = np.linalg.norm(expected.astype(np.float64) - answer)
    return float(20 * np.log10(np.linalg.norm(expected) / error))


def _compiled(folder: Path, skip_default: bool) -> Iterator[tuple[str, Path, float]]:
    """(step, library, seconds to compile and link) for every step."""
    from edgekit.convert.tvm import compile_module
    from edgekit.convert.tvm.importing import from_torch_export
    from edgekit.convert.tvm.linking import link
    from edgekit.convert.tvm.machine import machine_for

    for step in STEPS[1 if skip_default else 0 :]:
        module = from_torch_export(folder / "program.pt2")
        machine = machine_for(cpu=None if step == "x86-64-v3" else "native")
        start = time.perf_counter()
        if step in ("default", "graph"):
            built = _with_tvms_loops(module, machine, ours=step == "graph")
        else:
            built = compile_module(module, machine).build(machine)
        library = folder / f"{step}.so"
        link(built, machine.triple, library)
        yield step, library, time.perf_counter() - start


def _with_tvms_loops(module: Any, machine: Any, *, ours: bool) -> Any:
    """The module compiled without our schedules."""
    import tvm
    from tvm import relax

    from edgekit.convert.tvm.description import tensors_of, with_description
    from edgekit.convert.tvm.pipeline import prepare
    from edgekit.convert.tvm.storage import Storage

    inputs, outputs = tensors_of(module)
    with machine.target():
        if ours:
            module = prepare(module, machine, Storage())
        else:
            usual = [relax.transform.DecomposeOpsForInference(), relax.get_pipeline("zero")]
            module = tvm.transform.Sequential(usual)(module)
    described = with_description(module, {"inputs": inputs, "outputs": outputs, "kernels": []})
    return tvm.relax.build(described, machine.target())


def _mobilenet() -> tuple[Any, Any]:
    import torch

    from edgekit.convert.load import import_model

    model = import_model(Path(__file__).parents[1] / "models" / "mobilenet_v2")
    return model.build(), torch.from_numpy(np.asarray(model.calibration()["image"][0]))


def _encoder() -> tuple[Any, Any]:
    import torch

    torch.manual_seed(0)
    vocabulary, width, tokens, layers, heads, classes = 2000, 192, 128, 3, 4, 20

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(vocabulary, width)
            self.position = torch.nn.Parameter(0.1 * torch.randn(1, tokens, width))
            layer = torch.nn.TransformerEncoderLayer(
                width, heads, 4 * width, activation="gelu", batch_first=True, norm_first=True
            )
            self.body = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
            self.head = torch.nn.Linear(width, classes)

        def forward(self, ids: Any) -> Any:
            return self.head(self.body(self.embedding(ids) + self.position).mean(1))

    return Encoder().eval(), torch.randint(0, vocabulary, (1, tokens))


if __name__ == "__main__":
    main()
