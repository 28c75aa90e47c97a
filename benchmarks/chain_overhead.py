"""What the chain costs over calling each converter's own API, in fresh processes and an empty cache, in turn.

    python benchmarks/chain_overhead.py [MODEL] [--recipes tflite:float32 ...] [--pairs 5]

The direct side is the script that a user would write: build the model, call the converter, write the file. The chain's
side is one call of `convert`, one job at a time. A pair is one of each, and the order alternates; a round is a pair of
each recipe. Both are measured by wall clock and by CPU time, descendants included; on a machine that does other things,
CPU time is the one to trust.

The chain does more by design, so its cost is told in three parts:

    all           everything
    less proof    without running the source and the payload on the held-out samples (stages "reference", "proving")
    less starts   without proof, and without what its processes import again: the direct script is one process, the
                  chain is itself and its workers. Measured in each pair by processes that import and do no more

What a user pays who wants several formats is another question: "together" is one call of `convert` with all the
recipes, nothing taken off, over the sum of their direct scripts in the same round.

The stages are cut where the workers report them. Formats of our own kernels (tvm) have no API to compare with. Goal: a
median ratio of at most 1.05 for what is left after proof and starts. Linux only: the CPU time of a worker that still
runs is read from /proc.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from report import machine, spread

from edgekit import plugins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BUILD = """
import runpy, sys
import torch
source = runpy.run_path(sys.argv[1] + "/model.py")["model"]
payload = sys.argv[2] + "/payload"
sample = tuple(torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in source.inputs)
module = source.build().eval()
"""

DIRECT = {
    "tflite:float32": """
import litert_torch
litert_torch.convert(module, sample).export(payload)
""",
    "tflite:int8": """
import litert_torch
from ai_edge_quantizer import quantizer, recipe
litert_torch.convert(module, sample).export(payload + "-float32")
(array,) = source.calibration().values()
kept = len(array) if source.evaluation else len(array) - max(1, len(array) // 5)
samples = [{"args_0": a.reshape(source.inputs[0].shape)} for a in array[:kept]]
tool = quantizer.Quantizer(payload + "-float32", recipe.static_wi8_ai8())
ranges = tool.calibrate({"serving_default": samples})
tool.quantize(ranges).export_model(payload)
""",
    "onnx:float32": """
torch.onnx.export(module, sample, payload, dynamo=True, opset_version=20, external_data=False, verbose=False)
""",
    "coreml:float16": """
import coremltools
program = torch.export.export(module, sample).run_decompositions({})
coremltools.convert(program, minimum_deployment_target=coremltools.target.iOS16, skip_model_load=True).save(
    payload + ".mlpackage"
)
""",
    "executorch:float32": """
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
program = torch.export.export(module, sample)
lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
with open(payload, "wb") as file:
    file.write(lowered.to_executorch().buffer)
""",
    "torchscript:float32": """
torch.jit.freeze(torch.jit.trace(module, sample))._save_for_lite_interpreter(payload)
""",
}
"""By recipe, what follows `BUILD`."""

_CHAIN, _WORKER = "import edgekit.convert.chain", "import edgekit.convert.worker"
STARTS = {
    "tflite:float32": (_CHAIN, _WORKER),
    "tflite:int8": (_CHAIN, _WORKER),
    "onnx:float32": (_CHAIN, f"{_WORKER}, onnx"),
    "coreml:float16": (_CHAIN,),
    "executorch:float32": (_CHAIN,),
    "torchscript:float32": (_CHAIN,),
}
"""By recipe, the chain's processes beyond one that imports what the direct script does: the chain itself and, where a
format has a step that its recipes share, the worker of the recipe. The worker that exports goes on with the step after
it, in the place of the direct script's process."""

CHAIN = """
import json, os, resource, sys, time
from pathlib import Path
from edgekit.convert.chain import Bounds, convert
from edgekit.convert.load import find_model
from edgekit.recipe import parse_recipe

TICK = os.sysconf("SC_CLK_TCK")

def of_workers():
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = ended.ru_utime + ended.ru_stime
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                seconds += sum(map(int, fields[11:15])) / TICK
    return seconds

stages = []

def on_stage(_title, stage):
    stages.append((stage, time.perf_counter(), of_workers()))

ref = find_model(sys.argv[1])
recipes = [parse_recipe(text) for text in sys.argv[3:]]
for outcome in convert(ref, recipes, out=Path(sys.argv[2]), on_stage=on_stage, bounds=Bounds(jobs=1)):
    if outcome.error:
        raise SystemExit(outcome.error.what)
    if outcome.cached:
        raise SystemExit("the cache was not empty")
print(json.dumps(stages))
"""

PROOF = ("reference", "proving")


class Cost(NamedTuple):
    """Seconds by the wall clock, and of CPU time."""

    wall: float
    cpu: float

    def less(self, other: Cost) -> Cost:
        """What remains without `other`."""
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


def total(costs: Sequence[Cost]) -> Cost:
    """Their sum."""
    return Cost(sum(cost.wall for cost in costs), sum(cost.cpu for cost in costs))


@dataclass(frozen=True)
class Pair:
    """One run of each side, and the parts of the chain's."""

    direct: Cost
    chain: Cost
    stages: Mapping[str, Cost]
    starts: Cost

    @property
    def proof(self) -> Cost:
        """What the chain spends on proving."""
        return total([self.stages[name] for name in PROOF])

    def ratios(self) -> Mapping[str, Cost]:
        """The chain's parts over the direct side."""
        parts = {
            "all": self.chain,
            "less proof": self.chain.less(self.proof),
            "less starts": self.chain.less(self.proof).less(self.starts),
        }
        return {name: Cost(p.wall / self.direct.wall, p.cpu / self.direct.cpu) for name, p in parts.items()}


def main() -> None:
    here = [name for name in DIRECT if name.split(":")[0] in plugins.names("format")]
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="models/mobilenet_v2")
    parser.add_argument("--recipes", nargs="*", default=here, choices=here, metavar="RECIPE")
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    print(machine("torch", "numpy"))
    print(f"\n{options.model}, {options.pairs} pairs, median (min to max)", flush=True)
    rounds: list[dict[str, Pair]] = []
    together: list[Cost] = []
    for k in range(options.pairs):
        rounds.append({})
        for recipe in options.recipes:
            rounds[k][recipe] = pair = measure(options.model, recipe, chain_first=k % 2 == 1)
            print(f"round {k + 1}, {recipe}: {pair}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            together.append(_run_chain(options.model, options.recipes, Path(folder))[0])
        print(f"round {k + 1}, together: {together[k]}", file=sys.stderr, flush=True)
    for recipe in options.recipes:
        print_pairs(recipe, [pairs[recipe] for pairs in rounds])
    print_together(together, [total([pair.direct for pair in pairs.values()]) for pairs in rounds])


def measure(model: str, recipe: str, *, chain_first: bool) -> Pair:
    """One pair."""
    with tempfile.TemporaryDirectory() as folder:
        if chain_first:
            chain, stages = _chain(model, recipe, Path(folder))
        direct, _ = _run(BUILD + DIRECT[recipe], [model, folder])
        if not chain_first:
            chain, stages = _chain(model, recipe, Path(folder))
    starts = [_run(imports, [])[0] for imports in STARTS[recipe]]
    return Pair(direct, chain, stages, total(starts))


def _chain(model: str, recipe: str, folder: Path) -> tuple[Cost, dict[str, Cost]]:
    """What a conversion costs in all, and each stage of its workers."""
    whole, printed = _run_chain(model, [recipe], folder)
    begun = [(stage, Cost(*clocks)) for stage, *clocks in json.loads(printed)]
    stages = {stage: after.less(at) for (stage, at), (_, after) in itertools.pairwise(begun) if stage != "done"}
    if not set(PROOF) <= set(stages):
        raise SystemExit(f"the chain reported the stages {', '.join(stages)}")
    return whole, stages


def _run_chain(model: str, recipes: Sequence[str], folder: Path) -> tuple[Cost, str]:
    """One call of `convert` with an empty cache: what it cost, and its stages as JSON."""
    return _run(CHAIN, [model, str(folder / "out"), *recipes], {"EDGEKIT_CACHE": str(folder / "cache")})


def _run(code: str, arguments: Sequence[str], more: Mapping[str, str] | None = None) -> tuple[Cost, str]:
    """Runs a script in a process of its own: what it cost, descendants included, and what it printed at last."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(more or {})}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as log:
        began = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment, stdout=output, stderr=log)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            log.seek(0)
            raise SystemExit(f"a script failed:\n{code}\n{log.read()[-2000:]}")
        output.seek(0)
        lines = output.read().splitlines()
    return Cost(wall, used.ru_utime + used.ru_stime), lines[-1] if lines else ""


def print_pairs(recipe: str, pairs: Sequence[Pair]) -> None:
    """Seconds and ratios by wall clock and CPU time; then the CPU seconds of the chain's stages."""
    for clock in Cost._fields:
        direct = [getattr(pair.direct, clock) for pair in pairs]
        parts = {name: [getattr(getattr(p, name), clock) for p in pairs] for name in ("chain", "proof", "starts")}
        seconds = ", ".join(f"{name} {statistics.median(values):.1f}" for name, values in parts.items())
        print(f"{recipe:20} {clock:4} s: direct {spread(direct, 1)}, {seconds}")
        ratios = [pair.ratios() for pair in pairs]
        told = [f"{name} {spread([getattr(r[name], clock) for r in ratios], 2)}" for name in ratios[0]]
        print(f"{'':20} {clock:4} ratio: {', '.join(told)}")
    stages = {name: statistics.median(pair.stages[name].cpu for pair in pairs) for name in pairs[0].stages}
    print(
        f"{'':20} cpu  s of its stages: {', '.join(f'{name} {seconds:.1f}' for name, seconds in stages.items())}",
        flush=True,
    )


def print_together(together: Sequence[Cost], direct: Sequence[Cost]) -> None:
    """Seconds and ratios of one call with all recipes, over the sum of the direct scripts."""
    for clock in Cost._fields:
        chain, scripts = ([getattr(cost, clock) for cost in costs] for costs in (together, direct))
        ratios = [c / d for c, d in zip(chain, scripts, strict=True)]
        print(f"{'together':20} {clock:4} s: direct {spread(scripts, 1)}, chain {spread(chain, 1)}")
        print(f"{'':20} {clock:4} ratio: all {spread(ratios, 2)}", flush=True)


if __name__ == "__main__":
    main()
