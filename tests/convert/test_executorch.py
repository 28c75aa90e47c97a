"""ExecuTorch with XNNPACK: real conversions, the runtime that executes them, and how both fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.convert.formats.executorch import ExecuTorch
from edgekit.convert.pt2e import pte
from edgekit.errors import ConversionError, RefusedError
from edgekit.recipe import Recipe
from edgekit.runner.executorch_program import delegation
from edgekit.runner.runtimes import executorch
from tests.convert import programs
from tests.convert.conftest import REPOSITORY, make
from tests.convert.programs import Network, Payloads, profiled, run, worst

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FORM = ExecuTorch()
PRECISIONS = tuple(FORM.precisions)
FLOORS = {"float32": 100.0, "float16": 45.0, "dynamic-int8": 28.0, "int8": 24.0}
"""dB: what these networks reach, less 5 to 10."""


@pytest.fixture(scope="session")
def payloads(networks: dict[str, Network], tmp_path_factory: pytest.TempPathFactory) -> Payloads:
    return Payloads(FORM, networks, tmp_path_factory.mktemp("payloads"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The pool belongs to the process: leaves it with one thread."""
    yield
    executorch._set_threads(1)


def test_a_real_model_through_the_chain(cache: Path, tmp_path: Path) -> None:
    model = REPOSITORY / "models/digits_cnn"
    (outcome,) = make(model, "executorch:int8", out=tmp_path / "out")
    assert outcome.error is None
    quantized = outcome.artifact.manifest
    assert quantized.payload_bytes < 50_000, "38,282 weights and biases"
    assert quantized.parity.worst_snr_db > 35
    assert abs(quantized.accuracy.drop) <= 0.01
    assert quantized.inputs[0].dtype == "float32"
    assert "float32" not in quantized.stored_dtypes
    assert any("in 1 piece" in note for note in quantized.notes)
    told = delegation(str(outcome.artifact.path / quantized.payload))
    assert told["backends"] == [{"name": "XnnpackBackend", "operators": 1, "partitions": 1}]
    assert told["left"] == {}


def test_its_operators_are_profiled(networks: dict[str, Network], payloads: Payloads) -> None:
    path, bindings, _ = payloads("convolutional", "float32")
    found = profiled(executorch, path, bindings, networks["convolutional"])
    assert sum("conv" in kind.lower() for kind in found["types"]) >= 1
    assert set(found["calls"]) == {found["invokes"]}
    assert 0 < sum(found["ns"]) < 1.1 * found["mean_ns"]


@pytest.mark.parametrize("network", ["convolutional", "encoder"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_it_computes_and_stores(
    networks: dict[str, Network], payloads: Payloads, network: str, precision: str
) -> None:
    path, bindings, _ = payloads(network, precision)
    assert worst(networks[network], run(executorch, path, bindings, networks[network])) > FLOORS[precision]
    stored, declared = FORM.stored_dtypes(path), FORM.precisions[precision]
    assert all(stored.get(dtype) for dtype in declared.must_store)
    assert not any(stored.get(dtype) for dtype in declared.must_not_store)


def test_half_precision_reaches_convolutions(payloads: Payloads) -> None:
    """XNNPACK's serializer writes their weights in float32 by itself."""
    assert "float32" not in FORM.stored_dtypes(payloads("convolutional", "float16")[0])


def test_a_convolution_before_an_activation_is_quantized_dynamically(payloads: Payloads) -> None:
    """XNNPACK's quantizer leaves those out by itself."""
    program = pte.read_program(payloads("convolutional", "dynamic-int8")[0])
    assert program.stored["int8"] == 3, "stem, point and head; XNNPACK has no dynamic depthwise convolution"


def test_a_late_batch_normalisation_is_int8_too(payloads: Payloads) -> None:
    program = pte.read_program(payloads("convolutional", "int8")[0])
    assert set(program.stored) <= {"int8", "int32"}
    assert program.delegated["Convert"] == 2, "to int8 at the input, to float32 at the output, and nowhere between"


def test_layers_and_what_keeping_them_does(networks: dict[str, Network], payloads: Payloads, tmp_path: Path) -> None:
    network = networks["convolutional"]
    layers = FORM.layers(network.exported, tmp_path, Recipe("executorch", "int8"))
    assert layers == ("stem", "depthwise", "point", "late_norm", "head")
    dynamic = FORM.layers(network.exported, tmp_path, Recipe("executorch", "dynamic-int8"))
    assert dynamic == ("stem", "point", "head")
    assert FORM.layers(network.exported, tmp_path, Recipe("executorch", "float16")) == ()
    path, bindings, _ = payloads("convolutional", "int8")
    none = worst(network, run(executorch, path, bindings, network))
    all_but_one = ["stem", "depthwise", "point", "late_norm"]
    converted = programs.make(FORM, network, "int8", tmp_path / "kept.pte", keep=all_but_one)
    assert worst(network, run(executorch, tmp_path / "kept.pte", converted.bindings, network)) > none + 3
    assert FORM.stored_dtypes(tmp_path / "kept.pte")["int8"] == 1, "all but one kept: one weight is int8"
    with pytest.raises(RefusedError, match="kept in floating point"):
        programs.make(FORM, network, "int8", tmp_path / "none.pte", keep=list(layers))


@pytest.mark.parametrize("precision", ["float16", "dynamic-int8", "int8"])
def test_a_model_without_weights_is_refused(networks: dict[str, Network], tmp_path: Path, precision: str) -> None:
    with pytest.raises(RefusedError, match="the model has no"):
        programs.make(FORM, networks["weightless"], precision, tmp_path / "model.pte")
    assert not (tmp_path / "model.pte").exists()


def test_an_int8_that_is_float32_inside_shows(payloads: Payloads) -> None:
    """XNNPACK's part is opaque to the program around it: the weights are counted inside."""
    stored = FORM.stored_dtypes(payloads("convolutional", "float32")[0])
    assert set(stored) == {"float32"}
    assert stored["float32"] == 10, "four layers and the batch normalisation, each a weight and a bias"


def test_what_runs_where(networks: dict[str, Network], payloads: Payloads, tmp_path: Path) -> None:
    path, _, notes = payloads("encoder", "float32")
    told = FORM.explain(networks["encoder"].exported, tmp_path, Recipe("executorch", "float32"), path)
    where = {row.name: (row.runs, row.count) for row in told.operators}
    assert where["FullyConnected"] == ("XNNPACK", 5)
    assert where["aten::native_layer_norm"] == ("portable kernel", 3)
    assert told.partitions > 1
    assert any("layer normalisation" in line for line in told.advice)
    assert any(f"in {told.partitions} pieces" in note for note in notes)


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_damaged_payload_is_one_clear_error(
    networks: dict[str, Network], payloads: Payloads, tmp_path: Path, damage: str
) -> None:
    whole, bindings, _ = payloads("convolutional", "float32")
    content = whole.read_bytes()
    path = tmp_path / "bad.pte"
    path.write_bytes({"empty": b"", "text": b"hello " * 100, "cut": content[: len(content) // 2]}[damage])
    with pytest.raises(ValueError, match=r"bad\.pte is no ExecuTorch program, or is damaged"):
        run(executorch, path, bindings, networks["convolutional"])
    with pytest.raises(ConversionError, match=r"bad\.pte cannot be read"):
        pte.read_program(path)


def test_other_inputs_than_the_manifest_says(payloads: Payloads) -> None:
    path, _, _ = payloads("encoder", "float32")
    with pytest.raises(ValueError, match="2 inputs and 2 outputs"):
        executorch.load(str(path), 1, {"inputs": ["ids"], "outputs": ["logits"]})


def test_the_threads_are_those_asked_for(networks: dict[str, Network], payloads: Payloads, one_thread: None) -> None:
    from executorch.extension.pybindings import portable_lib

    path, bindings, _ = payloads("convolutional", "float32")
    for threads in (2, 1):
        answered = run(executorch, path, bindings, networks["convolutional"], threads)
        assert portable_lib._threadpool_get_thread_count() == threads
        assert worst(networks["convolutional"], answered) > FLOORS["float32"]


def test_a_runtime_that_cannot_set_threads_says_so(
    networks: dict[str, Network], payloads: Payloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    from executorch.extension.pybindings import portable_lib

    path, bindings, _ = payloads("convolutional", "float32")
    monkeypatch.delattr(portable_lib, "_unsafe_reset_threadpool")
    with pytest.raises(RuntimeError, match="cannot set the number of threads"):
        run(executorch, path, bindings, networks["convolutional"], 2)


AGAIN = """
import sys
from pathlib import Path
from tests.convert import programs
from edgekit.convert.formats.executorch import ExecuTorch
folder = Path(sys.argv[1])
network = programs.convolutional(folder)
programs.make(ExecuTorch(), network, "int8", folder / "model.pte")
"""


def test_the_same_input_gives_the_same_bytes_and_none_of_the_machine(payloads: Payloads, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", AGAIN, str(tmp_path)], cwd=REPOSITORY, check=True, capture_output=True)
    content = (tmp_path / "model.pte").read_bytes()
    assert content == payloads("convolutional", "int8")[0].read_bytes()
    assert b"site-packages" not in content
    assert str(tmp_path).encode() not in content
