"""One library for processors with and without AVX-512: what it holds, what the runtime takes, how it is proven."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.convert.tvm import compile_module
from edgekit.convert.tvm.agreement import Agreeing
from edgekit.convert.tvm.description import (
    is_description,
    read_description,
    stored_tensors,
    tensors_of,
    with_description,
)
from edgekit.convert.tvm.importing import from_torch_export
from edgekit.convert.tvm.linking import link
from edgekit.convert.tvm.machine import Machine, machine_for
from edgekit.convert.tvm.pipeline import build, plain, prepare
from edgekit.convert.tvm.schedules import schedule
from edgekit.convert.tvm.storage import Storage
from edgekit.convert.tvm.variants import with_variant
from edgekit.errors import ParityError
from edgekit.runner.runtimes import tvm as runtime

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="builds variants of this machine's own code"),
]

PORTABLE = machine_for("x86_64")
WIDE = Machine(PORTABLE.triple, "haswell", lanes=16, registers=32)
"""Tiles as of AVX-512, in code that every machine of these tests can run."""
UNNAMED: dict[str, list[str]] = {"inputs": [], "outputs": []}


def network(seed: int) -> Any:
    import torch
    from torch import nn

    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 12, 1), nn.Flatten(), nn.Linear(12 * 64, 70)
    ).eval()


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, sample: np.ndarray) -> list[Any]:
    """Two networks that differ in their weights only."""
    import torch

    modules = []
    for seed in (1, 2):
        path = tmp_path_factory.mktemp("program") / "program.pt2"
        torch.export.save(torch.export.export(network(seed), (torch.from_numpy(sample),)), path)
        modules.append(from_torch_export(path))
    return modules


@pytest.fixture(scope="module")
def library(imported: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "model.so"
    link(compile_module(imported[0], PORTABLE, wider=WIDE).build(PORTABLE), PORTABLE.triple, path)
    return path


@pytest.fixture(scope="module")
def usual(imported: list[Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A library for AVX2 and AVX-512, and the assembly of its two parts."""
    path = tmp_path_factory.mktemp("usual") / "model.so"
    built = compile_module(imported[0], PORTABLE, wider=PORTABLE.wider()).build(PORTABLE)
    link(built, PORTABLE.triple, path)
    return path, [part.inspect_source("asm") for part in built.mod.imports]


def test_both_variants_answer_as_pytorch_does(library: Path, sample: np.ndarray) -> None:
    import torch

    session = runtime.load(str(library), 1, UNNAMED)
    assert session.variants == ["main_haswell", "main"]
    with torch.no_grad():
        expected = network(1)(torch.from_numpy(sample)).numpy()
    session.set_input(0, sample)
    for variant in session.variants:
        session.variant = variant
        session.invoke()
        np.testing.assert_allclose(session.get_output(0), expected, rtol=1e-4, atol=1e-5)


def test_weights_are_stored_once(library: Path, imported: list[Any], tmp_path: Path) -> None:
    link(compile_module(imported[0], WIDE).build(WIDE), WIDE.triple, tmp_path / "alone.so")
    shapes = [
        sorted(shape for dtype, shape, first in stored_tensors(file) if not is_description(dtype, first))
        for file in (library, tmp_path / "alone.so")
    ]
    assert shapes[0] == shapes[1]


def test_the_code_that_runs_everywhere_has_no_longer_vectors(usual: tuple[Path, list[str]]) -> None:
    _, (everywhere, wide) = usual
    assert "zmm" not in everywhere
    assert "zmm" in wide


def test_the_runtime_takes_what_the_processor_can_run(
    usual: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = usual
    (variant,) = read_description(path)["variants"]
    assert variant["flags"] == ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]
    monkeypatch.setattr(runtime, "processor_flags", lambda: frozenset(variant["flags"]) - {"avx512vl"})
    assert runtime.load(str(path), 1, UNNAMED).variants == ["main"]
    monkeypatch.setattr(runtime, "processor_flags", lambda: frozenset({*variant["flags"], "sse2"}))
    assert runtime.load(str(path), 1, UNNAMED).variant == "main_x86_64_v4"


def test_the_environment_names_a_variant(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_TVM_VARIANT", "main")
    assert runtime.load(str(library), 1, UNNAMED).variant == "main"
    monkeypatch.setenv("EDGEKIT_TVM_VARIANT", "main_of_another")
    with pytest.raises(ValueError, match="main_of_another; this library has main_haswell, main here"):
        runtime.load(str(library), 1, UNNAMED)


def test_flags_are_those_of_linux() -> None:
    assert {"avx2", "fma"} <= runtime.processor_flags(), "without them no test of this file could have run"


def test_variants_that_agree_are_proven_together(library: Path, sample: np.ndarray) -> None:
    session = Agreeing(runtime.load(str(library), 1, UNNAMED))
    session.set_input(0, sample)
    session.invoke()
    assert session.get_output(0).shape == (1, 70)


def test_variants_that_differ_are_not_proven(imported: list[Any], tmp_path: Path, sample: np.ndarray) -> None:
    mine, other = (schedule(prepare(plain(module), PORTABLE, Storage()), PORTABLE)[0] for module in imported)
    module, variant = with_variant(mine, other, WIDE)
    inputs, outputs = tensors_of(imported[0])
    description = {"inputs": inputs, "outputs": outputs, "variants": [variant.description], "kernels": []}
    link(build(with_description(module, description), PORTABLE, variant), PORTABLE.triple, tmp_path / "model.so")
    session = Agreeing(runtime.load(str(tmp_path / "model.so"), 1, UNNAMED))
    session.set_input(0, sample)
    with pytest.raises(ParityError, match="variants main_haswell and main differ in output 'output_0'"):
        session.invoke()


def test_only_the_usual_x86_processor_has_a_wider_one() -> None:
    assert PORTABLE.wider() == Machine("x86_64-linux-gnu", "x86-64-v4", lanes=16, registers=32)
    assert machine_for("x86_64", "haswell").wider() is None
    assert machine_for("aarch64").wider() is None
