"""TFLite metadata: read back by tflite-support's own reader, and the model around which they are is what it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.artifact import Artifact
from edgekit.bundle import write_bundle
from edgekit.bundle.tflite import Image, annotated, label_files, metadata
from edgekit.bundle.tflite.tables import order
from edgekit.errors import BundleError
from edgekit.files import cache_folder
from edgekit.runner.runtimes import litert
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

READER = "0.4.4"
"""tflite-support's last version, of 2023: its wheel is for Python 3.11. Only its reader of metadata is used."""
READ = """
import json, sys
sys.modules["tensorflow"] = None
from tensorflow_lite_support.metadata.python import metadata
from tensorflow_lite_support.metadata.python.metadata import _pywrap_metadata_version as version
shown = metadata.MetadataDisplayer.with_model_file(sys.argv[1])
files = {name: shown.get_associated_file_buffer(name).decode() for name in shown.get_packed_associated_file_list()}
print(json.dumps({
    "metadata": json.loads(shown.get_metadata_json()), "files": files,
    "least": version.GetMinimumMetadataParserVersion(shown.get_metadata_buffer()),
}))
"""


@pytest.fixture(scope="session")
def reader() -> Callable[[Path], dict[str, Any]]:
    """Reads a `.tflite` as tflite-support does, in a process of its own and without what it depends on."""
    folder = cache_folder() / "tflite-support" / READER
    if not (folder / "tensorflow_lite_support").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*command, f"tflite-support=={READER}"], check=True, timeout=300)

    def read(model: Path) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", READ, str(model)], capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": str(folder)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    return read


def _content(artifact: Artifact) -> bytes:
    return (artifact.path / artifact.manifest.payload).read_bytes()


def _written(artifact: Artifact, images: dict[str, Image] | None = None) -> bytes:
    content = _content(artifact)
    return annotated(
        content, metadata(artifact, content, images or {}), label_files(artifact.manifest), title=artifact.title
    )


def test_what_a_reader_reads(int8: Artifact, tmp_path: Path, reader: Callable[[Path], dict[str, Any]]) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(_written(int8))
    read = reader(model)
    assert read["files"] == {"labels_logits.txt": "".join(f"{digit}\n" for digit in range(10))}
    told = read["metadata"]
    assert told["min_parser_version"] == read["least"] == "1.0.0"
    assert (told["name"], told["version"]) == ("digits_cnn", int8.short_id)
    assert int8.id in told["description"]
    assert told["license"] == int8.manifest.provenance.licence
    (graph,) = told["subgraph_metadata"]
    (image,) = graph["input_tensor_metadata"]
    assert image["name"] == "image"
    assert image["content"]["content_properties_type"] == "FeatureProperties", "nobody said that it is an image"
    (logits,) = graph["output_tensor_metadata"]
    assert logits["name"] == "logits"
    assert [(file["name"], file["type"]) for file in logits["associated_files"]] == [
        ("labels_logits.txt", "TENSOR_AXIS_LABELS")
    ]


def _nhwc(artifact: Artifact, shape: tuple[int, ...]) -> Artifact:
    tensor = msgspec.structs.replace(artifact.manifest.inputs[0], shape=shape, layout="NHWC")
    return Artifact(artifact.id, artifact.path, msgspec.structs.replace(artifact.manifest, inputs=(tensor,)))


@pytest.mark.parametrize(
    ("shape", "colour", "text", "mean"),
    [((1, 8, 6, 1), "GRAYSCALE", "127.5/127.5", [127.5]), ((1, 8, 6, 3), "RGB", "1,2,3/4,5,6", [1.0, 2.0, 3.0])],
)
def test_an_image(
    int8: Artifact, tmp_path: Path, reader: Callable[[Path], dict[str, Any]],
    shape: tuple[int, ...], colour: str, text: str, mean: list[float],
) -> None:  # fmt: skip
    artifact = _nhwc(int8, shape)
    model = tmp_path / "model.tflite"
    model.write_bytes(_written(artifact, {"image": Image.read(text, artifact.manifest.inputs[0])}))
    tensor = reader(model)["metadata"]["subgraph_metadata"][0]["input_tensor_metadata"][0]
    assert tensor["content"]["content_properties_type"] == "ImageProperties"
    assert tensor["content"]["content_properties"] == {"color_space": colour, "default_size": {"width": 6, "height": 8}}
    (unit,) = tensor["process_units"]
    assert unit["options_type"] == "NormalizationOptions"
    assert unit["options"]["mean"] == mean


@pytest.mark.parametrize(
    ("shape", "text", "says"),
    [
        ((1, 8, 8, 2), "127.5/127.5", "of 1 or 3 channels in NHWC"),
        ((8, 8, 3), "127.5/127.5", "of 1 or 3 channels in NHWC"),
        ((1, 8, 8, 3), "127.5", "does not normalize"),
        ((1, 8, 8, 3), "1,2/3,4", "does not normalize"),
        ((1, 8, 8, 3), "1/0", "does not normalize"),
        ((1, 8, 8, 3), "nan/1", "does not normalize"),
    ],
)
def test_what_is_no_image(int8: Artifact, shape: tuple[int, ...], text: str, says: str) -> None:
    with pytest.raises(BundleError, match=says):
        Image.read(text, _nhwc(int8, shape).manifest.inputs[0])


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_the_model_is_what_it_was(request: pytest.FixtureRequest, tmp_path: Path, precision: str) -> None:
    """Its bytes are there in one piece, at 16 bytes, and its answers are the same to the bit."""
    artifact: Artifact = request.getfixturevalue(precision)
    content, written = _content(artifact), _written(artifact)
    at = written.index(content)
    assert at % 16 == 0
    assert len(written) - len(content) < 2000
    model = tmp_path / "model.tflite"
    model.write_bytes(written)
    bindings = {"inputs": list(artifact.manifest.bindings.inputs), "outputs": list(artifact.manifest.bindings.outputs)}
    images = np.load(artifact.path / artifact.manifest.golden.inputs[0])
    answers = []
    for path in (model, artifact.path / artifact.manifest.payload):
        session = litert.load(str(path), 1, bindings)
        for image in images:
            session.set_input(0, image if precision == "float32" else (image * 100).astype("int8"))
            session.invoke()
            answers.append(np.array(session.get_output(0)))
    half = len(answers) // 2
    assert half == artifact.manifest.golden.samples
    assert all(np.array_equal(one, other) for one, other in zip(answers[:half], answers[half:], strict=True))


def test_the_schemas_own_reader_finds_everything(float32: Artifact) -> None:
    """Every table, by LiteRT's generated code: what was there, and one buffer and one entry more."""
    from ai_edge_litert import schema_py_generated as schema

    old, new = (schema.ModelT.InitFromPackedBuf(data, 0) for data in (_content(float32), _written(float32)))
    assert (new.version, new.description) == (old.version, old.description)
    assert len(new.buffers) == len(old.buffers) + 1
    assert [entry.name for entry in new.metadata] == [*(entry.name for entry in old.metadata), b"TFLITE_METADATA"]
    assert bytes(new.buffers[new.metadata[-1].buffer].data)[4:8] == b"M001"
    for before, after in zip(old.buffers, new.buffers[:-1], strict=True):
        assert before.data is None if after.data is None else np.array_equal(before.data, after.data)
    for before, after in zip(old.subgraphs[0].tensors, new.subgraphs[0].tensors, strict=True):
        assert (before.name, before.buffer, list(before.shape)) == (after.name, after.buffer, list(after.shape))
    assert [s.signatureKey for s in new.signatureDefs] == [s.signatureKey for s in old.signatureDefs]


def test_equal_content_gives_equal_bytes_and_a_zip(int8: Artifact, tmp_path: Path) -> None:
    assert _written(int8) == _written(int8)
    model = tmp_path / "model.tflite"
    model.write_bytes(_written(int8))
    with zipfile.ZipFile(model) as archive:
        assert archive.testzip() is None
        assert [(one.filename, one.compress_type) for one in archive.infolist()] == [("labels_logits.txt", 0)]


def test_labels_of_one_line_each(int8: Artifact) -> None:
    """A manifest may come from anybody: a label never becomes two, a name never leaves the ZIP's top."""
    outputs = (TensorSpec("../a b", (1, 2)), TensorSpec("../a-b", (1, 2)), TensorSpec("plain", (1, 2)))
    manifest = msgspec.structs.replace(
        int8.manifest, outputs=outputs, labels={"../a b": ("x\ny", "ü"), "../a-b": ("\u2028", "b")}
    )
    assert label_files(manifest) == {"labels_a_b.txt": "x y\nü\n".encode(), "labels_a_b_2.txt": b"?\nb\n"}


def test_what_cannot_be_annotated(int8: Artifact) -> None:
    written, table = _written(int8), b"\0\0\0\0M001"
    for content, says in (
        (written, "it has metadata already"),
        (b"\0" * 64, "it is no .tflite file"),
        (b"", "it is no .tflite file"),
        (_content(int8)[:100], "cannot have TFLite metadata"),
    ):
        with pytest.raises(BundleError, match=f"{says}.*--option metadata=none"):
            annotated(content, table, {}, title="it")


@pytest.mark.parametrize("what", ["weights", "options"])
def test_what_lies_behind_the_tables_would_move(what: str) -> None:
    """Files beyond 2 GB and custom operators refer to it by its distance from the beginning of the file."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, operator, buffer = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.BufferT()
    buffer.offset, operator.largeCustomOptionsOffset = (400, 0) if what == "weights" else (0, 400)
    model.subgraphs, graph.operators, model.buffers = [graph], [operator], [schema.BufferT(), buffer]
    builder = flatbuffers.Builder(64)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    with pytest.raises(BundleError, match=f"{what} lie behind its tables"):
        annotated(bytes(builder.Output()), b"\0\0\0\0M001", {}, title="it")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_model_is_refused_or_annotated(int8_bytes: bytes, data: st.DataObject) -> None:
    """Nothing but a BundleError comes of it, in bounded time."""
    content = bytearray(int8_bytes[: data.draw(st.integers(8, 4000))])
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(8, len(content) - 1)) if len(content) > 9 else 8 - 1] = data.draw(
            st.integers(0, 255)
        )
    with suppress(BundleError):
        annotated(bytes(content), b"\0\0\0\0M001", {}, title="it")


@pytest.fixture(scope="module")
def int8_bytes(int8: Artifact) -> bytes:
    return _content(int8)


def test_the_files_own_order_counts() -> None:
    """Signatures list names by their own order, readers of metadata go by the graph's."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, signature = schema.ModelT(), schema.SubGraphT(), schema.SignatureDefT()
    graph.inputs, graph.outputs = [5, 0, 7], [3]
    signature.inputs = []
    for name, index in (("a", 0), ("b", 5), ("c", 7)):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        signature.inputs.append(entry)
    model.subgraphs, model.signatureDefs = [graph], [signature]
    builder = flatbuffers.Builder(64)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    content = bytes(builder.Output())
    assert order(content, "inputs", ["c", "b", "a"]) == [1, 2, 0]
    with pytest.raises(ValueError, match="does not name its inputs"):
        order(content, "inputs", ["c", "b", "d"])
    with pytest.raises(ValueError, match="does not name its outputs"):
        order(content, "outputs", ["y"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"metadata": "some"}, "There is no metadata=some"),
        ({"metadata": "none", "image.image": "1/1"}, "does not go with the others"),
        ({"image.picture": "1/1"}, "no input 'picture' to be an image.*Name one of image"),
        ({"image.image": "1/1"}, "channels in NHWC"),
    ],
)
def test_options_of_a_bundle(int8: Artifact, tmp_path: Path, options: dict[str, str], says: str) -> None:
    with pytest.raises(BundleError, match=says):
        write_bundle([int8], "android", tmp_path / "out", options=options)


def test_a_bundle_without(int8: Artifact, tmp_path: Path) -> None:
    write_bundle([int8], "android", tmp_path / "out", options={"metadata": "none"})
    (model,) = (tmp_path / "out").rglob("model.tflite")
    assert model.read_bytes() == _content(int8)
