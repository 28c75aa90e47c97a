"""The format coreml: what each precision stores and computes, what it refuses, and what the runtime says off macOS.

Core ML is not here: programs run in the MIL evaluator, which tests/convert/mil holds against PyTorch and TensorFlow.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import coremltools
import numpy as np
import pytest
import torch

from edgekit.convert.formats.base import Converted, Exported
from edgekit.convert.formats.coreml import CoreML
from edgekit.convert.mil import Evaluator, read_program
from edgekit.convert.mil.session import Session
from edgekit.errors import ConversionError, RecipeError, RefusedError
from edgekit.recipe import Recipe, parse_recipe
from edgekit.runner.runtimes import coreml as runtime
from edgekit.specs import TensorSpec
from tests.convert.conftest import REPOSITORY, make
from tests.convert.mil.programs import snr_db

if TYPE_CHECKING:
    from edgekit.artifact import Bindings

nn, functional = torch.nn, torch.nn.functional
pytestmark = pytest.mark.slow

FORM = CoreML()
CONV = "conv2d_1_cast_fp16"
"""The second convolution of `Cnn`, as coremltools calls it in a float16 program."""


class Cnn(nn.Module):
    """Its second convolution has 73,728 weights: more than 65,504, where a float16 count overflows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 128, 3, padding=1)
        self.norm, self.last = nn.BatchNorm2d(64), nn.Linear(128, 10)

    def forward(self, image: Any) -> Any:
        x = functional.max_pool2d(functional.relu(self.norm(self.first(image))), 2)
        return self.last(functional.avg_pool2d(functional.relu(self.second(x)), 4).flatten(1))


class Encoder(nn.Module):
    """Two layers of attention over token ids, of which 0 is padding and masked."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu", norm_first=True)
        self.embedding, self.last = nn.Embedding(50, 32), nn.Linear(32, 4)
        self.position = nn.Parameter(torch.randn(12, 32) * 0.1)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: Any) -> Any:
        return self.last(self.layers(self.embedding(ids) + self.position, src_key_padding_mask=ids == 0).mean(1))


def export(module: Any, sample: Any, folder: Path, name: str = "x") -> Exported:
    torch.export.save(torch.export.export(module.eval(), (sample,)), folder / "program.pt2")
    with torch.no_grad():
        answered = module(sample)
    outputs = answered if isinstance(answered, tuple) else (answered,)
    return Exported(
        "torch-export",
        folder,
        (TensorSpec(name, tuple(sample.shape), str(sample.dtype).removeprefix("torch.")),),
        tuple(
            TensorSpec(f"y{i}" if len(outputs) > 1 else "y", tuple(y.shape), str(y.dtype).removeprefix("torch."))
            for i, y in enumerate(outputs)
        ),
    )


def convert(
    exported: Exported, recipe: str, payload: Path, calibration: np.ndarray | None = None, keep: list[str] | None = None
) -> Converted:
    wanted = parse_recipe(recipe)
    wanted = Recipe(wanted.format, wanted.precision, options={"keep": keep} if keep else {})
    given = {} if calibration is None else {exported.inputs[0].name: calibration}
    return FORM.convert(exported, payload.parent, wanted, given, payload)


def answer(payload: Path, bindings: Bindings, *inputs: np.ndarray) -> list[np.ndarray]:
    session, proved_by = FORM.session(payload, bindings)
    assert proved_by == "MIL evaluator (not Core ML)"
    for i, array in enumerate(inputs):
        session.set_input(i, array)
    session.invoke()
    return [session.get_output(i) for i in range(len(session.outputs))]


def size(payload: Path) -> int:
    return sum(path.stat().st_size for path in payload.rglob("*") if path.is_file())


def contents(payload: Path) -> dict[str, bytes]:
    return {path.relative_to(payload).as_posix(): path.read_bytes() for path in payload.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(0)
    return Cnn().eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, 1, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def cnn(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(network, torch.zeros(1, 3, 8, 8), tmp_path_factory.mktemp("cnn"), "image")


@pytest.fixture(scope="module")
def payloads(
    cnn: Exported, images: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Converted]]:
    """The network in a precision, made once."""
    folder, made = tmp_path_factory.mktemp("payloads"), {}

    def of(precision: str) -> tuple[Path, Converted]:
        if precision not in made:
            payload = folder / precision / "model.mlpackage"
            payload.parent.mkdir()
            needs = FORM.precisions[precision].needs_calibration
            made[precision] = payload, convert(cnn, f"coreml:{precision}", payload, images if needs else None)
        return made[precision]

    return of


EXPECTED = {  # the least SNR in dB, and the most bytes as a share of float32's
    "float32": (120, 1.0),
    "float16": (60, 0.55),
    "weight-int8": (40, 0.3),
    "weight-int4": (15, 0.2),
    "palettized-8bit": (40, 0.3),
    "palettized-6bit": (30, 0.25),
    "palettized-4bit": (15, 0.2),
    "pruned-50": (4, 0.35),
    "pruned-50-int8": (4, 0.25),
    "int8": (30, 0.35),
}


@pytest.mark.parametrize("precision", FORM.precisions)
def test_each_precision(
    precision: str, payloads: Callable[[str], tuple[Path, Converted]], network: Any, images: np.ndarray
) -> None:
    payload, converted = payloads(precision)
    declared = FORM.precisions[precision]
    stored = FORM.stored_dtypes(payload)
    assert set(declared.must_store) <= stored.keys()
    assert not set(declared.must_not_store) & stored.keys()
    least, most = EXPECTED[precision]
    assert least >= declared.min_snr_db
    with torch.no_grad():
        expected = np.stack([network(torch.from_numpy(image)).numpy() for image in images])
    found = np.stack([answer(payload, converted.bindings, image)[0] for image in images])
    assert found.dtype == np.float32
    assert snr_db(expected, found) > least
    assert size(payload) <= most * size(payloads("float32")[0])


@pytest.mark.parametrize(
    ("precision", "system", "specification"),
    [("float16", "iOS 16, macOS 13", 7), ("int8", "iOS 17, macOS 14", 8), ("weight-int4", "iOS 18, macOS 15", 9)],
)
def test_the_oldest_system_is_told(
    precision: str, system: str, specification: int, payloads: Callable[[str], tuple[Path, Converted]]
) -> None:
    payload, converted = payloads(precision)
    assert converted.notes[0] == f"Runs on {system} and later."
    assert "not by Core ML itself" in converted.notes[1]
    assert read_program(payload).specification == specification


def test_half_of_a_large_tensor_is_pruned(payloads: Callable[[str], tuple[Path, Converted]]) -> None:
    """coremltools' own pruner leaves a float16 tensor of more than 65,504 elements as it is."""
    stored = {
        operation.outputs[0].shape: operation.inputs["nonzero_data"].shape[0]
        for operation in read_program(payloads("pruned-50")[0]).function.operations
        if operation.op_type == "constexpr_sparse_to_dense"
    }
    assert stored[(128, 64, 3, 3)] <= 73728 // 2


def test_kept_layers_stay_in_float16(
    cnn: Exported, images: np.ndarray, payloads: Callable[[str], tuple[Path, Converted]], tmp_path: Path
) -> None:
    recipe = parse_recipe("coreml:int8")
    layers = FORM.layers(cnn, tmp_path, recipe)
    assert CONV in layers
    convert(cnn, "coreml:int8", tmp_path / "a.mlpackage", images, keep=[CONV])
    all_int8, one_kept = (FORM.stored_dtypes(path) for path in (payloads("int8")[0], tmp_path / "a.mlpackage"))
    assert one_kept["int8"] == all_int8["int8"] - 1
    convert(cnn, "coreml:palettized-4bit", tmp_path / "b.mlpackage", keep=list(FORM.layers(cnn, tmp_path, recipe)))
    assert "palette4" not in FORM.stored_dtypes(tmp_path / "b.mlpackage")


def test_a_layer_to_keep_that_is_not_there(cnn: Exported, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no layer nonsense"):
        convert(cnn, "coreml:weight-int8", tmp_path / "a.mlpackage", keep=["nonsense"])


def test_float_precisions_have_no_layers_to_keep(cnn: Exported, tmp_path: Path) -> None:
    assert FORM.layers(cnn, tmp_path, parse_recipe("coreml:float16")) == ()


def test_ranges_come_from_all_samples(cnn: Exported, images: np.ndarray, tmp_path: Path) -> None:
    """coremltools keeps the last sample's range only; here the order of the samples changes nothing."""
    loud_first = images.copy()
    loud_first[0] *= 20
    for name, samples in (("first", loud_first), ("last", loud_first[::-1].copy())):
        convert(cnn, "coreml:int8", tmp_path / f"{name}.mlpackage", samples)
    assert contents(tmp_path / "first.mlpackage") == contents(tmp_path / "last.mlpackage")
    scales = [
        float(operation.inputs["scale"].val)
        for operation in read_program(tmp_path / "first.mlpackage").function.operations
        if operation.op_type == "quantize"
    ]
    assert scales[0] == pytest.approx(np.abs(loud_first).max() / 127, rel=2e-3)


ELSEWHERE = """
import sys
from pathlib import Path
from edgekit.convert.formats.coreml import CoreML
from edgekit.convert.formats.base import Exported
from edgekit.recipe import parse_recipe
from edgekit.specs import TensorSpec
folder, payload = map(Path, sys.argv[1:])
exported = Exported("torch-export", folder, (TensorSpec("image", (1, 3, 8, 8)),), (TensorSpec("y", (1, 10)),))
CoreML().convert(exported, folder, parse_recipe("coreml:palettized-4bit"), {}, payload)
"""


def test_the_same_bytes_in_another_process(
    cnn: Exported, payloads: Callable[[str], tuple[Path, Converted]], tmp_path: Path
) -> None:
    """Whatever the order of its hashes."""
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(cnn.folder), str(tmp_path / "model.mlpackage")],
        cwd=REPOSITORY, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "model.mlpackage") == contents(payloads("palettized-4bit")[0])


def test_nothing_of_this_machine_is_in_the_package(
    payloads: Callable[[str], tuple[Path, Converted]], cnn: Exported
) -> None:
    files = contents(payloads("float16")[0])
    assert sorted(files) == [
        "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin", "Manifest.json",
    ]  # fmt: skip
    for told in (str(cnn.folder), str(REPOSITORY), "/tmp/", "conversion_date"):
        assert all(told.encode() not in content for content in files.values())
    listed = json.loads(files["Manifest.json"])
    assert listed["rootModelIdentifier"] in listed["itemInfoEntries"]


def test_token_ids_and_a_padding_mask(tmp_path: Path) -> None:
    """coremltools 9.0 takes `zeros_like(mask, dtype=float)` for booleans, and inverts the mask."""
    torch.manual_seed(0)
    network = Encoder().eval()
    ids = torch.tensor([[3, 9, 41, 7, 22, 5, 13, 0, 0, 0, 0, 0]])
    exported = export(network, ids, tmp_path, "ids")
    with torch.no_grad():
        expected = network(ids).numpy()
    for precision, least in (("float32", 110), ("float16", 50), ("weight-int4", 12), ("int8", 25)):
        payload = tmp_path / f"{precision}.mlpackage"
        calibration = ids.numpy()[None].repeat(2, 0) if precision == "int8" else None
        converted = convert(exported, f"coreml:{precision}", payload, calibration)
        session, _ = FORM.session(payload, converted.bindings)
        assert session.inputs[0]["dtype"] == "int32"
        (found,) = answer(payload, converted.bindings, ids.numpy().astype(np.int32))
        assert snr_db(expected, found) > least, precision


class Recurrent(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.layer = kind(4, 6, batch_first=True, bidirectional=True)

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


def modules() -> dict[str, tuple[Any, Any]]:
    """Modules whose way through coremltools holds surprises, and an input for each."""
    image = torch.randn(1, 6, 9, 11)

    def of(function: Callable[[Any], Any]) -> Any:
        class Module(nn.Module):
            def forward(self, x: Any) -> Any:
                return function(x)

        return Module()

    return {
        "upsampling decoder": (
            nn.Sequential(nn.ConvTranspose2d(6, 4, 3, 2, 1, 1), nn.GroupNorm(2, 4), nn.Hardswish(),
                          nn.Upsample(scale_factor=2, mode="bilinear"), nn.InstanceNorm2d(4)), image),
        "pools that round up": (nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2)), image),
        "adaptive pool": (nn.AdaptiveAvgPool2d(1), image),
        "reflection": (nn.ReflectionPad2d((1, 2, 3, 0)), image),
        "pixel shuffle": (nn.PixelUnshuffle(3), torch.randn(1, 2, 6, 9)),
        "grid sample": (of(lambda x: functional.grid_sample(x, torch.tanh(x[:, :2].permute(0, 2, 3, 1)),
                                                            align_corners=False)), image),
        "lstm": (Recurrent(nn.LSTM), torch.randn(1, 5, 4)),
        "gru": (Recurrent(nn.GRU), torch.randn(1, 5, 4)),
        "sorting": (of(lambda x: (x.topk(3, 1)[0], x.argmax(-1), torch.cumsum(x, 2))), image),
        "indexing": (of(lambda x: (x[:, [0, 2, 1]], x[..., 1:9:2], x.flip(3), torch.where(x > 0, x, x * 0.1))), image),
        "einsum": (of(lambda x: torch.einsum("nchw,nchv->nwv", x, x)), image),
        "aliases": (of(lambda x: torch.subtract(torch.multiply(x, 2), 1)), image),
        "filled tensors": (of(lambda x: torch.ones_like(x > 0, dtype=torch.float32) * 3 - x), image),
        "local response": (nn.LocalResponseNorm(3), image),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(modules()))
def test_torch_modules(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, sample = modules()[name]
    exported = export(module, sample, tmp_path)
    converted = convert(exported, "coreml:float32", tmp_path / "a.mlpackage")
    with torch.no_grad():
        answered = module(sample)
    expected = answered if isinstance(answered, tuple) else (answered,)
    for want, found in zip(expected, answer(tmp_path / "a.mlpackage", converted.bindings, sample.numpy()), strict=True):
        assert found.shape == tuple(want.shape)
        if found.dtype.kind == "f":
            assert snr_db(want.numpy(), found) > 90
        else:
            np.testing.assert_array_equal(found, want.numpy())


def test_names_that_mil_does_not_allow(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return a + b, a - b

    torch.export.save(torch.export.export(Two(), (torch.zeros(1, 3), torch.ones(1, 3))), tmp_path / "program.pt2")
    exported = Exported(
        "torch-export", tmp_path, (TensorSpec("x.1", (1, 3)), TensorSpec("x_1", (1, 3))),
        (TensorSpec("1st", (1, 3)), TensorSpec("sum/of all", (1, 3))),
    )  # fmt: skip
    converted = convert(exported, "coreml:float32", tmp_path / "a.mlpackage")
    assert converted.bindings.inputs == ("x_1", "x_1_")
    assert converted.bindings.outputs == ("_1st", "sum_of_all")
    a, b = np.array([[1, 2, 3]], np.float32), np.array([[3, 5, 9]], np.float32)
    total, difference = answer(tmp_path / "a.mlpackage", converted.bindings, a, b)
    np.testing.assert_array_equal(total, a + b)
    np.testing.assert_array_equal(difference, a - b)


def test_an_operator_that_coremltools_does_not_know(tmp_path: Path) -> None:
    class Unknown(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.special.bessel_j0(x)

    exported = export(Unknown(), torch.randn(1, 4), tmp_path)
    with pytest.raises(RefusedError, match="coremltools cannot convert this model: .*bessel_j0"):
        convert(exported, "coreml:float16", tmp_path / "a.mlpackage")


def test_a_saved_model(tmp_path: Path) -> None:
    """Two outputs, whose order is the model's and not that of the alphabet."""
    import tensorflow as tf

    weight = tf.constant(np.random.default_rng(0).standard_normal((3, 3, 3, 8)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((1, 9, 8, 3), tf.float32, name="image")])
    def serve(image: Any) -> dict[str, Any]:
        x = tf.nn.conv2d(image, weight, 2, "SAME")
        return {"zeta": tf.nn.gelu(x), "alpha": tf.nn.max_pool2d(x, 2, 2, "SAME"), "best": tf.argmax(x[0, 0, 0])[None]}

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "saved_model"), signatures={"serving_default": serve})
    exported = Exported(
        "saved-model", tmp_path, (TensorSpec("image", (1, 9, 8, 3)),),
        (TensorSpec("zeta", (1, 5, 4, 8)), TensorSpec("best", (1,), "int64"), TensorSpec("alpha", (1, 3, 2, 8))),
    )  # fmt: skip
    image = np.random.default_rng(1).standard_normal((1, 9, 8, 3)).astype(np.float32)
    expected = serve(image)
    for precision, least in (("float32", 90), ("float16", 40)):
        converted = convert(exported, f"coreml:{precision}", tmp_path / f"{precision}.mlpackage")
        assert converted.bindings.outputs == ("zeta", "best", "alpha")
        zeta, best, alpha = answer(tmp_path / f"{precision}.mlpackage", converted.bindings, image)
        assert snr_db(expected["zeta"].numpy(), zeta) > least
        assert snr_db(expected["alpha"].numpy(), alpha) > least
        assert best == expected["best"].numpy()
        assert (zeta.dtype, best.dtype) == (np.float32, np.int32)


def test_explain(cnn: Exported, payloads: Callable[[str], tuple[Path, Converted]], tmp_path: Path) -> None:
    told = FORM.explain(cnn, tmp_path, parse_recipe("coreml:int8"), payloads("int8")[0])
    counts = {operator.name: operator.count for operator in told.operators}
    assert counts["conv"] == 2
    assert counts["quantize"] >= 4
    assert "Neural Engine" in told.operators[0].runs
    assert told.partitions is None
    assert "on a Mac only" in told.because
    told = FORM.explain(cnn, tmp_path, parse_recipe("coreml:float32"), payloads("float32")[0])
    assert "Neural Engine" not in told.operators[0].runs
    assert "float32 never runs on the Neural Engine" in told.advice[0]


def test_the_session_refuses_another_interface(payloads: Callable[[str], tuple[Path, Converted]]) -> None:
    from edgekit.artifact import Bindings

    with pytest.raises(ConversionError, match="no input or output 'picture', but image"):
        Session(payloads("float16")[0], Bindings(("picture",), ("y",)))


def test_the_chain(cache: Path, program: Path, tmp_path: Path) -> None:
    """Two of a kind: one is proven, the other holds nothing to quantize and is refused."""
    good, bad = make(program, "coreml:float16", "coreml:weight-int8", out=tmp_path / "out")
    assert good.artifact is not None, good.error
    manifest = good.artifact.manifest
    assert manifest.parity.proved_by == "MIL evaluator (not Core ML)"
    assert manifest.payload == "payload/model.mlpackage"
    assert bad.artifact is None
    assert "no int8" in bad.error.what
    assert "nearest precision that works is coreml:float16" in bad.error.remedy


# ---------------------------------------------------------------------------------- the runtime, on a Mac


@pytest.mark.skipif(platform.system() == "Darwin", reason="Core ML is here")
def test_the_runtime_off_macos() -> None:
    with pytest.raises(ImportError, match="macOS and iOS only, and this is Linux"):
        runtime.probe()
    with pytest.raises(ImportError, match="macOS and iOS only"):
        runtime.load("model.mlpackage", 1, {"inputs": ["x"], "outputs": ["y"]})


class Predictor:
    """coremltools' MLModel as its documentation has it, computed by the evaluator: Core ML cannot be had here."""

    opened: Any = None

    def __init__(self, path: str, compute_units: Any = None) -> None:
        type(self).opened = compute_units
        self._model = coremltools.models.MLModel(path, skip_model_load=True)
        self._evaluator = Evaluator(read_program(Path(path)))

    def get_spec(self) -> Any:
        return self._model.get_spec()

    def predict(self, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._evaluator(data)


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(
        __version__="9.0", ComputeUnit=coremltools.ComputeUnit, models=SimpleNamespace(MLModel=Predictor)
    )
    monkeypatch.setattr(runtime, "_coremltools", lambda: fake)


def test_the_runtime_session(
    mac: None, payloads: Callable[[str], tuple[Path, Converted]], images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload, converted = payloads("float16")
    named = {"inputs": list(converted.bindings.inputs), "outputs": list(converted.bindings.outputs)}
    session = runtime.load(str(payload), 4, named)
    assert Predictor.opened == coremltools.ComputeUnit.ALL
    assert session.inputs == [
        {"name": "image", "shape": [1, 3, 8, 8], "dtype": "float32", "scale": None, "zero_point": None}
    ]
    session.set_input(0, images[0])
    session.invoke()
    np.testing.assert_array_equal(session.get_output(0), answer(payload, converted.bindings, images[0])[0])
    monkeypatch.setenv("EDGEKIT_COREML_UNITS", "CPU_ONLY")
    runtime.load(str(payload), 1, named)
    assert Predictor.opened == coremltools.ComputeUnit.CPU_ONLY


def test_the_runtime_names_what_is_wrong(
    mac: None, payloads: Callable[[str], tuple[Path, Converted]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(payloads("float16")[0])
    with pytest.raises(ValueError, match="no input or output 'picture'"):
        runtime.load(path, 1, {"inputs": ["picture"], "outputs": ["y"]})
    monkeypatch.setenv("EDGEKIT_COREML_UNITS", "QUANTUM")
    with pytest.raises(ValueError, match="EDGEKIT_COREML_UNITS=QUANTUM: choose one of ALL"):
        runtime.load(path, 1, {"inputs": ["image"], "outputs": ["y"]})
