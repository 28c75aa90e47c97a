"""The table of metadata itself, a flatbuffer `M001`: names, what a model is, images and their normalization, labels.

Tables and fields are those of TensorFlow Lite's metadata_schema.fbs, version 1.5.0; each is named here by its place.
What is written is understood by every reader from 1.0.0 on. What a manifest does not say is left out, never guessed: an
input is an image only where the bundle was told how it is normalized.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit import plugins
from edgekit.bundle.document import generator
from edgekit.bundle.names import distinct, snake
from edgekit.bundle.tflite.tables import order
from edgekit.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgekit.artifact import Artifact, Manifest
    from edgekit.specs import TensorSpec

_PARSER_VERSION = "1.0.0"
_FEATURE, _IMAGE = 1, 2  # the union ContentProperties
_NORMALIZATION = 1  # the union ProcessUnitOptions
_RGB, _GRAYSCALE = 1, 2  # ColorSpaceType
_AXIS_LABELS = 2  # AssociatedFileType
_COLOURS = {1: _GRAYSCALE, 3: _RGB}


class Image(msgspec.Struct, frozen=True):
    """How an image becomes an input: `(pixel - mean) / std`, pixels from 0 to 255, one pair or one a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, text: str, tensor: TensorSpec) -> Image:
        """Reads `127.5/127.5` or `123.7,116.3,103.5/58.4,57.1,57.4` for an input.

        Raises:
            BundleError: it is none, or the input cannot be an image.
        """
        if len(tensor.shape) != 4 or tensor.layout != "NHWC" or tensor.shape[0] != 1 or tensor.shape[3] not in _COLOURS:
            raise BundleError(
                f"The input {tensor.name!r} is {tensor.describe()}, layout {tensor.layout or 'not told'}; an image is "
                "one of 1 or 3 channels in NHWC.",
                remedy="Convert the model with channels last, or leave the option out.",
            )
        number = r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?"
        found = re.fullmatch(rf"({number}(?:,{number})*)/({number}(?:,{number})*)", text, re.ASCII)
        mean, std = ([float(value) for value in part.split(",")] for part in found.groups()) if found else ([], [])
        if len(mean) != len(std) or len(mean) not in (1, tensor.shape[3]) or not all(value > 0 for value in std):
            raise BundleError(
                f"{text!r} does not normalize {tensor.name!r}.",
                remedy="Write MEAN/STD in pixels from 0 to 255, such as 127.5/127.5, or one each for every channel.",
            )
        return cls(tuple(mean), tuple(std))


def label_files(manifest: Manifest) -> dict[str, bytes]:
    """The label files of a model by name, one label a line, in the order of its outputs."""
    return {file: _lines(manifest.labels[name]) for name, file in _label_names(manifest).items()}


def _lines(labels: Sequence[str]) -> bytes:
    """A label has a line, whatever is in it: readers count lines."""
    return "".join(f"{' '.join(label.split()) or '?'}\n" for label in labels).encode("utf-8", "replace")


def _label_names(manifest: Manifest) -> dict[str, str]:
    named = [spec.name for spec in manifest.outputs if spec.name in manifest.labels]
    files = distinct(named, lambda name: f"labels_{snake(name)}", ())
    return {name: f"{file}.txt" for name, file in zip(named, files, strict=True)}


def metadata(artifact: Artifact, content: bytes, images: Mapping[str, Image]) -> bytes:
    """The metadata of an artifact.

    Args:
        artifact: its manifest says everything but images.
        content: its payload, whose order of inputs and outputs the table has.
        images: by input.

    Raises:
        BundleError: the payload does not say which input is which.
        MissingPackageError: the package flatbuffers is not installed.
    """
    plugins.require(("flatbuffers",), extra="litert", purpose="Writing TFLite metadata")
    import flatbuffers

    manifest = artifact.manifest
    try:
        inputs = order(content, "inputs", manifest.bindings.inputs)
        outputs = order(content, "outputs", manifest.bindings.outputs)
    except (struct.error, ValueError, IndexError) as error:
        raise BundleError(
            f"{artifact.title} cannot have TFLite metadata: {error}.",
            remedy="Bundle it without: --option metadata=none.",
        ) from error
    builder = flatbuffers.Builder(1024)
    files = _label_names(manifest)
    given = [_tensor(builder, manifest.inputs[i], images.get(manifest.inputs[i].name), None) for i in inputs]
    gives = [_tensor(builder, manifest.outputs[i], None, files.get(manifest.outputs[i].name)) for i in outputs]
    subgraph = _table(builder, 10, {2: _vector(builder, given), 3: _vector(builder, gives)})
    subgraphs = _vector(builder, [subgraph])
    origin = f"; origin: {manifest.provenance.origin}" if manifest.provenance.origin else ""
    said = f"{artifact.title}, artifact {artifact.id}, bundled by {generator()}{origin}"
    texts = {0: manifest.model, 1: said, 2: artifact.short_id, 7: _PARSER_VERSION}
    if manifest.provenance.licence:
        texts[5] = manifest.provenance.licence
    strings = {field: _string(builder, text) for field, text in texts.items()}
    builder.Finish(_table(builder, 8, {**strings, 3: subgraphs}), file_identifier=b"M001")
    return bytes(builder.Output())


def _tensor(builder: Any, spec: TensorSpec, image: Image | None, labels: str | None) -> Any:
    dtype = "float32" if spec.quantization is not None else spec.dtype
    stored = f", stored as {spec.dtype}" if spec.quantization is not None else ""
    fields = {
        0: _string(builder, spec.name),
        1: _string(builder, f"{dtype}{list(spec.shape)}{f' {spec.layout}' if spec.layout else ''}{stored}"),
        3: _content(builder, spec, image),
    }
    if image is not None:
        options = _table(builder, 2, {0: _floats(builder, image.mean), 1: _floats(builder, image.std)})
        fields[4] = _vector(builder, [_union(builder, _NORMALIZATION, options)])
    if labels is not None:
        name = _string(builder, labels)
        said = _string(builder, "what the entries of the last axis stand for, one a line")
        builder.StartObject(5)
        builder.PrependUOffsetTRelativeSlot(0, name, 0)
        builder.PrependUOffsetTRelativeSlot(1, said, 0)
        builder.PrependInt8Slot(2, _AXIS_LABELS, 0)
        fields[6] = _vector(builder, [builder.EndObject()])
    return _table(builder, 7, fields)


def _content(builder: Any, spec: TensorSpec, image: Image | None) -> Any:
    if image is None:
        return _union(builder, _FEATURE, _table(builder, 0, {}))
    builder.StartObject(2)
    builder.PrependUint32Slot(0, spec.shape[2], 0)  # width
    builder.PrependUint32Slot(1, spec.shape[1], 0)
    size = builder.EndObject()
    builder.StartObject(2)
    builder.PrependInt8Slot(0, _COLOURS[spec.shape[3]], 0)
    builder.PrependUOffsetTRelativeSlot(1, size, 0)
    return _union(builder, _IMAGE, builder.EndObject())


def _union(builder: Any, kind: int, value: Any) -> Any:
    """A table whose first two fields are a union: its kind, and the table of that kind."""
    builder.StartObject(2)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, value, 0)
    return builder.EndObject()


def _table(builder: Any, slots: int, fields: Mapping[int, Any]) -> Any:
    builder.StartObject(slots)
    for slot, offset in sorted(fields.items()):
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return builder.EndObject()


def _vector(builder: Any, offsets: Sequence[Any]) -> Any:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _floats(builder: Any, values: Sequence[float]) -> Any:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return builder.EndVector()


def _string(builder: Any, text: str) -> Any:
    return builder.CreateString(text, "utf-8", "replace")
