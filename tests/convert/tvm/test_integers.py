"""int8 activations: how ranges become integers, integer kernels against numpy, and what the format makes of a model."""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.convert.formats.tvm import LOWERED, TVM
from edgekit.convert.tvm import compile_module
from edgekit.convert.tvm.importing import from_onnx, from_torch_export
from edgekit.convert.tvm.machine import Machine, machine_for
from edgekit.convert.tvm.quantization import Activation
from edgekit.errors import RefusedError
from edgekit.recipe import Recipe
from tests.convert.tvm.cases import run

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.convert.formats.base import Exported

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="runs x86 integer instructions"),
]

AVX2 = machine_for("x86_64")
NEON = Machine("aarch64-linux-gnu", "generic", lanes=4, registers=32).imitated()
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(numbers, numbers)
def test_a_range_becomes_256_integers_and_zero_is_one(one: float, other: float) -> None:
    found = Activation.of_range(min(one, other), max(one, other))
    assert found.high - found.low == 255
    assert found.low <= 0 <= found.high
    for value in (one, other, 0.0):
        assert abs(np.clip(round(value / found.scale), found.low, found.high) * found.scale - value) <= found.scale


def networks() -> dict[str, tuple[Any, tuple[int, ...]]]:
    """By name, a network and its input's shape: what takes integers, on usual and awkward sizes."""
    import torch
    from torch import nn

    torch.manual_seed(5)
    return {
        "dense": (nn.Linear(64, 96), (48, 64)),
        "dense, odd": (nn.Linear(38, 53), (13, 38)),
        "dense, one narrow row": (nn.Linear(64, 10), (1, 64)),
        "1x1": (nn.Conv2d(24, 40, 1), (1, 24, 7, 7)),
        "3x3, padded, strided": (nn.Conv2d(6, 36, 3, padding=1, stride=2), (2, 6, 13, 11)),
        "1x1, depthwise, 1x1": (
            nn.Sequential(
                nn.Conv2d(8, 32, 1), nn.ReLU6(), nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.ReLU6(),
                nn.Conv2d(32, 16, 1),
            ),
            (1, 8, 9, 9),
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, tuple[Any, ...], list[np.ndarray]]:
    """All networks as one module, samples, and what PyTorch answers."""
    import torch

    made = networks()
    generator = torch.Generator().manual_seed(3)
    samples = tuple(torch.randn(shape, generator=generator) for _, shape in made.values())

    class All(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.networks = torch.nn.ModuleList(network for network, _ in made.values())

        def forward(self, *inputs: Any) -> Any:
            return tuple(network(x) for network, x in zip(self.networks, inputs, strict=True))

    path = tmp_path_factory.mktemp("integers") / "program.pt2"
    network = All().eval()
    torch.export.save(torch.export.export(network, samples), path)
    with torch.no_grad():
        expected = [answer.numpy() for answer in network(*samples)]
    return from_torch_export(path), samples, expected


@pytest.mark.parametrize("machine", [AVX2, NEON], ids=["avx2", "neon's tiles"])
def test_integers_answer_as_floating_point_does_up_to_the_steps(machine: Machine, imported: Any) -> None:
    module, samples, expected = imported
    calibration = {f"input_{i}": sample.numpy()[None] for i, sample in enumerate(samples)}
    made = compile_module(module, machine, "int8", calibration=calibration)
    assert made.integers == 7
    left = [what for what in made.scheduled if what.schedule == "default schedule"]
    assert not left, "a kernel without its instruction would be slow"
    for name, answer, wanted in zip(networks(), run(made.build(machine), samples), expected, strict=True):
        assert answer.shape == wanted.shape
        snr = 20 * np.log10(np.linalg.norm(wanted) / np.linalg.norm(answer - wanted))
        assert snr > 35, name
        assert snr < 70, f"{name} was not quantized"


def onnx_product(weight: np.ndarray, rows: int, path: Path) -> Any:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    depth, columns = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, depth])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, columns])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return from_onnx(path)


def test_a_product_is_exactly_that_of_its_integers(tmp_path: Path) -> None:
    """Weights and activations that are integers already, the largest there are: the answer has no error at all."""
    import torch

    generator = np.random.default_rng(0)
    weight = generator.integers(-127, 128, (62, 45)).astype(np.float32)
    weight[0], weight[1:20] = 127, 127
    x = generator.integers(0, 256, (5, 62)).astype(np.float32)
    x[0], x[1, 0] = 255, 255
    made = compile_module(onnx_product(weight, 5, tmp_path / "p.onnx"), AVX2, "int8", calibration={"x": x[None]})
    (answer,) = run(made.build(AVX2), (torch.from_numpy(x),))
    np.testing.assert_array_equal(answer, x @ weight)


def test_x86_has_an_instruction_for_it(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((32, 48)).astype(np.float32)
    wider = AVX2.wider(integers=True)
    assert wider is not None
    assert "avx512_vnni" in wider.flags
    module = onnx_product(weight, 28, tmp_path / "p.onnx")
    made = compile_module(module, AVX2, "int8", wider, {"x": np.ones((1, 28, 32), np.float32)})
    everywhere, wide = (part.inspect_source("asm") for part in made.build(AVX2).mod.imports)
    assert "vpmaddwd" in everywhere
    assert "zmm" not in everywhere
    assert "vpdpwssd" in wide


def test_a_model_without_integer_kernels_is_refused(tmp_path: Path) -> None:
    import tvm

    module = onnx_product(np.random.default_rng(0).standard_normal((17, 40)).astype(np.float32), 3, tmp_path / "p.onnx")
    (tmp_path / LOWERED).write_text(tvm.ir.save_json(module))
    exported: Exported = None  # type: ignore[assignment]  # what it was made from is not looked at
    with pytest.raises(RefusedError, match="no operator of this model has integer kernels") as refused:
        TVM().convert(
            exported, tmp_path, Recipe("tvm", "int8"), {"x": np.ones((2, 3, 17), np.float32)}, tmp_path / "model.so"
        )
    assert "weight-int8" in refused.value.remedy


@pytest.mark.parametrize("triple", ["aarch64-linux-gnu", "armv7-linux-gnueabihf"])
def test_loops_of_integers_become_vectors_on_arm(triple: str, tmp_path: Path) -> None:
    """On ARM there is no instruction of ours: LLVM makes multiply-accumulates of whole vectors of the plain loops."""
    weight = np.random.default_rng(0).standard_normal((32, 48)).astype(np.float32)
    arm = machine_for(triple)
    made = compile_module(
        onnx_product(weight, 28, tmp_path / "p.onnx"), arm, "int8", None, {"x": np.ones((1, 28, 32), np.float32)}
    )
    assert made.integers == 1
    code = made.build(arm).mod.imports[0].inspect_source("asm")
    pattern = r"smlal2?\s+v\d+\.4s|mla\s+v\d+\.4s" if triple.startswith("aarch64") else r"vmlal?\.[si]\d+\s+q\d+"
    assert len(re.findall(pattern, code)) > 10
