"""`.tflite` files as models: taken as they are, quantized, refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.convert import convert, find_model
from edgekit.convert.formats import Exported
from edgekit.convert.formats.tflite import LOWERED, TFLite
from edgekit.convert.sources.base import PROGRAM, TFLITE
from edgekit.convert.sources.tflite import TFLiteFile
from edgekit.convert.tflite_file import FlatBuffer
from edgekit.errors import ModelError, RefusedError, UntrustedModelError
from edgekit.recipe import Recipe, parse_recipe
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

SAMPLES = np.random.default_rng(0).standard_normal((20, 1, 6, 6, 2)).astype("float32")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float32.tflite and int8.tflite of a small convolutional network on images in NHWC."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 8, 3), nn.Linear(8 * 16, 3)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.second(torch.relu(self.first(image)).flatten(1))
            return logits

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("files")
    torch.export.save(torch.export.export(Net().eval(), (torch.zeros(1, 2, 6, 6),)), folder / PROGRAM)
    images = (TensorSpec("image", (1, 2, 6, 6), layout="NCHW"),)
    exported = Exported("torch-export", folder, images, (TensorSpec("logits", (1, 3)),))
    form = TFLite()
    form.lower(exported, folder)
    nhwc = Recipe("tflite", "float32", options={"layout": "NHWC"})
    form.convert(exported, folder, nhwc, {}, folder / "float32.tflite")
    model = TFLiteFile().open_file(folder / "float32.tflite", "float32", "float32.tflite", {})
    (folder / "model.tflite").write_bytes((folder / "float32.tflite").read_bytes())
    file = Exported("tflite", folder, model.inputs, (TensorSpec(model.outputs[0], (1, 3)),))
    lowered = folder / "lowered"
    lowered.mkdir()
    form.lower(file, lowered)
    calibration = {model.inputs[0].name: SAMPLES}
    form.convert(file, lowered, Recipe("tflite", "int8"), calibration, folder / "int8.tflite")
    return folder


def changed(file: Path, target: Path, change: Callable[[Any], object]) -> Path:
    """A copy of the file with another table of contents."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(file))
    change(model)
    flatbuffer_utils.write_model(model, str(target))
    return target


def test_a_file_says_what_it_takes(files: Path) -> None:
    float32 = TFLiteFile().open_file(files / "float32.tflite", "m", "m", {})
    assert [(spec.shape, spec.dtype, spec.layout) for spec in float32.inputs] == [((1, 6, 6, 2), "float32", "NHWC")]
    int8 = TFLiteFile().open_file(files / "int8.tflite", "m", "m", {})
    assert FlatBuffer.read(files / "int8.tflite").named("inputs")[0][1].dtype == "int8"
    assert int8.inputs == float32.inputs, "specs are in real values, whatever the file stores"


def test_the_reference_is_in_real_values(files: Path, tmp_path: Path) -> None:
    answers = []
    for name in ("float32", "int8"):
        (tmp_path / name).mkdir()
        model = TFLiteFile().open_file(files / f"{name}.tflite", name, name, {})
        answers.append(TFLiteFile().export(model, [SAMPLES[0]], tmp_path / name)([SAMPLES[0]])[0])
        assert (tmp_path / name / "model.tflite").read_bytes() == (files / f"{name}.tflite").read_bytes()
    assert answers[1].dtype == np.float32
    np.testing.assert_allclose(answers[0], answers[1], atol=0.1)


def test_a_file_as_it_is(cache: Path, files: Path, tmp_path: Path) -> None:
    ref = find_model(str(files / "int8.tflite"))
    recipes = [parse_recipe(f"tflite:{precision}") for precision in ("as-is", "weight-int8")]
    taken, refused = convert(ref, recipes, out=tmp_path / "out")
    assert taken.artifact is not None, taken.error
    manifest = taken.artifact.manifest
    assert manifest.parity.outputs[0].exact
    assert manifest.inputs[0].dtype == "int8"
    assert manifest.inputs[0].quantization is not None
    payload = taken.artifact.path / manifest.payload
    assert payload.read_bytes() == (files / "int8.tflite").read_bytes()
    with pytest.raises(RefusedError, match="quantized already: it holds int8 values.*tflite:as-is"):
        raise refused.error


def test_a_float32_file_is_quantized(cache: Path, files: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", SAMPLES)
    ref = find_model(str(files / "float32.tflite"), calibration=tmp_path / "data.npz")
    recipes = [parse_recipe(f"tflite:{precision}") for precision in ("float32", "int8", "weight-int4")]
    for outcome in convert(ref, recipes, out=tmp_path / "out"):
        assert outcome.artifact is not None, outcome.error
        assert outcome.artifact.manifest.provenance.route == "tflite"


def test_a_file_without_a_signature(files: Path, tmp_path: Path) -> None:
    """As older converters wrote them: the tensors' own names, in the order of the graph."""

    def drop(model: Any) -> None:
        model.signatureDefs = []
        model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].name = b"input:0"

    file = changed(files / "float32.tflite", tmp_path / "old.tflite", drop)
    model = TFLiteFile().open_file(file, "old", "old", {})
    assert [spec.name for spec in model.inputs] == ["input:0"]
    answer = TFLiteFile().export(model, [SAMPLES[0]], tmp_path)([SAMPLES[0]])
    with_signature = TFLiteFile().open_file(files / "float32.tflite", "new", "new", {})
    (tmp_path / "new").mkdir()
    expected = TFLiteFile().export(with_signature, [SAMPLES[0]], tmp_path / "new")([SAMPLES[0]])
    np.testing.assert_array_equal(answer, expected)


def test_calibrating_a_file_without_a_signature(files: Path, tmp_path: Path) -> None:
    file = changed(files / "float32.tflite", tmp_path / TFLITE, lambda model: setattr(model, "signatureDefs", []))
    model = TFLiteFile().open_file(file, "old", "old", {})
    exported = Exported("tflite", tmp_path, model.inputs, (TensorSpec(model.outputs[0], (1, 3)),))
    calibration = {model.inputs[0].name: SAMPLES}
    payload = tmp_path / "payload.tflite"
    TFLite().lower(exported, tmp_path)
    assert FlatBuffer.read(tmp_path / LOWERED).signature_names == ["serving_default"]
    TFLite().convert(exported, tmp_path, Recipe("tflite", "int8"), calibration, payload)
    assert "float32" not in TFLite().stored_dtypes(payload)


def test_a_dynamic_axis(files: Path, tmp_path: Path) -> None:
    def loosen(axes: tuple[int, ...]) -> Callable[[Any], None]:
        def change(model: Any) -> None:
            tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
            tensor.shapeSignature = [-1 if i in axes else size for i, size in enumerate(tensor.shape)]

        return change

    batch = changed(files / "float32.tflite", tmp_path / "batch.tflite", loosen((0,)))
    assert TFLiteFile().open_file(batch, "m", "m", {}).inputs[0].shape == (1, 6, 6, 2)
    name = TFLiteFile().open_file(batch, "m", "m", {}).inputs[0].name
    with pytest.raises(ModelError, match=r"allocated as \(1, 6, 6, 2\): \(3, 6, 6, 2\) cannot be had"):
        TFLiteFile().open_file(batch, "m", "m", {name: (3, 6, 6, 2)})
    free = changed(files / "float32.tflite", tmp_path / "free.tflite", loosen((0, 1)))
    with pytest.raises(ModelError, match=rf"dynamic shape, \(1, \?, 6, 2\).*--shape {name}=1,1,6,2"):
        TFLiteFile().open_file(free, "m", "free", {})
    assert TFLiteFile().open_file(free, "m", "m", {name: (1, 6, 6, 2)}).inputs[0].shape == (1, 6, 6, 2)


def test_several_signatures(files: Path, tmp_path: Path) -> None:
    file = changed(
        files / "float32.tflite", tmp_path / "two.tflite", lambda m: m.signatureDefs.append(m.signatureDefs[0])
    )
    with pytest.raises(ModelError, match=r"two\.tflite has 2 signatures"):
        TFLiteFile().open_file(file, "two", "two.tflite", {})


def make_custom(name: bytes) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for code in model.operatorCodes:
            if code.builtinCode == 3:  # CONV_2D
                code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, name

    return change


def test_operators_of_tensorflow_are_refused(files: Path, tmp_path: Path) -> None:
    file = changed(files / "float32.tflite", tmp_path / "flex.tflite", make_custom(b"FlexWriteFile"))
    with pytest.raises(UntrustedModelError, match="flex.tflite.*FlexWriteFile"):
        find_model(str(file))


def test_operators_that_nobody_has(files: Path, tmp_path: Path) -> None:
    file = changed(files / "float32.tflite", tmp_path / "custom.tflite", make_custom(b"MyConvolution"))
    assert TFLiteFile.inspect(file, trust=False, shown="custom") == []
    model = TFLiteFile().open_file(file, "custom", "custom", {})
    with pytest.raises(ModelError, match=r"cannot be run by LiteRT: .*MyConvolution"):
        TFLiteFile().export(model, [SAMPLES[0]], tmp_path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_a_truncated_file(files: Path, tmp_path: Path, share: float) -> None:
    whole = (files / "float32.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match=r"cut\.tflite cannot be read as a \.tflite file"):
        find_model(str(tmp_path / "cut.tflite"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip archive", bytes(4) + b"TFL3" + bytes(40)])
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.tflite").write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.tflite cannot be read as a \.tflite file"):
        find_model(str(tmp_path / "bad.tflite"))
