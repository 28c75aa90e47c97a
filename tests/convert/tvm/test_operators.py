"""Every operator that has a schedule, on usual and awkward shapes, for three kinds of registers: equal to PyTorch.

The machines are this machine's portable level (8 lanes, 16 registers) and, with the same tiles but compiled to run
here, an AVX-512 processor (16 lanes, 32 registers; a variant in the same library) and one of ARM (4 lanes, 32
registers).
"""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.convert.tvm.machine import Machine, canonical_triple, machine_for
from tests.convert.tvm.cases import Bag, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="looks for x86 vectors in the code"),
]

HERE = canonical_triple(None)
MACHINES = {
    "avx2": Machine(HERE, "x86-64-v3", 8, 16),
    "avx512": Machine("x86_64-linux-gnu", "x86-64-v4", 16, 32).imitated(),
    "aarch64": Machine("aarch64-linux-gnu", "generic", 4, 32).imitated(),
}


@pytest.fixture(scope="session")
def bag() -> Bag:
    return Bag()


@pytest.fixture(scope="session")
def imported(bag: Bag, tmp_path_factory: pytest.TempPathFactory) -> Any:
    import torch

    from edgekit.convert.tvm.importing import from_torch_export

    path = tmp_path_factory.mktemp("bag") / "program.pt2"
    torch.export.save(bag.program(), path)
    return from_torch_export(path)


@pytest.fixture(scope="session", params=[("avx2", "avx512"), ("aarch64", None)], ids=["x86-64", "aarch64"])
def compiled(request: pytest.FixtureRequest, imported: Any, bag: Bag) -> tuple[Any, dict[str, list[np.ndarray]]]:
    """What was compiled, and by variant the answers to the bag's samples."""
    from edgekit.convert.tvm import compile_module

    name, wider = request.param
    machine = MACHINES[name]
    made = compile_module(imported, machine, wider=MACHINES.get(wider))
    built = made.build(machine)
    functions = ["main"] if made.variant is None else ["main", made.variant.function]
    return made, {function: run(built, bag.samples, function) for function in functions}


def test_every_operator_is_equal_to_pytorch(compiled: tuple[Any, dict[str, list[np.ndarray]]], bag: Bag) -> None:
    _, by_variant = compiled
    wrong = {}
    for variant, answers in by_variant.items():
        for case, expected, answer in zip(bag.cases, bag.expected, answers, strict=True):
            assert answer.shape == expected.shape, case.name
            error = float(np.abs(answer - expected).max())
            if not error <= 2e-5 * max(1.0, float(np.abs(expected).max())):
                wrong[variant, case.name] = error
    assert not wrong


def test_every_function_is_scheduled(compiled: tuple[Any, dict[str, list[np.ndarray]]]) -> None:
    """The operators of `cases` that keep TVM's loops are known: a new one must be added here, or be scheduled."""
    made, _ = compiled
    left = {what.function for what in made.scheduled if what.schedule == "default schedule"}
    assert not {name for name in left if not re.match(r"(fused_)?(group_norm|avg_pool2d|split)", name)}


@pytest.mark.parametrize("name", ["1x1", "depthwise", "softmax", "layer norm", "sum of columns", "activations"])
def test_the_schedule_is_the_operators_own(name: str, bag: Bag, tmp_path: Path) -> None:
    """Compiled alone: the kinds of schedules, vectors as wide as the machine's, and every vector in the code."""
    import torch

    from edgekit.convert.tvm import compile_module
    from edgekit.convert.tvm.importing import from_torch_export

    case = next(case for case in bag.cases if case.name == name)
    network = bag.networks[bag.cases.index(case)]
    torch.export.save(torch.export.export(network, (torch.zeros(case.shape),)), tmp_path / "p.pt2")
    machine = MACHINES["avx2"]
    made = compile_module(from_torch_export(tmp_path / "p.pt2"), machine)
    assert case.schedules <= {what.schedule for what in made.scheduled}
    text = made.module.script()
    assert f"T.vectorized({machine.lanes})" in text or f"T.vectorized(T.int64({machine.lanes}))" in text
    code = made.build(machine).mod.imports[0].inspect_source("asm")
    assert re.search(r"v\w+ps.*%ymm", code)
    if "contraction" in case.schedules or "window" in case.schedules:
        assert re.search(r"vfn?m\w+ps.*%ymm", code), "fused multiply-adds"


def test_accumulators_stay_in_registers() -> None:
    """The inner loop of a product loads and multiplies, and stores nothing."""
    import tvm
    from tvm import te

    from edgekit.convert.tvm import kernels, pipeline, tiles
    from edgekit.convert.tvm.schedules import schedule_function

    machine = MACHINES["avx2"]
    tile = tiles.choose(120, 64, machine)
    a, w = te.placeholder((120, 96), name="a"), te.placeholder((64 // tile.columns, 96, tile.columns), name="w")
    product = kernels.product(a, w, 64, tile.sizes)
    function, what = schedule_function("product", te.create_prim_func([a, w, product]), machine)
    assert what.schedule == "contraction"
    pipeline.register()
    with tvm.transform.PassContext(config=pipeline.OPTIONS):
        built = tvm.tirx.build(
            tvm.IRModule({"main": function.with_attr("global_symbol", "main")}), machine.target(), pipeline.NAME
        )
    lines = built.inspect_source("asm").splitlines()
    fused = [i for i, line in enumerate(lines) if "vfmadd" in line and "ymm" in line]
    assert len(fused) >= tile.rows * tile.vectors
    loop = lines[fused[0] : fused[tile.rows * tile.vectors - 1]]
    assert not [line for line in loop if re.search(r"vmov\w+\s+%ymm\d+, .*\(", line)], "no accumulator is spilled"


def test_a_machine_without_vectors_of_that_width_is_not_asked_for_them(imported: Any) -> None:
    from edgekit.convert.tvm import compile_module

    text = compile_module(imported, machine_for("armv7")).module.script()
    widths = {int(width) for width in re.findall(r"T\.vectorized\((?:T\.int64\()?(\d+)", text)}
    assert max(widths) == 4
