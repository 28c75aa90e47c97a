"""The rewrites of a model's graph: what is left after each, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.convert.tvm.storage import Storage
from edgekit.errors import RecipeError, RefusedError
from tests.convert.tvm.cases import residual_block

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def imported(network: Any, sample: Any, folder: Path) -> Any:
    import torch

    from edgekit.convert.tvm.importing import from_torch_export

    torch.export.save(torch.export.export(network.eval(), (sample,)), folder / "program.pt2")
    return from_torch_export(folder / "program.pt2")


def operators(module: Any) -> list[str]:
    from edgekit.convert.tvm.graph import op_name

    return [op_name(binding.value) for block in module["main"].body.blocks for binding in block.bindings]


def test_a_residual_block_becomes_two_products_and_a_window(tmp_path: Path) -> None:
    import torch

    from edgekit.convert.tvm.channels_last import channels_last
    from edgekit.convert.tvm.simplify import simplify
    from edgekit.convert.tvm.views import sink_views

    module = imported(residual_block(10), torch.zeros(1, 10, 8, 8), tmp_path)
    assert "nn.batch_norm" in operators(module)
    module = simplify(module)
    assert "nn.batch_norm" not in operators(module)
    assert "sqrt" not in operators(module), "the scales are constants"
    left = operators(sink_views(channels_last(module)))
    assert left.count("permute_dims") == 2, "at the input and the output, and nowhere else"
    assert left.count("matmul") == 2
    assert left.count("nn.conv2d") == 1, "the depthwise one"


def test_dense_layers_over_three_axes_are_one_chain_of_matrices(tmp_path: Path) -> None:
    import torch

    from edgekit.convert.tvm.simplify import simplify
    from edgekit.convert.tvm.views import sink_views

    network = torch.nn.Sequential(
        torch.nn.Linear(8, 12), torch.nn.GELU(), torch.nn.LayerNorm(12), torch.nn.Linear(12, 3)
    )
    left = operators(sink_views(simplify(imported(network, torch.zeros(2, 5, 8), tmp_path))))
    assert [name for name in left if name] == [
        "reshape", "matmul", "add", "nn.gelu", "nn.layer_norm", "matmul", "add", "reshape",
    ]  # fmt: skip


def test_control_flow_is_refused() -> None:
    import tvm
    from tvm import relax

    from edgekit.convert.tvm.simplify import simplify

    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((3,), "float32"))
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.add(x, x)))
    with pytest.raises(RefusedError, match="control flow"):
        simplify(tvm.IRModule(builder.finalize().functions))


def test_an_operator_that_the_importer_does_not_know_is_named(tmp_path: Path) -> None:
    import torch

    class Odd(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.special.bessel_j0(x)

    with pytest.raises(RefusedError, match="bessel_j0"):
        imported(Odd(), torch.zeros(3), tmp_path)


def test_a_masked_row_attends_to_nothing(tmp_path: Path) -> None:
    """As in PyTorch: zeros, not NaN."""
    import torch

    from edgekit.convert.tvm import compile_module
    from edgekit.convert.tvm.machine import machine_for
    from tests.convert.tvm.cases import run

    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    mask[2] = False

    class Masked(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask, scale=0.4)

    x = torch.randn(1, 2, 6, 8, generator=torch.Generator().manual_seed(0))
    machine = machine_for()
    (answer,) = run(compile_module(imported(Masked(), x, tmp_path), machine).build(machine), (x,))
    assert (answer[:, :, 2] == 0).all()
    np.testing.assert_allclose(answer, Masked()(x).numpy(), atol=1e-6)


def test_weights_are_stored_as_told() -> None:
    weight = np.random.default_rng(0).standard_normal((40, 30)).astype(np.float32)
    weight[:, 3] = 0
    stored, scale = Storage("int8").weight(weight)
    assert stored.dtype == np.int8
    assert scale is not None
    assert np.abs(stored * scale - weight).max() <= scale.max() / 2 * 1.0001
    half, nothing = Storage("float16").weight(weight * 1e5)
    assert nothing is None
    assert np.isfinite(half).all(), "what float16 cannot hold is clipped"
    same, _ = Storage("int8").weight(weight[:4, :4])
    assert same.dtype == np.float32, "small tensors stay"


@pytest.mark.parametrize(
    ("triple", "cpu", "says"),
    [
        ("sparc", None, "does not know the triple 'sparc'"),
        ("aarch64", "pentium4", "no processor 'pentium4'"),
        ("armv7", "native", "not of the triple"),
    ],
)
def test_a_machine_that_is_not_known(triple: str, cpu: str | None, says: str) -> None:
    from edgekit.convert.tvm.machine import machine_for

    with pytest.raises(RecipeError, match=says):
        machine_for(triple, cpu)


def test_processors_have_the_registers_that_they_have() -> None:
    from edgekit.convert.tvm.machine import machine_for

    found = {
        (triple, cpu): (machine.lanes, machine.registers)
        for triple, cpu in [
            ("x86_64", "x86-64"), ("x86_64", "haswell"), ("x86_64", "skylake-avx512"), ("aarch64", "cortex-a72"),
            ("armv7", "cortex-a9"),
        ]
        for machine in [machine_for(triple, cpu)]
    }  # fmt: skip
    assert list(found.values()) == [(4, 16), (8, 16), (16, 32), (4, 32), (4, 16)]
