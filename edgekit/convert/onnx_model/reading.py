"""Opens an ONNX file that may come from anybody.

An ONNX file is a protobuf: reading it executes nothing. But its weights may lie in other files, named by the model: a
name such as `../../home/me/.ssh/id_rsa` would copy that file into an artifact. So external data must be plain files in
the model's own folder, and each tensor must lie inside of its file and have the size that its shape says, before
anything is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgekit.errors import ModelError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES = 2**31 - 1
"""What a protobuf can hold, weights included: a payload is one file."""

KNOWN_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.ms.internal.nhwc")
"""Whose operators ONNX Runtime has."""


def parse(path: Path, shown: str) -> Any:
    """The ModelProto without its external data, unchecked.

    Raises:
        ModelError: no ONNX model, or a part of one.
    """
    import onnx
    from google.protobuf.message import DecodeError

    damaged = f"{shown} is not an ONNX model, or not a whole one"
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{damaged}: {error}.", remedy="Export or copy it anew.") from error
    if not all(isinstance(text, str) for text in _texts(model)):
        raise ModelError(f"{damaged}: it holds names that are no text.", remedy="Export or copy it anew.")
    if not model.ir_version or not model.graph.output:
        raise ModelError(f"{damaged}: it has no graph.", remedy="Export or copy it anew.")
    return model


def _texts(message: Any) -> Iterator[Any]:
    """Every string field; protobuf gives bytes where it cannot decode one, or raises, which is told as b""."""
    try:
        fields = message.ListFields()
    except UnicodeDecodeError:
        yield b""
        return
    for field, value in fields:
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        try:
            values = list(value) if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else [value]
        except UnicodeDecodeError:
            yield b""
            continue
        for each in values:
            if field.type == field.TYPE_MESSAGE:
                yield from _texts(each)
            else:
                yield each


def companions(path: Path, shown: str) -> tuple[str, ...]:
    """Names of the files beside `path` that hold its weights; all of them are there.

    Raises:
        ModelError: no ONNX model, or external data elsewhere, missing or damaged.
    """
    return tuple(_external_files(parse(path, shown), path.parent, shown))


def read(path: Path, shown: str) -> Any:
    """The checked ModelProto with all its weights inside.

    Args:
        path: the file.
        shown: what the user calls it, for errors.

    Raises:
        ModelError: it is damaged, unsafe, too large, or no valid model; the text says what is wrong where.
    """
    from onnx.external_data_helper import load_external_data_for_model

    model = parse(path, shown)
    files = _external_files(model, path.parent, shown)
    total = path.stat().st_size + sum((path.parent / name).stat().st_size for name in files)
    if total > MAX_BYTES:
        raise ModelError(
            f"{shown} holds {total / 1e9:.1f} GB with its weights, where 2.1 GB is the most that is taken.",
            remedy="A model for devices is smaller: reduce it, or store its weights as float16.",
        )
    load_external_data_for_model(model, str(path.parent))
    check(model, shown)
    return model


def check(model: Any, shown: str) -> None:
    """Refuses operators that nobody here has, and what the ONNX library finds wrong.

    Raises:
        ModelError: with the operators, or the library's first line.
    """
    import onnx

    foreign = _foreign_operators(model)
    if foreign:
        raise ModelError(
            f"{shown} uses operators that neither ONNX nor ONNX Runtime has: {foreign}.",
            remedy="Export it without custom operators, in an opset that has the others.",
        )
    try:  # the checker wants a shape of each output, which not every exporter writes
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(model))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"{shown} is not a valid ONNX model: {first_line(error)}.", remedy="Export it anew."
        ) from error


def _foreign_operators(model: Any) -> str:
    import onnx

    own = {(function.domain, function.name) for function in model.functions}
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    found: dict[str, list[str]] = {}
    for node in graph_nodes(model):
        if (node.domain, node.op_type) in own:
            continue
        standard = node.domain in ("", "ai.onnx")
        if not (onnx.defs.has(node.op_type, opset, "") if standard else node.domain in KNOWN_DOMAINS):
            name = node.op_type if standard else f"{node.domain}.{node.op_type}"
            found.setdefault(name, []).append(node.name or next(iter(node.output), "unnamed"))
    return ", ".join(f"{len(names)} × {op} ({', '.join(names[:3])})" for op, names in sorted(found.items()))


def graph_nodes(model: Any) -> Iterator[Any]:
    """All nodes of a model: of its graph, of the graphs within nodes, of its functions."""
    waiting = [model.graph.node, *(function.node for function in model.functions)]
    while waiting:
        for node in waiting.pop():
            yield node
            waiting += [graph.node for graph in subgraphs(node)]


def subgraphs(node: Any) -> Iterator[Any]:
    """The graphs in a node's attributes: branches and loop bodies."""
    for attribute in node.attribute:
        if attribute.HasField("g"):  # to look at a message that is not there would make it be there
            yield attribute.g
        yield from attribute.graphs


def _tensors(model: Any) -> Iterator[Any]:
    """All tensors of a model, wherever they may be: as initialisers, in attributes, in graphs within these."""
    graphs = [model.graph]
    for node in graph_nodes(model):
        graphs += subgraphs(node)
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)


def _external_files(model: Any, folder: Path, shown: str) -> list[str]:
    """Names of the files of external data, after every tensor in them was checked."""
    from onnx import TensorProto

    files: dict[str, None] = {}
    for tensor in _tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        _check_file(folder, name, tensor.name, shown)
        _check_range(folder / name, entries, tensor, shown)
        files[name] = None
    return list(files)


def _check_file(folder: Path, name: str, tensor: str, shown: str) -> None:
    if not name or name != name.strip() or name in (".", "..") or any(sign in name for sign in "/\\\0:"):
        raise ModelError(
            f"{shown} wants the tensor {tensor!r} from {name!r}, which is not a plain file in its folder. "
            "Nothing was read.",
            remedy="Do not use it unless you know who made it; save it anew with its weights beside it.",
        )
    path = folder / name
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ModelError(
            f"{shown} wants the tensor {tensor!r} from {name!r}, which is a link or no file. Nothing was read.",
            remedy="Put the file itself beside the model.",
        )
    if not path.exists():
        raise ModelError(
            f"{shown} keeps weights ({tensor!r} first) in {name!r}, which is not beside it.",
            remedy="Copy that file into the same folder: an ONNX model with external data is several files.",
        )


def _check_range(path: Path, entries: dict[str, str], tensor: Any, shown: str) -> None:
    """The tensor must lie inside of its file and have the bytes that its shape and dtype say."""
    size = path.stat().st_size
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries["length"]) if "length" in entries else size - offset
    except ValueError:
        offset = length = -1
    wanted = _bytes_of(tensor)
    if offset < 0 or length < 0 or offset + length > size or wanted != length:
        raise ModelError(
            f"{shown} wants {wanted} bytes for the tensor {tensor.name!r} from {path.name!r}, bytes {offset} to "
            f"{offset + length}; the file has {size}.",
            remedy="One of the two files is damaged or of another export: copy both anew.",
        )


def has_dtype(number: int) -> bool:
    """Whether a TensorProto.DataType says anything."""
    from onnx import TensorProto

    return number != TensorProto.UNDEFINED and number in TensorProto.DataType.values()


def _bytes_of(tensor: Any) -> int:
    """Bytes of a tensor by its shape; -1 if it has a negative size or no dtype. 4-bit elements are packed in pairs."""
    import onnx
    from onnx import TensorProto

    if any(size < 0 for size in tensor.dims) or not has_dtype(tensor.data_type):
        return -1
    count: int = math.prod(tensor.dims)
    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1):
        return (count + 1) // 2
    width: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return count * width
