"""Keras models: taken as files and from code, refused before they are opened where they are more than layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.convert import find_model
from edgekit.convert.formats import Exported
from edgekit.convert.formats.tflite import TFLite
from edgekit.convert.sources.keras import KerasModel
from edgekit.convert.sources.keras_archive import unsafe_content
from edgekit.errors import ModelError, RefusedError, UntrustedModelError
from edgekit.recipe import Recipe
from edgekit.runner.runtimes import litert
from edgekit.runner.session import run_samples
from edgekit.specs import TensorSpec
from tests.convert.conftest import REPOSITORY, make

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

MAKE = """
import sys, keras
folder = sys.argv[1]
L = keras.layers
image = keras.Input((6, 6, 1), name="image")
convolved = L.Conv2D(4, 3, activation="relu", name="convolution")(image)
keras.Model(image, L.Dense(3, name="scores")(L.Flatten()(convolved))).save(f"{folder}/image.keras")
normal = L.Activation("swish")(L.BatchNormalization()(L.DepthwiseConv2D(3)(L.Rescaling(2.0)(image))))
keras.Model(image, L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(normal))).save(f"{folder}/usual.keras")
tokens = keras.Input((5,), dtype="float32", name="sequence")
keras.Model(tokens, L.Dense(2)(L.LSTM(4)(L.Reshape((5, 1))(tokens)))).save(f"{folder}/recurrent.keras")
b, a = keras.Input((4,), name="b"), keras.Input((4,), name="a")
equal = [L.Dense(3, name="z")(b - 2 * a), L.Dense(3, name="y")(a)]
keras.Model([b, a], [*equal, L.Dense(5, name="x")(L.Concatenate()([a, b]))]).save(f"{folder}/many.keras")
keras.Model({"q": b, "p": a}, dict(zip("ts", equal))).save(f"{folder}/dict.keras")
free = keras.Input((None, 4), name="sequence")
keras.Model(free, L.Dense(2, name="scores")(L.GlobalAveragePooling1D()(free))).save(f"{folder}/free.keras")
keras.Sequential([keras.Input((4,), name="x"), L.Lambda(lambda v: v * 2.0)]).save(f"{folder}/lambda.keras")
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of `.keras` files, made in a process of its own: Keras knows one backend a process."""
    folder = tmp_path_factory.mktemp("keras")
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", MAKE, str(folder)], check=True, env=environment)
    return folder


EXPORT = """
import json, pathlib, sys
import numpy as np
import tensorflow as tf
from edgekit.convert.formats.base import Exported
from edgekit.convert.load import import_model
from edgekit.convert.sources.keras import KerasModel
from edgekit.convert.tflite_lowering import from_saved_model
from edgekit.errors import EdgeKitError

files, source, told = pathlib.Path(sys.argv[1]), KerasModel(), {}
asked = dict.fromkeys(("image", "usual", "recurrent", "many", "dict", "free", "lambda", "custom", "code"), {})
asked |= {"free-7": {"sequence": (1, 7, 4)}, "free-5": {"sequence": (2, 7, 5)}}
for name, shapes in asked.items():
    told[name] = found = {"error": ""}
    folder, stem = files / f"exported {name}", name.split("-")[0]
    folder.mkdir()
    try:
        code = name == "code"  # a model folder whose build() returns a list
        model = import_model(files / name) if code else source.open_file(files / f"{stem}.keras", name, stem, shapes)
        random = np.random.default_rng(0)
        sample = [random.standard_normal(spec.shape).astype("float32") for spec in model.inputs]
        expected = source.export(model, sample, folder)(sample)
        loaded = tf.saved_model.load(folder / "saved_model")
        signature = loaded.signatures["serving_default"]
        answers = signature(**{spec.name: tf.constant(array) for spec, array in zip(model.inputs, sample)})
        pairs = [(answers[given].numpy(), array) for given, array in zip(model.outputs, expected)]
        for kind, arrays in (("sample", sample), ("expected", expected)):
            np.savez(folder / f"{kind}.npz", *arrays)
        found["inputs"] = [spec.name for spec in model.inputs]
        found["outputs"] = list(model.outputs)
        found["signature"] = [sorted(signature.structured_input_signature[1]), sorted(answers)]
        found["shapes"] = [spec.shape for spec in model.inputs]
        found["layout"] = model.inputs[0].layout
        found["saved_model_differs_by"] = max(float(np.abs(a - b).max()) for a, b in pairs)
        if name == "recurrent":
            lowered = from_saved_model(Exported("saved-model", folder, model.inputs, ()))
            (folder / "float32.tflite").write_bytes(lowered)
    except EdgeKitError as error:
        found["error"] = str(error)
(files / "told.json").write_text(json.dumps(told))
"""
DERIVE = """
import json, pathlib, sys
import numpy as np
import torch
from edgekit.convert.sources.keras import KerasModel
from edgekit.errors import EdgeKitError

files, told = pathlib.Path(sys.argv[1]), {}
(files / "exported not-saved").mkdir()
(files / "exported not-saved" / "not-saved.txt").write_text("no config")
for name in ("image", "usual", "recurrent", "many", "dict", "not-saved"):
    told[name] = found = {"error": ""}
    folder = files / f"exported {name}"
    try:
        sample, expected = ([*np.load(folder / f"{kind}.npz").values()] if name != "not-saved" else []
                            for kind in ("sample", "expected"))
        KerasModel().derive("torch-export", folder, sample, folder)
        program = torch.export.load(folder / "program.pt2")
        calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
        found["operators"] = [call.replace("aten.", "").split(".")[0] for call in calls]
        found["weights"] = {name: list(value.shape) for name, value in program.state_dict.items()}
        outputs = program.module()(*map(torch.from_numpy, sample))
        found["differs_by"] = max(float(np.abs(a.detach().numpy() - b).max()) for a, b in zip(outputs, expected))
    except EdgeKitError as error:
        found["error"] = str(error)
(files / "told.json").write_text(json.dumps(told))
"""


def in_process(script: str, files: Path, kind: str) -> dict[str, Any]:
    environment = {**os.environ, **KerasModel.environment[kind], "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", script, str(files)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads((files / "told.json").read_text())
    return told


@pytest.fixture(scope="module")
def exports(files: Path) -> dict[str, Any]:
    """What became of each file as a SavedModel."""
    custom = changed(files, files, lambda c: layer(c).update(module=None, registered_name="mine>Layer"))
    custom.rename(files / "custom.keras")
    (files / "code").mkdir()
    (files / "code" / "model.py").write_text(CODE.format(top=""))
    return in_process(EXPORT, files, "saved-model")


@pytest.fixture(scope="module")
def torch_exports(files: Path, exports: dict[str, Any]) -> dict[str, Any]:
    """What became of them as torch programs, in a process with Keras' other backend."""
    return in_process(DERIVE, files, "torch-export")


def changed(files: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of image.keras with another configuration."""
    target = tmp_path / "changed.keras"
    with zipfile.ZipFile(files / "image.keras") as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            if entry == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(entry, content)
    return target


def layer(config: dict[str, Any], i: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = config["config"]["layers"][i]
    return found


def test_the_model_of_the_repository(cache: Path, tmp_path: Path) -> None:
    outcomes = make(REPOSITORY / "models/digits_cnn_keras", "tflite:float32", "tflite:int8", out=tmp_path / "out")
    assert [o.error for o in outcomes] == [None, None]
    float32, int8 = (o.artifact.manifest for o in outcomes)
    assert float32.provenance.route == "saved-model"
    assert float32.inputs[0].layout == "NHWC"
    assert float32.parity.worst_snr_db > 100
    assert float32.accuracy.source > 0.96
    assert int8.accuracy.drop <= 0.01
    assert float32.payload_bytes > 3.4 * int8.payload_bytes


IMPORTS_KERAS_FIRST = """
import keras
from edgekit.model import Model
from edgekit.specs import TensorSpec


def build():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3)])


model = Model(name="first", source="keras", build=build, inputs=(TensorSpec("x", (1, 4)),))
"""


def test_the_users_own_backend_does_not_matter(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras reads it at its first import, which a model.py may do: so workers have the right one from their start, that
    of TensorFlow where the source is read, PyTorch's where a program is made of it."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "model.py").write_text(IMPORTS_KERAS_FIRST)
    command = [sys.executable, "-m", "edgekit", "convert", str(tmp_path / "first"), "--to", "torchscript:float32",
               "--out", str(tmp_path / "out")]  # fmt: skip
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("proven") == 1


def test_names_and_order_are_the_models(exports: dict[str, Any]) -> None:
    many = exports["many"]
    assert (many["inputs"], many["outputs"]) == (["b", "a"], ["z", "y", "x"])
    assert many["signature"] == [["a", "b"], ["x", "y", "z"]]
    assert many["shapes"] == [[1, 4], [1, 4]], "the batch is one sample"
    assert exports["dict"]["inputs"] == ["a", "b"], "a dictionary's entries go in the order of its keys"
    assert exports["image"]["layout"] == "NHWC"
    assert exports["many"]["layout"] is None


@pytest.mark.parametrize("name", ["image", "usual", "recurrent", "many", "dict", "free-7", "lambda"])
def test_the_frozen_export_computes_what_the_model_computes(exports: dict[str, Any], name: str) -> None:
    assert exports[name]["error"] == "", exports[name]["error"]
    assert exports[name]["saved_model_differs_by"] < 1e-5


@pytest.mark.parametrize("name", ["image", "usual", "recurrent", "many", "dict"])
def test_so_does_the_torch_program(torch_exports: dict[str, Any], name: str) -> None:
    """Two inputs and two outputs of equal shapes: nothing but their order tells them apart."""
    assert torch_exports[name]["error"] == "", torch_exports[name]["error"]
    assert torch_exports[name]["differs_by"] < 1e-5


def test_the_torch_program_is_what_pytorch_users_would_write(torch_exports: dict[str, Any]) -> None:
    """So that quantizers find layers where there are some, and runtimes nothing that they do not know."""
    image = torch_exports["image"]
    assert image["operators"] == ["permute", "conv2d", "permute", "relu", "reshape", "linear"]
    assert image["weights"] == {
        "convolution_kernel": [4, 1, 3, 3], "convolution_bias": [4], "scores_kernel": [3, 64], "scores_bias": [3]
    }  # fmt: skip


def test_a_dynamic_axis_needs_a_shape(exports: dict[str, Any]) -> None:
    said = exports["free"]["error"]
    assert "Input 'sequence' of free has a dynamic shape, (1, ?, 4)." in said
    assert "--shape sequence=1,1,4" in said
    assert exports["free-7"]["shapes"] == [[1, 7, 4]]
    assert "(2, 7, 5) does not fit" in exports["free-5"]["error"]


def test_a_custom_layer_cannot_be_opened_even_when_it_is_trusted(exports: dict[str, Any]) -> None:
    assert "cannot be opened by Keras" in exports["custom"]["error"]
    assert "folder with a model.py" in exports["custom"]["error"]


def test_loops_are_not_calibrated(files: Path, exports: dict[str, Any], tmp_path: Path) -> None:
    folder = files / "exported recurrent"
    (name,) = exports["recurrent"]["outputs"]
    exported = Exported("saved-model", folder, (TensorSpec("sequence", (1, 5)),), (TensorSpec(name, (1, 2)),))
    calibration = {"sequence": np.zeros((10, 1, 5), "float32") + np.arange(10, dtype="float32")[:, None, None]}
    form, payload = TFLite(), tmp_path / "model.tflite"
    with pytest.raises(RefusedError, match=r"holds WHILE.*dynamic-int8"):
        form.convert(exported, folder, Recipe("tflite", "int8"), calibration, payload)
    converted = form.convert(exported, folder, Recipe("tflite", "dynamic-int8"), {}, payload)
    names = {"inputs": list(converted.bindings.inputs), "outputs": list(converted.bindings.outputs)}
    (answers,) = run_samples(litert.load(str(payload), 1, names), list(calibration.values()))
    (expected,) = np.load(folder / "expected.npz").values()
    assert answers.shape == (10, *expected.shape)
    assert np.isfinite(answers).all()


def test_what_cannot_be_rebuilt_is_no_torch_program(torch_exports: dict[str, Any]) -> None:
    assert "cannot be saved as a .keras file (no config)" in torch_exports["not-saved"]["error"]


def test_a_plain_model_is_not_suspected(files: Path) -> None:
    for name in ("image", "usual", "recurrent", "many", "dict", "free"):
        assert unsafe_content(files / f"{name}.keras", name) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: layer(c).update(module="os", class_name="system"), "os.system"),
        (lambda c: layer(c).update(module="kerasx.layers"), "kerasx.layers.Conv2D"),
        (lambda c: layer(c).update(module="keras.utils", class_name="get_file"), "keras.utils.get_file"),
        (lambda c: layer(c).update(module="keras.src.saving.saving_lib"), "keras.src.saving.saving_lib.Conv2D"),
        (lambda c: layer(c).update(class_name="TFSMLayer", config={"filepath": "/x"}), "keras.layers.TFSMLayer"),
        (lambda c: layer(c).update(module=None, registered_name="mine>Layer"), "mine>Layer, registered by other code"),
        (
            lambda c: layer(c)["config"].update(
                activation={"module": "keras.models", "class_name": "function", "config": "load_model"}
            ),
            "keras.models.load_model",
        ),
        (
            lambda c: layer(c)["config"].update(activation={"class_name": "__lambda__", "config": {"value": "4wAA"}}),
            "__lambda__",
        ),
        (lambda c: layer(c)["config"].update(vocabulary="/etc/passwd"), "a vocabulary read from /etc/passwd"),
    ],
)
def test_what_is_more_than_layers_is_refused_unopened(
    files: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    file = changed(files, tmp_path, change)
    with pytest.raises(UntrustedModelError) as refused:
        KerasModel.inspect(file, trust=False, shown=str(file))
    assert says in refused.value.what
    assert "Nothing was opened" in refused.value.what
    assert KerasModel.inspect(file, trust=True, shown=str(file)) != []


def test_a_custom_loss_does_not_matter(files: Path, tmp_path: Path) -> None:
    """The training configuration is never opened."""
    loss = {"module": "mine", "class_name": "Loss", "config": {}}
    file = changed(files, tmp_path, lambda c: c.update(compile_config={"loss": loss}))
    assert unsafe_content(file, "changed") == []


def test_weights_that_lie_elsewhere(files: Path, tmp_path: Path) -> None:
    import h5py

    weights = tmp_path / "model.weights.h5"
    with h5py.File(weights, "w") as file:
        file["kernel"] = h5py.ExternalLink("/etc/secret.h5", "/kernel")
        layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
        layout[:] = h5py.VirtualSource("/etc/other.h5", "bias", shape=(4,))
        file.create_virtual_dataset("layer/bias", layout)
    archive = tmp_path / "links.keras"
    with zipfile.ZipFile(archive, "w") as new:
        new.writestr("config.json", "{}")
        new.write(weights, "model.weights.h5")
    found = unsafe_content(archive, "links")
    assert found == ["weights kernel read from /etc/secret.h5", "weights layer/bias read from another file"]


def test_other_entries(tmp_path: Path) -> None:
    archive = tmp_path / "more.keras"
    with zipfile.ZipFile(archive, "w") as new:
        new.writestr("config.json", "{}")
        new.writestr("assets/layer.pkl", b"")
        new.writestr("../outside", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            new.writestr("config.json", "{}")
    assert unsafe_content(archive, "more") == [
        "config.json, which is there 2 times", "the entry ../outside", "the entry assets/layer.pkl",
    ]  # fmt: skip


def test_a_lambda_needs_trust(files: Path) -> None:
    with pytest.raises(UntrustedModelError, match=r"keras\.layers\.Lambda"):
        find_model(str(files / "lambda.keras"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 but no more", b"\x89HDF\r\n\x1a\n", None])
def test_what_is_no_archive(files: Path, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "bad.keras"
    whole = (files / "image.keras").read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ModelError, match=r"bad\.keras cannot be read as a \.keras archive"):
        find_model(str(file))


CODE = """
{top}
from edgekit.model import Model
from edgekit.specs import TensorSpec
model = Model(name='m', source='keras', build=lambda: [], inputs=(TensorSpec('x', (1, 4)),))
"""


def test_code_that_returns_something_else(exports: dict[str, Any]) -> None:
    assert "returned list, not a keras.Model" in exports["code"]["error"]


def test_code_that_chooses_another_backend(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "m").mkdir()
    top = "import os; os.environ['KERAS_BACKEND'] = 'numpy'; import keras"
    (tmp_path / "m" / "model.py").write_text(CODE.format(top=top))
    (outcome,) = make(tmp_path / "m", "tflite:float32", out=tmp_path / "out")
    with pytest.raises(ModelError, match="backend 'numpy', and 'tensorflow' is"):
        raise outcome.error
