"""Adds metadata to a `.tflite` without touching it: a new root in front, the model's bytes as they were, a ZIP behind.

A flatbuffer's references point forward only, from where they stand. So a new root table can be put before the file and
refer to everything in it; what has to grow, the lists of buffers and of metadata, is written anew beside it, with the
old entries where they lie. The new part is a multiple of 16 bytes, which keeps the alignment of the weights.

    new root, lists, TFLITE_METADATA | the model's file, byte for byte | ZIP of label files

Readers of `.tflite` begin at the first, readers of ZIP files at the last. The tables and their fields are those of
TensorFlow Lite's schema.fbs, version 3.
"""

from __future__ import annotations

import io
import struct
import zipfile
from typing import TYPE_CHECKING, Any

from edgekit import plugins
from edgekit.bundle.tflite.tables import MODEL_FIELDS, field, fields, followed, tables, text
from edgekit.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "TFLITE_METADATA"
_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16
_VERSION, _GRAPHS, _BUFFERS, _METADATA = map(MODEL_FIELDS.index, ("version", "subgraphs", "buffers", "metadata"))
_BUFFER_OFFSET, _GRAPH_OPERATORS, _OPTIONS_OFFSET = 1, 3, 9
"""Places in the tables Buffer, SubGraph, Operator; the offsets are from the beginning of the file, which moves."""
_NEVER = (1980, 1, 1, 0, 0, 0)
"""The date of what is in the ZIP: equal content gives equal bytes."""


def annotated(content: bytes, metadata: bytes, files: Mapping[str, bytes], *, title: str) -> bytes:
    """The model with metadata and with files that these name.

    Args:
        content: a `.tflite` file without metadata of that name.
        metadata: a flatbuffer `M001`.
        files: by name; stored, not compressed, as readers map them.
        title: names the model in an error.

    Raises:
        BundleError: it has metadata already, keeps weights outside of its tables, or is no such file.
        MissingPackageError: the package flatbuffers is not installed.
    """
    plugins.require(("flatbuffers",), extra="litert", purpose="Writing TFLite metadata")
    try:
        with_root = _with_root(content, metadata)
    except (struct.error, UnicodeDecodeError, _NotTakenError) as error:
        raise BundleError(
            f"{title} cannot have TFLite metadata: {error}.",
            remedy="Bundle it without: --option metadata=none.",
        ) from error
    return with_root + _zipped(files, len(with_root)) if files else with_root


class _NotTakenError(Exception):
    """A model that is understood, and that this cannot annotate."""


def _with_root(content: bytes, metadata: bytes) -> bytes:
    import flatbuffers

    if content[4:8] != _IDENTIFIER:
        raise _NotTakenError("it is no .tflite file")
    positions = _root_fields(content)
    buffers, entries = (tables(content, positions[place]) for place in (_BUFFERS, _METADATA))
    graphs = tables(content, positions[_GRAPHS])
    operators = [one for graph in graphs for one in tables(content, field(content, graph, _GRAPH_OPERATORS))]
    if any(_points_behind(content, buffer, _BUFFER_OFFSET) for buffer in buffers):
        raise _NotTakenError("its weights lie behind its tables")
    if any(_points_behind(content, operator, _OPTIONS_OFFSET) for operator in operators):
        raise _NotTakenError("its operators' options lie behind its tables")
    if NAME in [text(content, field(content, entry, 0)) for entry in entries]:
        raise _NotTakenError("it has metadata already")

    padded = content + bytes(-len(content) % _ALIGNMENT)
    builder = flatbuffers.Builder(len(padded) + len(metadata) + 4096)
    builder.Prep(_ALIGNMENT, 0)
    builder.CreateByteVector(padded)  # its last byte is the buffer's: a builder counts from the end

    def old(position: int) -> int:
        return len(padded) - position

    name = builder.CreateString(NAME)
    builder.StartVector(1, len(metadata), _ALIGNMENT)  # the schema's force_align of a buffer's data
    for byte in reversed(metadata):
        builder.PrependByte(byte)
    data = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, data, 0)
    new_buffer = builder.EndObject()
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUint32Slot(1, len(buffers), 0)
    new_entry = builder.EndObject()
    lists = {
        _BUFFERS: _list(builder, [*map(old, buffers), new_buffer]),
        _METADATA: _list(builder, [*map(old, entries), new_entry]),
    }
    builder.StartObject(len(MODEL_FIELDS))
    for place, position in enumerate(positions):
        if place == _VERSION:
            builder.PrependUint32Slot(place, struct.unpack_from("<I", content, position)[0] if position else 0, 0)
        elif place in lists:
            builder.PrependUOffsetTRelativeSlot(place, lists[place], 0)
        elif position:
            builder.PrependUOffsetTRelativeSlot(place, old(followed(content, position)), 0)
    builder.Finish(builder.EndObject(), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _points_behind(content: bytes, table: int, place: int) -> bool:
    offset = field(content, table, place)
    return bool(offset) and struct.unpack_from("<Q", content, offset)[0] > 1


def _root_fields(content: bytes) -> list[int]:
    """Where each field of the root table lies.

    Raises:
        _NotTakenError: there is one that this does not know, and would lose.
    """
    positions = fields(content, followed(content, 0))
    if any(positions[len(MODEL_FIELDS) :]):
        raise _NotTakenError("it has weights in other files, or parts of a newer schema")
    return [*positions, *[0] * len(MODEL_FIELDS)][: len(MODEL_FIELDS)]


def _list(builder: Any, offsets: list[int]) -> Any:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _zipped(files: Mapping[str, bytes], before: int) -> bytes:
    """A ZIP whose offsets count from the beginning of what is before it, as tools that append to a file write them."""
    buffer = io.BytesIO()
    buffer.write(bytes(before))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _NEVER), content)
    return buffer.getvalue()[before:]
