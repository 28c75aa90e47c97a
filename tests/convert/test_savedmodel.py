"""SavedModels: recognised, refused where their graph does more than compute, frozen with fixed shapes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.convert import find_model
from edgekit.convert.sources.savedmodel import SavedModel
from edgekit.errors import ModelError, UntrustedModelError
from tests.convert.conftest import make

pytestmark = pytest.mark.slow

MAKE = """
import pathlib, sys
import tensorflow as tf

folder = pathlib.Path(sys.argv[1])


class Net(tf.Module):
    def __init__(self, call):
        super().__init__()
        self.weights = tf.Variable(tf.random.stateless_normal((4, 3), (1, 2)))
        self.call = call


def save(name, call, *specs, signature="serving_default", **more):
    net = Net(call)
    function = tf.function(lambda *tensors: net.call(net.weights, *tensors), input_signature=specs)
    signatures = {signature: function.get_concrete_function(), **more}
    tf.saved_model.save(net, folder / name, signatures={} if signature is None else signatures)


def spec(name, *shape, dtype="float32"):
    return tf.TensorSpec(shape, dtype, name=name)


def two(w, b, a):
    return {"z": (b - 2 * a) @ w, "y": a @ w}


def read(w, x):
    text = tf.io.read_file("/etc/hostname")
    return {"y": x @ w + tf.cast(tf.strings.length(text), tf.float32)}


def write(w, x):
    with tf.control_dependencies([tf.io.write_file(str(folder / "written"), "it ran")]):
        return {"y": tf.identity(x @ w)}


def hidden(w, x):
    return {"y": tf.cond(tf.reduce_sum(x) > 0, lambda: read(w, x)["y"], lambda: x @ w)}


def printing(w, x):
    with tf.control_dependencies([tf.print(x, output_stream="file:///tmp/never")]):
        return {"y": tf.identity(x @ w)}


def image(w, x):
    return {"y": tf.nn.conv2d(x, tf.ones((3, 3, 1, 2)), 1, "SAME", data_format="NHWC")}


batch = spec("x", None, 4)
save("complex", lambda w, x: {"y": tf.math.real(tf.signal.fft(tf.complex(x, x))) @ w}, batch)
save("plain", lambda w, x: {"y": x @ w}, batch)
save("two", two, spec("b", None, 4), spec("a", None, 4))
save("other-name", lambda w, x: {"y": x @ w}, batch, signature="predict")
save("read", read, batch)
save("write", write, batch)
save("hidden", hidden, batch)
save("python", lambda w, x: {"y": tf.numpy_function(lambda v: v, [x @ w], tf.float32)}, batch)
save("printing", printing, batch)
save("free", lambda w, x: {"y": tf.reduce_sum(x, 1) @ w}, spec("x", None, None, 4))
save("image", image, spec("x", None, 6, 6, 1))
save("text", lambda w, x: {"y": tf.strings.length(x)}, spec("x", None, dtype=tf.string))
plain = tf.function(lambda x: {"y": x}, input_signature=[batch]).get_concrete_function()
save("none", lambda w, x: {"y": x @ w}, batch, signature=None)
save("many", lambda w, x: {"y": x @ w}, batch, signature="first", second=plain)
"""
EXPORT = """
import json, pathlib, sys
import numpy as np
import tensorflow as tf
from edgekit.convert.formats.base import Exported
from edgekit.convert.load import import_model
from edgekit.convert.sources.savedmodel import SavedModel
from edgekit.convert.tflite_lowering import from_saved_model
from edgekit.errors import EdgeKitError

files, source, told = pathlib.Path(sys.argv[1]), SavedModel(), {}
asked = {"plain": {}, "plain-3": {"x": (3, 4)}, "two": {}, "other-name": {}, "free": {}, "free-5": {"x": (1, 5, 4)},
         "image": {}, "text": {}, "none": {}, "many": {}, "write": {}, "cut": {}, "complex": {}, "declared": {}}
for name, shapes in asked.items():
    told[name] = found = {"error": ""}
    folder = files / f"exported {name}"
    folder.mkdir()
    path = files / (name if (files / name).is_dir() else name.rsplit("-", 1)[0])
    try:
        declared = name == "declared"  # a model folder around plain
        model = import_model(path) if declared else source.open_file(path, name, path.name, shapes)
        random = np.random.default_rng(0)
        sample = [random.standard_normal(spec.shape).astype("float32") for spec in model.inputs]
        expected = source.export(model, sample, folder)(sample)
        signatures = tf.saved_model.load(folder / "saved_model").signatures
        signature = signatures["serving_default"]
        answers = signature(**{spec.name: tf.constant(array) for spec, array in zip(model.inputs, sample)})
        found["differs_by"] = max(float(np.abs(answers[n].numpy() - a).max()) for n, a in zip(model.outputs, expected))
        found["inputs"] = [[spec.name, spec.shape, spec.layout] for spec in model.inputs]
        found["outputs"] = list(model.outputs)
        found["signatures"] = sorted(signatures)
        found["variables"] = [n.op for n in signature.graph.as_graph_def().node if "Var" in n.op]
        if name == "complex":
            from_saved_model(Exported("saved-model", folder, model.inputs, ()))
    except EdgeKitError as error:
        found["error"] = str(error)
(files / "told.json").write_text(json.dumps(told))
"""
INSPECT = """
import contextlib, io, json, pathlib, shutil, sys
from tensorflow.core.protobuf import saved_model_pb2
from edgekit.convert.sources import savedmodel_operators

files, told = pathlib.Path(sys.argv[1]), {}
shutil.copytree(files / "plain", files / "called")  # a signature that calls the saver, and an operator of nobody's
path = files / "called" / "saved_model.pb"
model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
graph = model.meta_graphs[0].graph_def
saver = next(f for f in graph.library.function if "traced_save" in f.signature.name)
other = next(f for f in graph.library.function if "signature_wrapper" in f.signature.name)
other.node_def.add(name="calls_it", op="StatefulPartitionedCall").attr["f"].func.name = saver.signature.name
graph.node.add(name="strange", op="TurnOffTheLight")
path.write_bytes(model.SerializeToString())
for name in ("plain", "two", "image", "read", "write", "hidden", "python", "printing", "called"):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert savedmodel_operators.main(["", str(files / name)]) == 0
    told[name] = json.loads(out.getvalue())
(files / "told.json").write_text(json.dumps(told))
"""


def python(script: str, folder: Path) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", script, str(folder)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of SavedModels."""
    folder = tmp_path_factory.mktemp("saved")
    python(MAKE, folder)
    shutil.copytree(folder / "plain", folder / "cut")
    graph = folder / "cut" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-200])
    (folder / "declared").mkdir()
    (folder / "declared" / "model.py").write_text(
        "from edgekit.model import Model\nfrom edgekit.specs import TensorSpec\n"
        f"model = Model(name='m', source='savedmodel', build=lambda: {str(folder / 'plain')!r},\n"
        "              inputs=(TensorSpec('image', (1, 4)),), outputs=('y',))\n"
    )
    return folder


@pytest.fixture(scope="module")
def exports(files: Path) -> dict[str, Any]:
    """What became of each as a source."""
    python(EXPORT, files)
    told: dict[str, Any] = json.loads((files / "told.json").read_text())
    return told


@pytest.fixture(scope="module")
def inspected(files: Path) -> dict[str, list[str]]:
    """What inspection says of each, all in one process."""
    python(INSPECT, files)
    told: dict[str, list[str]] = json.loads((files / "told.json").read_text())
    return told


def test_a_folder_is_recognised(files: Path, tmp_path: Path) -> None:
    assert SavedModel.recognises(files / "plain")
    assert not SavedModel.recognises(tmp_path)
    assert not SavedModel.recognises(files / "plain" / "saved_model.pb")


@pytest.mark.parametrize("name", ["plain", "plain-3", "two", "other-name", "free-5", "image"])
def test_the_frozen_export_computes_what_the_signature_computes(exports: dict[str, Any], name: str) -> None:
    found = exports[name]
    assert found["error"] == ""
    assert found["differs_by"] < 1e-5
    assert found["signatures"] == ["serving_default"]
    assert found["variables"] == [], "every weight is a constant"


def test_shapes_names_and_layouts(exports: dict[str, Any]) -> None:
    assert exports["plain"]["inputs"] == [["x", [1, 4], None]], "the batch is one sample"
    assert exports["plain-3"]["inputs"] == [["x", [3, 4], None]]
    assert [name for name, _, _ in exports["two"]["inputs"]] == ["a", "b"], "a signature has no order"
    assert exports["two"]["outputs"] == ["y", "z"]
    assert exports["image"]["inputs"] == [["x", [1, 6, 6, 1], "NHWC"]]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "free",
            "'x' of free has a dynamic shape, (1, ?, 4). Fix it, such as --shape x=",
        ),
        ("text", "Input 'x' of text is of dtype string"),
        ("none", "none has no signature, where 'serving_default' or a single one is needed."),
        ("many", "many has the signatures first, second, where 'serving_default' or a single one is needed."),
        ("cut", "cut cannot be loaded by TensorFlow"),
        ("declared", "declares the inputs image and the outputs y; the signature of its SavedModel has x and y"),
        ("complex", "no operator for tf.Complex, tf.FFT"),
    ],
)
def test_what_cannot_be_used(exports: dict[str, Any], name: str, says: str) -> None:
    assert says in exports[name]["error"]


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("plain", []),
        ("two", []),
        ("image", []),
        ("read", ["ReadFile"]),
        ("write", ["WriteFile"]),
        ("hidden", ["ReadFile"]),
        ("python", ["PyFunc"]),
        ("printing", ["PrintV2"]),
        ("called", ["MergeV2Checkpoints", "SaveV2", "TurnOffTheLight (unknown to TensorFlow)"]),
    ],
)
def test_what_the_graph_would_do(inspected: dict[str, list[str]], name: str, operators: list[str]) -> None:
    """The saver's functions pass, unless something else calls them."""
    assert [found.removeprefix("Eager") for found in inspected[name]] == operators


def test_it_is_refused_unopened(files: Path) -> None:
    with pytest.raises(UntrustedModelError, match=r"hidden.*ReadFile.*Nothing was opened"):
        find_model(str(files / "hidden"))


def test_the_refusal_matters(files: Path, exports: dict[str, Any]) -> None:
    """What was refused above really runs, once it is trusted."""
    assert exports["write"]["error"] == ""
    assert (files / "written").read_text() == "it ran"


def test_what_is_no_saved_model(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "saved_model.pb").write_bytes(b"no protocol buffer at all")
    with pytest.raises(ModelError, match="bad cannot be read as a SavedModel"):
        find_model(str(tmp_path / "bad"))


def test_a_saved_model_becomes_an_artifact(cache: Path, files: Path, tmp_path: Path) -> None:
    outcomes = make(files / "two", "tflite:float32", "tflite:weight-int8", out=tmp_path / "out")
    for outcome in outcomes:
        assert outcome.artifact is not None, outcome.error
        manifest = outcome.artifact.manifest
        assert manifest.bindings.inputs == ("a", "b")
        assert all(row.snr_db is None or row.snr_db > 30 for row in manifest.parity.outputs)
