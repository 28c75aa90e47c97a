"""Archives of the lite interpreter (`.ptl`), read and rewritten without executing anything of them.

A `.ptl` is a zip file. `data.pkl` holds the module's attributes, `constants.pkl` what freezing made constant,
`bytecode.pkl` the instructions, and their tensors lie in `data/` and `constants/`. The pickles are read here with
stubs in place of every class, so that reading one runs no code of it; so an artifact's dtypes are told from its file.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any

from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_DTYPES = {
    "FloatStorage": "float32", "HalfStorage": "float16", "DoubleStorage": "float64", "BFloat16Storage": "bfloat16",
    "CharStorage": "int8", "ByteStorage": "uint8", "ShortStorage": "int16", "IntStorage": "int32",
    "LongStorage": "int64", "BoolStorage": "bool", "QInt8Storage": "int8", "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
}  # fmt: skip
_VERSIONS = ("version", ".data/version")
"""Where the version of its operators is: below 6 in the first, from then on in the second."""
_WRITTEN_BY_THE_WRITER = (*_VERSIONS, "byteorder", ".data/serialization_id")


class _Stub:
    """Stands for whatever a pickle would make."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.arguments = (*arguments, *named.values())

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    """Collects the storages that a pickle refers to; every class and function in it is a stub."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))
        self.storages: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        return type(name, (_Stub,), {"__module__": module})

    def persistent_load(self, pid: Any) -> Any:
        _, storage, key, *_ = pid
        self.storages[str(key)] = _DTYPES.get(storage.__name__, storage.__name__)
        return _Stub()


def stored_dtypes(path: Path) -> dict[str, int]:
    """How many tensors of each dtype the archive holds; quantized ones count as the integers that they are stored in.

    Raises:
        ConversionError: it is not such an archive.
    """
    counts: Counter[str] = Counter()
    for name, content in _pickles(path, "data.pkl", "constants.pkl"):
        reader = _Reader(content)
        try:
            reader.load()
        except Exception as error:  # a damaged pickle raises what it likes
            raise ConversionError(f"{name} of {path} cannot be read: {error}.", remedy="Convert it again.") from error
        counts.update(reader.storages.values())
    return dict(sorted(counts.items()))


def operators(path: Path) -> dict[str, int]:
    """How often each operator is called, as the instructions say ("aten::linear": 2)."""
    counts: Counter[str] = Counter()
    for _, content in _pickles(path, "bytecode.pkl"):
        for entry in _Reader(content).load()[1:]:
            parts = {part[0]: part[1] for part in entry[1]}
            names = [str(operator[0]) for operator in parts["operators"]]
            counts.update(names[index] for code, index, _ in parts["instructions"] if code in ("OP", "OPN"))
    return dict(sorted(counts.items()))


def _pickles(path: Path, *names: str) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for held in archive.namelist():
                if held.partition("/")[2] in names:
                    yield held, archive.read(held)
    except (zipfile.BadZipFile, OSError) as error:
        raise ConversionError(
            f"{path} is not an archive of the lite interpreter: {error}.", remedy="Convert the model again."
        ) from error


def rewritten(content: bytes, extra: Mapping[str, str]) -> bytes:
    """The archive without what differs from run to run and machine to machine, and with files under `extra/`.

    Left out are debug tables, which hold paths of source files and numbers of stack frames, and the shapes that it was
    traced with. Nothing executes them.
    """
    import torch

    reader = torch._C.PyTorchFileReader(io.BytesIO(content))  # noqa: SLF001 - torch has no public one
    target = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(target)  # noqa: SLF001 - likewise
    for name in reader.get_all_records():
        if name in _WRITTEN_BY_THE_WRITER or name.endswith(".debug_pkl") or name.startswith("traced_inputs"):
            continue
        record = reader.get_record(name)
        writer.write_record(name, record, len(record))
    for name, text in extra.items():
        data = text.encode()
        writer.write_record(f"extra/{name}", data, len(data))
    version = next(name for name in _VERSIONS if reader.has_record(name))
    writer.set_min_version(int(reader.get_record(version)))
    writer.write_end_of_file()
    return target.getvalue()
