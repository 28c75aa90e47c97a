"""The format in the chain: precisions proven, other processors, refusals; the runtime without TVM's compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.convert.formats.tvm import TVM
from edgekit.convert.tvm.machine import TRIPLES, canonical_triple
from edgekit.errors import ArtifactError, RecipeError
from edgekit.recipe import Recipe
from tests.convert.conftest import REPOSITORY, make

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.convert import Outcome

pytestmark = pytest.mark.slow

RECIPES = ("float32", "float16", "weight-int8", "int8", "float32@armv7", "weight-int8@aarch64-linux-android")
X86, ARM, AARCH64 = 62, 40, 183
"""ELF's numbers for processors."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder = tmp_path_factory.mktemp("tvm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_CACHE", str(folder / "cache"))
        made = make(REPOSITORY / "models/digits_cnn", *(f"tvm:{recipe}" for recipe in RECIPES), out=folder / "out")
    return dict(zip(RECIPES, made, strict=True))


def artifact(outcome: Outcome) -> Artifact:
    assert outcome.artifact is not None, outcome.error
    return outcome.artifact


def payload(outcome: Outcome) -> Path:
    made = artifact(outcome)
    return made.path / made.manifest.payload


def test_precisions_are_proven_and_stored(outcomes: dict[str, Outcome]) -> None:
    manifests = {name: artifact(outcomes[name]).manifest for name in RECIPES[:3]}
    worst = {name: manifest.parity.worst_snr_db for name, manifest in manifests.items()}
    assert worst["float32"] > 100
    assert worst["float16"] > 60
    assert worst["weight-int8"] > 30
    assert "float16" not in manifests["float32"].stored_dtypes
    assert manifests["float16"].stored_dtypes["float16"] > 0
    assert manifests["weight-int8"].stored_dtypes["int8"] > 0
    sizes = [manifests[name].payload_bytes for name in RECIPES[:3]]
    assert sizes[0] > sizes[1] > sizes[2]
    assert b"Mismatched" not in payload(outcomes["float32"]).read_bytes(), "kernels do not check what calls them"
    usual = TRIPLES[canonical_triple(None)][2]
    assert any(f"processor {usual}" in note for note in manifests["float32"].notes), "portable, not this machine's own"


@pytest.mark.skipif(canonical_triple(None) != "x86_64-linux-gnu", reason="only x86-64 has variants")
def test_a_portable_library_has_a_variant_for_longer_vectors(outcomes: dict[str, Outcome]) -> None:
    from edgekit.convert.tvm.description import read_description
    from edgekit.runner.runtimes import tvm as runtime

    manifest = artifact(outcomes["float32"]).manifest
    assert [variant["cpu"] for variant in read_description(payload(outcomes["float32"]))["variants"]] == ["x86-64-v4"]
    assert any("AVX-512" in note for note in manifest.notes)
    run = runtime.load(str(payload(outcomes["float32"])), 1, {"inputs": [], "outputs": []}).variants
    assert " and ".join(run) in manifest.parity.proved_by, "the proof ran all that this processor can run"
    assert read_description(payload(outcomes["float32@armv7"]))["variants"] == []


def test_int8_is_calibrated_and_computed_in_integers(outcomes: dict[str, Outcome]) -> None:
    from edgekit.convert.tvm.description import read_description

    manifest = artifact(outcomes["int8"]).manifest
    kernels = {kernel["name"] for kernel in read_description(payload(outcomes["int8"]))["kernels"]}
    assert any("integer_convolution" in name for name in kernels)
    assert any("integer_product" in name for name in kernels)
    assert any("computed in integers" in note for note in manifest.notes)
    assert manifest.stored_dtypes["int8"] > 0
    assert 25 < manifest.parity.worst_snr_db < artifact(outcomes["weight-int8"]).manifest.parity.worst_snr_db


@pytest.mark.parametrize(
    ("recipe", "machine"), [("float32@armv7", ARM), ("weight-int8@aarch64-linux-android", AARCH64)]
)
def test_another_processor_is_compiled_for_and_proven_by_a_stand_in(
    outcomes: dict[str, Outcome], recipe: str, machine: int
) -> None:
    library = payload(outcomes[recipe]).read_bytes()
    assert library[:4] == b"\x7fELF"
    assert int.from_bytes(library[18:20], "little") == machine
    assert any("stand-in" in note and "did not run" in note for note in artifact(outcomes[recipe]).manifest.notes)


def test_a_library_needs_nothing_but_the_c_library_and_the_runtime(outcomes: dict[str, Outcome]) -> None:
    """What a device's loader has to find: no libgcc, no compiler's helpers for float16."""
    import re

    found = set()
    for name in ("float16", "float32@armv7"):
        text = payload(outcomes[name]).read_bytes()
        found |= {match.decode() for match in re.findall(rb"__(?:gnu|aeabi|trunc|extend)\w+", text)}
    within = {"__extendhfsf2", "__truncsfhf2"}  # TVM writes these two into the library itself
    assert found - within <= {"__aeabi_unwind_cpp_pr0"}, "which libgcc_s has, beside libstdc++"


def test_explain_tells_every_kernel(outcomes: dict[str, Outcome], tmp_path: Path) -> None:
    explanation = TVM().explain(None, tmp_path, Recipe("tvm", "float32"), payload(outcomes["float32"]))  # type: ignore[arg-type]  # what it was made from is not looked at
    assert any(operator.runs.startswith("contraction") for operator in explanation.operators)
    assert all(operator.count >= 1 for operator in explanation.operators)
    shares = [float(operator.runs.split(", ")[1].split(" %")[0]) for operator in explanation.operators]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert explanation.because


RUN = """
import json, sys
import numpy as np
from edgekit.runner.runtimes import find
runtime = find("tvm")
facts = runtime.probe()
session = runtime.load(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
session.set_input(0, np.load(sys.argv[4])[0])
session.invoke()
first = session.get_output(0).copy()
session.invoke()
assert (session.get_output(0) == first).all()
np.save(sys.argv[5], first)
heavy = [name for name in ("tvm", "torch", "tensorflow") if name in sys.modules]
print(json.dumps([facts, heavy, session.inputs, session.outputs]))
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_the_runtime_needs_no_compiler(outcomes: dict[str, Outcome], tmp_path: Path, threads: int) -> None:
    made = artifact(outcomes["float32"])
    manifest = made.manifest
    bindings = json.dumps({"inputs": list(manifest.bindings.inputs), "outputs": list(manifest.bindings.outputs)})
    arguments = [
        payload(outcomes["float32"]),
        threads,
        bindings,
        made.path / manifest.golden.inputs[0],
        tmp_path / "y.npy",
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)], capture_output=True, text=True, check=True, timeout=120
    )
    facts, heavy, inputs, outputs = json.loads(done.stdout)
    assert "tvm" not in heavy
    assert facts["package"] == "tvm_ffi"
    assert facts["version"]
    assert inputs[0]["dtype"] == "float32"
    assert outputs[0]["shape"] == [1, 10]
    np.testing.assert_allclose(
        np.load(tmp_path / "y.npy"), np.load(made.path / manifest.golden.outputs[0])[0], atol=1e-4
    )


def test_an_input_of_another_shape_or_dtype_is_an_error(outcomes: dict[str, Outcome]) -> None:
    from edgekit.runner.runtimes import tvm as runtime

    session = runtime.load(str(payload(outcomes["float32"])), 1, {"inputs": [], "outputs": []})
    shape = session.inputs[0]["shape"]
    with pytest.raises(TypeError):
        session.set_input(0, np.zeros(shape, np.int64))
    with pytest.raises(ValueError, match="broadcast"):
        session.set_input(0, np.zeros([*shape[:-1], shape[-1] + 1], np.float32))
    with pytest.raises(ValueError, match="no tensor nonsense"):
        runtime.load(str(payload(outcomes["float32"])), 1, {"inputs": ["nonsense"], "outputs": []})


def test_a_device_without_the_library_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit.runner.runtimes import tvm as runtime

    monkeypatch.setattr(runtime, "LIBRARY", "libtvm_runtime_of_another_age.so")
    with pytest.raises(ImportError, match="TVM_LIBRARY_PATH"):
        runtime.probe()


def test_a_file_that_holds_no_model(tmp_path: Path) -> None:
    from edgekit.convert.tvm.description import read_description

    file = tmp_path / "model.so"
    file.write_bytes(b"\x7fELF" + bytes(200))
    with pytest.raises(ArtifactError, match="holds no description"):
        read_description(file)
    assert TVM().stored_dtypes(file) == {}


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (Recipe("tvm", "float32", triple="sparc"), "sparc"),
        (Recipe("tvm", "float32", options={"cpu": 3}), "processor's name"),
        (Recipe("tvm", "float32", options={"tune": True}), "no option tune"),
        (Recipe("tvm", "int4"), "no precision"),
    ],
)
def test_recipes_that_are_wrong(recipe: Recipe, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        TVM().validate(recipe)


def test_an_onnx_file_is_compiled_too(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from edgekit.convert.tvm import compile_module
    from edgekit.convert.tvm.importing import from_onnx
    from edgekit.convert.tvm.linking import link
    from edgekit.convert.tvm.machine import machine_for
    from edgekit.runner.runtimes import tvm as runtime

    weight = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "model.onnx")
    machine = machine_for()
    made = compile_module(from_onnx(tmp_path / "model.onnx"), machine)
    assert "contraction" in {what.schedule for what in made.scheduled}
    link(made.build(machine), machine.triple, tmp_path / "model.so")
    session = runtime.load(str(tmp_path / "model.so"), 1, {"inputs": ["x"], "outputs": []})
    x = np.random.default_rng(1).standard_normal((3, 9)).astype(np.float32)
    session.set_input(0, x)
    session.invoke()
    np.testing.assert_allclose(session.get_output(0), np.maximum(x @ weight, 0), rtol=1e-5, atol=1e-6)
