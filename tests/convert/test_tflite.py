"""The TFLite format: every precision stores what it says, layers can be kept, names and layouts are right."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.convert import tflite_lowering
from edgekit.convert.formats import Converted, Exported
from edgekit.convert.formats.tflite import LOWERED, TFLite
from edgekit.convert.sources.base import PROGRAM
from edgekit.convert.tflite_file import FlatBuffer
from edgekit.convert.tflite_lowering import from_torch
from edgekit.convert.tflite_writing import module_path
from edgekit.errors import RecipeError, RefusedError
from edgekit.recipe import Recipe
from edgekit.runner.compare import compare
from edgekit.runner.runtimes import litert
from edgekit.runner.session import run_samples
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

pytestmark = pytest.mark.slow

SAMPLES = 24
QUANTIZED = ("dynamic-int8", "weight-int8", "weight-int4", "int8", "int16x8")


@dataclass(frozen=True)
class Lowered:
    """A PyTorch model, lowered to float32.tflite, with data and the answers of PyTorch."""

    exported: Exported
    folder: Path
    inputs: dict[str, np.ndarray]
    expected: list[np.ndarray]

    def convert(self, precision: str, payload: Path, **options: Any) -> Converted:
        recipe = Recipe("tflite", precision, options=options)
        form = TFLite()
        calibration = self.inputs if form.validate(recipe).needs_calibration else {}
        return form.convert(self.exported, self.folder, recipe, calibration, payload)

    def snr_db(self, converted: Converted, payload: Path, *, channels_last: bool = False) -> list[float]:
        """Of each output; infinite where it is equal to the bit."""
        named = {"inputs": converted.bindings.inputs, "outputs": converted.bindings.outputs}
        arrays = list(self.inputs.values())
        if channels_last:
            arrays = [array.transpose(0, 1, 3, 4, 2) for array in arrays]
        answers = run_samples(litert.load(str(payload), 1, named), arrays)
        found = [compare(expected, answer)["snr_db"] for expected, answer in zip(self.expected, answers, strict=True)]
        return [float("inf") if one is None else one for one in found]

    def layers(self, precision: str) -> tuple[str, ...]:
        return TFLite().layers(self.exported, self.folder, Recipe("tflite", precision))


def lower(net: nn.Module, inputs: dict[str, np.ndarray], folder: Path, layout: str | None = None) -> Lowered:
    import torch

    net = net.eval()
    samples = [tuple(torch.from_numpy(array[k]) for array in inputs.values()) for k in range(SAMPLES)]
    torch.export.save(torch.export.export(net, samples[0]), folder / PROGRAM)
    with torch.no_grad():
        answers = [torch.utils._pytree.tree_leaves(net(*sample)) for sample in samples]
    expected = [np.stack([answer[i].numpy() for answer in answers]) for i in range(len(answers[0]))]
    exported = Exported(
        "torch-export",
        folder,
        tuple(TensorSpec(name, array.shape[1:], str(array.dtype), layout) for name, array in inputs.items()),
        tuple(TensorSpec(f"y{i}", array.shape[1:]) for i, array in enumerate(expected)),
    )
    TFLite().lower(exported, folder)
    return Lowered(exported, folder, inputs, expected)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Lowered:
    """Convolutions, one of them depthwise, and a dense layer, on images in NCHW."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16), nn.ReLU(), nn.Conv2d(16, 24, 1),
        nn.ReLU(), nn.Flatten(), nn.Linear(24 * 36, 10),
    )  # fmt: skip
    images = np.random.default_rng(0).standard_normal((SAMPLES, 1, 3, 8, 8)).astype("float32")
    return lower(net, {"image": images}, tmp_path_factory.mktemp("network"), layout="NCHW")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Lowered:
    """An embedding, layer normalisation and dense layers, on token ids."""
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.norm = nn.Embedding(400, 32), nn.LayerNorm(32)
            self.first, self.second = nn.Linear(32, 64), nn.Linear(64, 5)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden = self.first(self.norm(self.words(ids)))
            logits: torch.Tensor = self.second(nn.functional.gelu(hidden).mean(1))
            return logits

    torch.manual_seed(0)
    ids = np.random.default_rng(0).integers(0, 400, (SAMPLES, 1, 12))
    return lower(Encoder(), {"ids": ids}, tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Lowered:
    """Two inputs of equal shape, outputs of equal and of different shapes, in a dictionary that is not in order."""
    import torch
    from torch import nn

    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.narrow, self.wide = nn.Linear(8, 4), nn.Linear(8, 6)

        def forward(self, first: torch.Tensor, second: torch.Tensor) -> dict[str, Any]:
            return {"z": self.narrow(second - 3 * first), "a": (self.wide(first), self.narrow(second))}

    torch.manual_seed(0)
    random = np.random.default_rng(0)
    inputs = {name: random.standard_normal((SAMPLES, 1, 8)).astype("float32") for name in ("first", "second")}
    return lower(Crossed(), inputs, tmp_path_factory.mktemp("crossed"))


@pytest.mark.parametrize(
    ("precision", "at_least_db", "stored"),
    [
        ("float32", 100, {"float32"}),
        ("float16", 60, {"float16"}),
        ("dynamic-int8", 35, {"int8", "float32"}),
        ("weight-int8", 40, {"int8", "float32"}),
        ("weight-int4", 14, {"int4", "int8"}),
        ("int8", 28, {"int8", "int32"}),
        ("int16x8", 38, {"int8", "int16"}),
    ],
)
def test_each_precision_stores_what_it_says(
    network: Lowered, tmp_path: Path, precision: str, at_least_db: float, stored: set[str]
) -> None:
    payload = tmp_path / "model.tflite"
    converted = network.convert(precision, payload)
    found = TFLite().stored_dtypes(payload)
    declared = TFLite.precisions[precision]
    assert stored <= set(found)
    assert set(declared.must_store) <= set(found)
    assert not set(declared.must_not_store) & set(found)
    assert network.snr_db(converted, payload)[0] > at_least_db
    if precision in ("int8", "int16x8"):
        assert "float32" not in found


def test_sizes_follow_the_bits(network: Lowered, tmp_path: Path) -> None:
    sizes = {}
    for precision in TFLite.precisions:
        if precision != "as-is":
            network.convert(precision, tmp_path / "model.tflite")
            sizes[precision] = (tmp_path / "model.tflite").stat().st_size
    order = ["float32", "float16", "weight-int8", "weight-int4"]
    assert sorted(order, key=lambda precision: -sizes[precision]) == order
    assert sizes["weight-int4"] < 0.75 * sizes["weight-int8"]


def test_the_same_input_gives_the_same_bytes(network: Lowered, tmp_path: Path) -> None:
    for precision in ("weight-int4", "int8"):
        for name in ("one", "two"):
            network.convert(precision, tmp_path / name)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_program_is_not_exported_again_and_gives_the_bytes_that_it_would(
    crossed: Lowered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """litert-torch takes modules; of ours there is an export already. Two inputs, a dictionary of outputs."""
    import torch

    exported: list[Any] = []
    export = torch.export.export

    def counted(*given: Any, **more: Any) -> Any:
        exported.append(given)
        return export(*given, **more)

    monkeypatch.setattr(torch.export, "export", counted)
    from_torch(crossed.exported, tmp_path / "once.tflite", channels_last=())
    assert exported == []
    assert torch.export.export is counted, "what stood there before stands there again"
    monkeypatch.setattr(tflite_lowering, "_known_export", lambda *_: nullcontext())
    from_torch(crossed.exported, tmp_path / "again.tflite", channels_last=())
    assert len(exported) == 1
    assert (tmp_path / "once.tflite").read_bytes() == (tmp_path / "again.tflite").read_bytes()


def test_every_input_and_output_is_the_one_it_is_called(crossed: Lowered, tmp_path: Path) -> None:
    payload = tmp_path / "model.tflite"
    for precision in ("float32", "weight-int8", "int8"):
        converted = crossed.convert(precision, payload)
        assert min(crossed.snr_db(converted, payload)) > 25
    assert len(converted.bindings.outputs) == 3


def test_an_encoder_is_int8_where_that_works(encoder: Lowered, tmp_path: Path) -> None:
    """Its layer normalisation stays float32, its embedding does not; the notes say so."""
    payload = tmp_path / "model.tflite"
    converted = encoder.convert("int8", payload)
    assert encoder.snr_db(converted, payload)[0] > 25
    assert payload.stat().st_size < 0.5 * (encoder.folder / LOWERED).stat().st_size
    assert any("normalises while it runs" in note for note in converted.notes)
    assert any("Embeddings" in note for note in converted.notes)
    kinds = {tensor.name: tensor.dtype for tensor in FlatBuffer.read(payload).tensors if tensor.constant}
    assert "float32" not in {kinds[name] for name in kinds if "Embedding" in name and kinds[name] != "int32"}


@pytest.mark.parametrize("precision", QUANTIZED)
def test_layers_can_be_kept(network: Lowered, tmp_path: Path, precision: str) -> None:
    """Keeping all of them leaves nothing quantized; keeping one makes the rest no worse than none."""
    payload = tmp_path / "model.tflite"
    names = network.layers(precision)
    assert len(names) == 4
    everything = network.convert(precision, payload, keep=list(names))
    assert network.snr_db(everything, payload)[0] > 100
    assert {"int8", "int4", "int16"}.isdisjoint(TFLite().stored_dtypes(payload))
    one = network.convert(precision, payload, keep=[names[-1]])
    dense = [t for t in FlatBuffer.read(payload).tensors if t.constant and t.shape == (10, 864)]
    assert [tensor.dtype for tensor in dense] == ["float32"]
    assert any("1 of 4 layers were kept" in note for note in one.notes)


def test_keeping_is_checked(network: Lowered, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no layer 'nonsense' to keep"):
        network.convert("weight-int8", tmp_path / "model.tflite", keep=["nonsense"])
    assert network.layers("float32") == ()
    with pytest.raises(RecipeError, match="nothing to keep"):
        network.convert("float32", tmp_path / "model.tflite", keep=[network.layers("int8")[0]])


def test_layers_do_not_depend_on_where_the_code_lies(network: Lowered) -> None:
    assert all("/work" not in name and "<locals>" not in name and "." not in name for name in network.layers("int8"))
    name = "_m_0123.build.<locals>.Net/torch.nn.modules.conv.Conv2d_first;;_m_0123.build.<locals>.Net;2"
    assert module_path(name) == "Conv2d_first"
    assert module_path("_m_0123.Net/a.Block_1/torch.nn.modules.linear.Linear_q;3") == "Block_1/Linear_q;3"
    assert module_path("_m_0123.build.<locals>.Net;2") == "Net;2"
    assert module_path("serving_default_args_0") == "serving_default_args_0"


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_images_become_nhwc_on_purpose(network: Lowered, tmp_path: Path, precision: str) -> None:
    payload = tmp_path / "model.tflite"
    converted = network.convert(precision, payload, layout="NHWC")
    assert converted.layouts == {"image": "NHWC"}
    file = FlatBuffer.read(payload)
    assert [tensor.shape for _, tensor in file.named("inputs")] == [(1, 8, 8, 3)]
    assert "TRANSPOSE" not in [operator.kind for operator in file.operators][:1]
    assert network.snr_db(converted, payload, channels_last=True)[0] > 25
    assert dict(network.convert("float32", payload).layouts) == {}


def test_layouts_that_cannot_be_had(encoder: Lowered, network: Lowered, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="no input of the model is an NCHW image"):
        encoder.convert("float32", tmp_path / "model.tflite", layout="NHWC")
    with pytest.raises(RecipeError, match="the layout 'NCWH'"):
        network.convert("float32", tmp_path / "model.tflite", layout="NCWH")


def test_as_is_is_for_files(network: Lowered, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"for models that are \.tflite files already"):
        network.convert("as-is", tmp_path / "model.tflite")


@pytest.mark.parametrize(
    ("precision", "outside", "advice"),
    [
        ("int8", set(), ""),
        ("dynamic-int8", set(), ""),
        ("int16x8", {"CONV_2D", "DEPTHWISE_CONV_2D"}, "int16 activations have reference kernels only"),
        ("weight-int4", {"DEQUANTIZE"}, "unpacks its 4-bit weights in every inference"),
    ],
)
def test_litert_tells_what_runs_where(
    network: Lowered, tmp_path: Path, precision: str, outside: set[str], advice: str
) -> None:
    payload = tmp_path / "model.tflite"
    network.convert(precision, payload)
    recipe = Recipe("tflite", precision)
    told = TFLite().explain(network.exported, network.folder, recipe, payload)
    counts: dict[str, int] = {}
    for operator in told.operators:
        counts[operator.name] = counts.get(operator.name, 0) + operator.count
    file = FlatBuffer.read(payload)
    assert counts == {kind: sum(o.kind == kind for o in file.operators) for kind in {o.kind for o in file.operators}}
    left_out = {operator.name: operator for operator in told.operators if operator.runs != "XNNPACK"}
    assert outside <= set(left_out)
    assert all(advice in left_out[name].advice for name in outside)
    if not outside:
        assert told.partitions == 1
        assert left_out == {}


def test_an_operator_that_splits_the_graph_is_told(tmp_path: Path) -> None:
    """Depthwise convolutions with dynamic kernels, as the quantizer's own recipe makes them, are not for XNNPACK."""
    import torch
    from ai_edge_quantizer import quantizer, recipe
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1))
    images = np.zeros((SAMPLES, 1, 3, 6, 6), "float32")
    made = lower(net, {"image": images}, tmp_path)
    done = quantizer.Quantizer(str(tmp_path / LOWERED), recipe.dynamic_wi8_afp32()).quantize()
    (tmp_path / "dynamic.tflite").write_bytes(bytes(done.quantized_model))
    told = TFLite().explain(made.exported, tmp_path, Recipe("tflite", "dynamic-int8"), tmp_path / "dynamic.tflite")
    depthwise = next(operator for operator in told.operators if operator.name == "DEPTHWISE_CONV_2D")
    assert depthwise.runs == "LiteRT kernel"
    assert "quantizes its input in every inference" in depthwise.advice
    assert told.partitions == 2
    assert "in 2 pieces" in told.advice[0]


def test_each_way_needs_its_own_converter_only() -> None:
    assert "torch" in TFLite().required("torch-export")
    assert "torch" not in TFLite().required("saved-model")
    assert {"torch", "tensorflow"}.isdisjoint(TFLite().required("tflite"))


def test_nearest_precisions_exist() -> None:
    for name, precision in TFLite.precisions.items():
        assert set(precision.nearest) <= set(TFLite.precisions) - {name}


def test_ranges_are_observed_once(network: Lowered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The accuracy budget quantizes one file many times."""
    from edgekit.convert.formats import tflite as module

    calls: list[str] = []
    observe: Callable[..., Any] = module.observe
    monkeypatch.setattr(module, "observe", lambda *given: calls.append(given[2]) or observe(*given))
    form = TFLite()
    for keep in ((), network.layers("int8")[:1]):
        recipe = Recipe("tflite", "int8", options={"keep": list(keep)})
        form.convert(network.exported, network.folder, recipe, network.inputs, tmp_path / "model.tflite")
    assert calls == ["int8"]
