"""TVM against LiteRT (XNNPACK), one thread each, in turn in one process: how far each step of ours goes.

    python benchmarks/tvm_against_litert.py [mobilenet_v2] [encoder] [language_id] [--pairs 60] [--invokes 5]
        [--steps default graph avx2 portable native]

`mobilenet_v2` and `language_id` are models of this repository; `encoder` is a larger transformer encoder with token ids
(3 layers, width 192, 4 heads, 128 tokens). `mobilenet_v2` and `encoder` have random weights. All are in float32. The
steps:

    default     TVM's own pipeline ("zero": legalise, fuse), as `tvm.compile` takes a model
    graph       our graph (constants folded, channels last, views sunk, weights packed), TVM's loops
    avx2        and our schedules; of the portable library, the code that runs everywhere
    portable    of the same library, the code that the runtime chooses: what `tvm:float32` gives without options
    native      for this machine's processor alone: the option `cpu = native`

A pair is a block of invokes of LiteRT and one of TVM; the order alternates. A block's time is its fastest invoke, for a
machine that does other work besides. The ratio is TVM's time over LiteRT's, pair by pair: median, quartiles, and the
fastest of all over the fastest of all. Compiling is told in CPU seconds, the linker's included. SNR is against PyTorch,
as is LiteRT's. Goals: a median ratio of `portable` below 1.5, and if possible below 1; less than a minute to compile.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from report import machine as this_machine

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

STEPS = ("default", "graph", "avx2", "portable", "native")
UNNAMED: dict[str, list[str]] = {"inputs": [], "outputs": []}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=["mobilenet_v2", "encoder"])
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--invokes", type=int, default=5)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    options = parser.parse_args()
    print(this_machine("apache-tvm", "ai-edge-litert", "torch"))
    print(f"\n{'':24} {'SNR':>8} {'compile':>8} {'litert':>9} {'tvm':>9}   tvm/litert: median (quartiles), fastest")
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            network, sample = _encoder() if name == "encoder" else _model(name)
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
    other = litert.load(str(folder / "model.tflite"), 1, UNNAMED)
    other.set_input(0, value.astype(other.inputs[0]["dtype"]))
    other.invoke()
    print(f"{name:14} {'litert':11} {_snr(expected, other.get_output(0)):5.1f} dB")
    torch.export.save(torch.export.export(network, (sample,)), folder / "program.pt2")
    for step, library, seconds in _compiled(folder, options.steps):
        ours = runtime.load(str(library), 1, UNNAMED)
        if step == "avx2":
            ours.variant = ours.variants[-1]
        ours.set_input(0, value)
        ours.invoke()
        pairs = np.array([_pair(other, ours, options.invokes, pair) for pair in range(options.pairs)])
        low, median, high = np.percentile(pairs[:, 1] / pairs[:, 0], [25, 50, 75])
        (theirs, mine), fastest = np.median(pairs, 0) * 1e3, pairs.min(0)
        print(
            f"{name:14} {step:9} {_snr(expected, ours.get_output(0)):5.1f} dB {seconds:6.1f} s {theirs:6.2f} ms "
            f"{mine:6.2f} ms   {median:.2f} ({low:.2f} to {high:.2f}), {fastest[1] / fastest[0]:.2f}",
            flush=True,
        )


def _pair(first: Any, second: Any, invokes: int, number: int) -> tuple[float, float]:
    """Seconds of the fastest invoke in a block of each."""
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
    return min(samples)


def _snr(expected: np.ndarray, answer: np.ndarray) -> float:
    error = np.linalg.norm(expected.astype(np.float64) - answer)
    return float(20 * np.log10(np.linalg.norm(expected) / error))


def _compiled(folder: Path, steps: Collection[str]) -> Iterator[tuple[str, Path, float]]:
    """(step, library, CPU seconds to compile and link) for every step."""
    from edgekit.convert.tvm import compile_module
    from edgekit.convert.tvm.importing import from_torch_export
    from edgekit.convert.tvm.linking import link
    from edgekit.convert.tvm.machine import machine_for

    portable: tuple[Path, float] | None = None
    for step in (step for step in STEPS if step in steps):
        if portable is not None and step == "portable":
            yield (step, *portable)
            continue
        module = from_torch_export(folder / "program.pt2")
        machine = machine_for(cpu=None if step in ("avx2", "portable") else "native")
        start = _cpu_seconds()
        if step in ("default", "graph"):
            built = _with_tvms_loops(module, machine, ours=step == "graph")
        else:
            built = compile_module(module, machine, wider=machine.wider()).build(machine)
        library = folder / f"{step}.so"
        link(built, machine.triple, library)
        seconds = _cpu_seconds() - start
        portable = (library, seconds) if step == "avx2" else portable
        yield step, library, seconds


def _cpu_seconds() -> float:
    """Of this process and of the linkers that it ran."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _with_tvms_loops(module: Any, machine: Any, *, ours: bool) -> Any:
    """The module compiled without our schedules."""
    import tvm
    from tvm import relax

    from edgekit.convert.tvm.description import tensors_of, with_description
    from edgekit.convert.tvm.pipeline import plain, prepare
    from edgekit.convert.tvm.storage import Storage

    inputs, outputs = tensors_of(module)
    with machine.target():
        if ours:
            module = prepare(plain(module), machine, Storage())
        else:
            usual = [relax.transform.DecomposeOpsForInference(), relax.get_pipeline("zero")]
            module = tvm.transform.Sequential(usual)(module)
    described = with_description(module, {"inputs": inputs, "outputs": outputs, "kernels": []})
    return tvm.relax.build(described, machine.target())


def _model(name: str) -> tuple[Any, Any]:
    """A model of this repository, and its first calibration sample."""
    import torch

    from edgekit.convert.load import import_model

    model = import_model(Path(__file__).parents[1] / "models" / name)
    (samples,) = model.calibration().values()
    return model.build().eval(), torch.from_numpy(np.asarray(samples[0]))


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
