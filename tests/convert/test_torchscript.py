"""TorchScript for the lite interpreter: real conversions, the runtime that executes them, and how both fail."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.convert.formats.torchscript import TorchScript
from edgekit.convert.pt2e import archive
from edgekit.errors import ConversionError, RecipeError, RefusedError
from edgekit.recipe import Recipe
from edgekit.runner.runtimes import torchlite
from tests.convert import programs
from tests.convert.conftest import REPOSITORY, make
from tests.convert.programs import Network, Payloads, profiled, run, worst

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FORM = TorchScript()
PRECISIONS = tuple(FORM.precisions)
FLOORS = {"float32": 100.0, "float16": 55.0, "dynamic-int8": 28.0, "int8": 24.0}
"""dB: what these networks reach, less 5 to 10."""


@pytest.fixture(scope="session")
def payloads(networks: dict[str, Network], tmp_path_factory: pytest.TempPathFactory) -> Payloads:
    return Payloads(FORM, networks, tmp_path_factory.mktemp("payloads"))


@pytest.fixture
def engine() -> Iterator[None]:
    """Leaves the engine as it was."""
    import torch

    before = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = before


def test_every_precision_of_a_real_model(cache: Path, tmp_path: Path) -> None:
    model = REPOSITORY / "models/digits_cnn"
    outcomes = make(model, *(f"torchscript:{p}" for p in PRECISIONS), out=tmp_path / "out")
    assert [o.error for o in outcomes] == [None] * 4
    manifests = {o.recipe.precision: o.artifact.manifest for o in outcomes if o.artifact}
    sizes = {name: manifest.payload_bytes for name, manifest in manifests.items()}
    assert sizes["float32"] > 1.8 * sizes["float16"] > 2.8 * sizes["int8"]
    assert all(abs(m.accuracy.drop) <= 0.01 for m in manifests.values())
    assert manifests["float32"].parity.worst_snr_db is None or manifests["float32"].parity.worst_snr_db > 100
    assert manifests["int8"].provenance.calibration_samples == 200
    assert any("ExecuTorch is its successor" in note for note in manifests["int8"].notes)


def test_its_operators_are_profiled(networks: dict[str, Network], payloads: Payloads) -> None:
    path, bindings, _ = payloads("convolutional", "float32")
    found = profiled(torchlite, path, bindings, networks["convolutional"])
    assert sum("conv" in kind.lower() for kind in found["types"]) >= 1
    assert set(found["calls"]) == {found["invokes"]}
    assert 0 < sum(found["ns"]) < 1.1 * found["mean_ns"]


@pytest.mark.parametrize("network", ["convolutional", "encoder"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_it_computes_and_stores(
    networks: dict[str, Network], payloads: Payloads, network: str, precision: str
) -> None:
    path, bindings, _ = payloads(network, precision)
    assert worst(networks[network], run(torchlite, path, bindings, networks[network])) > FLOORS[precision]
    stored, declared = FORM.stored_dtypes(path), FORM.precisions[precision]
    assert all(stored.get(dtype) for dtype in declared.must_store)
    assert not any(stored.get(dtype) for dtype in declared.must_not_store)


def test_half_precision_halves_the_bytes_and_int8_quarters_them(payloads: Payloads) -> None:
    def weights(precision: str) -> int:
        with zipfile.ZipFile(payloads("encoder", precision)[0]) as file:
            held = [i for i in file.infolist() if "/data/" in i.filename or "/constants/" in i.filename]
            return sum(i.file_size for i in held)

    assert weights("float16") / weights("float32") == pytest.approx(0.5, abs=0.01)
    assert weights("dynamic-int8") / weights("float32") < 0.4, "scales and biases of a network this small weigh much"


@pytest.mark.parametrize("precision", ["dynamic-int8", "int8"])
def test_one_file_runs_with_both_engines(
    networks: dict[str, Network],
    payloads: Payloads,
    engine: None,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
) -> None:
    """qnnpack mixes up the elements of channels-last tensors in a clamp; the graph is written so that it cannot."""
    import torch

    path, bindings, _ = payloads("convolutional", precision)
    for name in ("fbgemm", "qnnpack"):
        if name not in torch.backends.quantized.supported_engines:
            pytest.skip(f"this torch has no {name}")
        monkeypatch.setattr(torchlite, "_engine", lambda name=name: name)
        assert (
            worst(networks["convolutional"], run(torchlite, path, bindings, networks["convolutional"]))
            > FLOORS[precision]
        )
        assert torch.backends.quantized.engine == name


def test_the_runtime_chooses_the_engine_whatever_the_process_had(
    networks: dict[str, Network], payloads: Payloads, engine: None
) -> None:
    import torch

    if "onednn" not in torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no onednn")
    torch.backends.quantized.engine = "onednn"
    path, bindings, _ = payloads("encoder", "dynamic-int8")
    assert worst(networks["encoder"], run(torchlite, path, bindings, networks["encoder"])) > FLOORS["dynamic-int8"]


def test_no_engine_is_one_clear_error(
    networks: dict[str, Network], payloads: Payloads, engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, bindings, _ = payloads("convolutional", "int8")
    monkeypatch.setattr(torchlite, "_engine", lambda: "none")
    run(torchlite, *payloads("convolutional", "float32")[:2], networks["convolutional"])
    with pytest.raises(
        RuntimeError, match=r"int8-model\.ptl is quantized, and torch .* has no engine for that: it lists"
    ):
        run(torchlite, path, bindings, networks["convolutional"])


def test_layers_and_what_keeping_them_does(networks: dict[str, Network], tmp_path: Path) -> None:
    network = networks["convolutional"]
    layers = FORM.layers(network.exported, tmp_path, Recipe("torchscript", "int8"))
    assert layers == ("stem", "depthwise", "point", "head")
    assert FORM.layers(network.exported, tmp_path, Recipe("torchscript", "float16")) == ()
    reached = []
    for keep in ([], ["stem", "depthwise"], ["stem", "depthwise", "point"]):
        converted = programs.make(FORM, network, "int8", tmp_path / "kept.ptl", keep=keep)
        reached.append(worst(network, run(torchlite, tmp_path / "kept.ptl", converted.bindings, network)))
    assert reached[2] > reached[0] + 3
    one = FORM.stored_dtypes(tmp_path / "kept.ptl")
    assert one["int8"] == 1, "all but one kept: one weight is int8"
    with pytest.raises(RefusedError, match="not kept in floating point"):
        programs.make(FORM, network, "int8", tmp_path / "none.ptl", keep=list(layers))


@pytest.mark.parametrize("precision", ["float16", "dynamic-int8", "int8"])
def test_a_model_without_weights_is_refused(networks: dict[str, Network], tmp_path: Path, precision: str) -> None:
    with pytest.raises(RefusedError, match=r"nothing to quantize|no float32 weights"):
        programs.make(FORM, networks["weightless"], precision, tmp_path / "model.ptl")
    assert not (tmp_path / "model.ptl").exists()


def test_eight_bits_are_an_option(
    networks: dict[str, Network], tmp_path: Path, engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More precise, with qnnpack."""
    import torch

    if "qnnpack" not in torch.backends.quantized.supported_engines:
        pytest.skip("this torch has no qnnpack")
    monkeypatch.setattr(torchlite, "_engine", lambda: "qnnpack")
    network, reached = networks["convolutional"], {}
    for bits in (7, 8):
        converted = programs.make(FORM, network, "int8", tmp_path / "bits.ptl", activation_bits=bits)
        reached[bits] = worst(network, run(torchlite, tmp_path / "bits.ptl", converted.bindings, network))
    assert reached[8] > reached[7] + 2
    with pytest.raises(RecipeError, match="Write 7 or 8"):
        programs.make(FORM, network, "int8", tmp_path / "bits.ptl", activation_bits=4)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
def test_a_damaged_payload_is_one_clear_error(
    networks: dict[str, Network], payloads: Payloads, tmp_path: Path, damage: str
) -> None:
    whole, bindings, _ = payloads("encoder", "float32")
    content = bytearray(whole.read_bytes())
    if damage == "flipped":  # in the middle of the largest tensor
        with zipfile.ZipFile(whole) as file:
            largest = max(file.infolist(), key=lambda entry: entry.file_size)
        content[largest.header_offset + 200 + largest.file_size // 2] ^= 0xFF
    bad = {"empty": b"", "text": b"hello " * 100, "cut": bytes(content[: len(content) // 2]), "flipped": bytes(content)}
    path = tmp_path / "bad.ptl"
    path.write_bytes(bad[damage])
    with pytest.raises(ValueError, match=r"bad\.ptl is (damaged|not a \.ptl file)"):
        run(torchlite, path, bindings, networks["encoder"])
    if damage != "flipped":
        with pytest.raises(ConversionError, match=r"bad\.ptl is not an archive"):
            FORM.stored_dtypes(path)


def test_code_of_others_is_not_loaded(tmp_path: Path) -> None:
    """A .ptl contains code."""
    import torch

    module = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    path = tmp_path / "others.ptl"
    path.write_bytes(module._save_to_buffer_for_lite_interpreter())
    with pytest.raises(ValueError, match="was not written by EdgeKit"):
        torchlite.load(str(path), 1, {"inputs": ["x"], "outputs": ["y"]})


def test_reading_a_file_executes_nothing_of_it(tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "trap.ptl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Trap()))
    assert archive.stored_dtypes(path) == {}
    assert not (tmp_path / "executed").exists()


def test_what_runs_where(networks: dict[str, Network], payloads: Payloads, tmp_path: Path) -> None:
    path, _, _ = payloads("encoder", "int8")
    told = FORM.explain(networks["encoder"].exported, tmp_path, Recipe("torchscript", "int8"), path)
    counts = {row.name: row.count for row in told.operators}
    assert counts["quantized::linear"] == 5
    assert counts["aten::embedding"] == 4, "two tables: rows and scales"
    assert told.partitions is None
    assert "no delegate" in told.because
    assert any("Conversions between float32 and int8" in line for line in told.advice)


TWICE = """
import sys
from pathlib import Path
from tests.convert import programs
from edgekit.convert.formats.torchscript import TorchScript
folder = Path(sys.argv[1])
network = programs.convolutional(folder)
for precision in ("float32", "int8"):
    programs.make(TorchScript(), network, precision, folder / f"{precision}.ptl")
"""


def test_the_same_input_gives_the_same_bytes_and_none_of_the_machine(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "another-path")]
    for folder in folders:
        folder.mkdir()
        subprocess.run([sys.executable, "-c", TWICE, str(folder)], cwd=REPOSITORY, check=True, capture_output=True)
    for precision in ("float32", "int8"):
        contents = [(folder / f"{precision}.ptl").read_bytes() for folder in folders]
        assert contents[0] == contents[1]
        with zipfile.ZipFile(folders[0] / f"{precision}.ptl") as file:
            text = b"".join(file.read(name) for name in file.namelist())
        assert b"site-packages" not in text
        assert str(tmp_path).encode() not in text


def test_the_threads_are_those_asked_for(networks: dict[str, Network], payloads: Payloads) -> None:
    import torch

    path, bindings, _ = payloads("convolutional", "float32")
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            run(torchlite, path, bindings, networks["convolutional"], threads)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_read_only_inputs_are_taken(networks: dict[str, Network], payloads: Payloads) -> None:
    path, bindings, _ = payloads("encoder", "float32")
    network = networks["encoder"]
    for array in network.inputs:
        array.flags.writeable = False
    assert np.isfinite(run(torchlite, path, bindings, network)[0]).all()
