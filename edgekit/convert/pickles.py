"""Lists what the pickles in a model file would call, without calling any of it.

A pickle is a small program whose opcodes can import and call any function. Reading the opcodes and guessing the stack
is not enough: a POP, or a memo filled in an unusual order, hides a call from whoever guesses. So this runs the very
machine of the standard library with every import replaced by an inert object, and reports each one that is not among
the few that tensors need. Archives (zip) are searched, archives within archives as well, because a torch.export
archive nests the ones of `torch.save`; the older format of `torch.save`, pickles in a row, is read to its end.

What torch loads without its restricted unpickler must be readable here from beginning to end, or it counts as unsafe:
entries named like pickles, and those that the archive's own configuration says are unpickled. Compiled code
(AOTInductor), which torch would load as a library, counts as well.
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

from edgekit.errors import UntrustedModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_DEPTH = 3
_LEGACY_PICKLES = 5
"""The older torch.save writes a magic number, a version, the system, the object and the storages' keys in a row."""
_NAMED_LIKE_PICKLES = (".pkl", ".pickle", ".pt", ".pth")
_OBJECT_PREFIXES = ("custom_obj_", "opaque_obj_")
_COMPILED = "data/aotinductor/"
_TENSOR_GLOBALS = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"),
    ("torch.serialization", "_get_layout"),
    ("torch.nn.parameter", "Parameter"),
}
_TORCH_DTYPES = {
    "float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool",
    "complex64", "complex128", "strided", "contiguous_format", "channels_last",
}  # fmt: skip


def _is_plain(module: str, name: str) -> bool:
    if (module, name) in _TENSOR_GLOBALS:
        return True
    return (
        module in ("torch", "torch.storage") and "." not in name and (name.endswith("Storage") or name in _TORCH_DTYPES)
    )


class _Inert:
    """Stands for whatever a pickle imports or makes: takes every call, does nothing."""

    def __new__(cls, *_: object, **__: object) -> _Inert:  # noqa: PYI034 - Self needs Python 3.11
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def _ignore(self, *_: object, **__: object) -> _Inert:
        return self

    __call__ = __setstate__ = __setitem__ = append = extend = add = update = _ignore


class _Inspector(pickle._Unpickler):  # noqa: SLF001 - the one in Python can be overridden
    """The unpickling machine with nothing behind it: every import is written down and answered by `_Inert`."""

    def __init__(self, content: io.BytesIO) -> None:
        super().__init__(content, encoding="utf-8", errors="replace")
        self.imports: list[tuple[str, str]] = []

    def find_class(self, module: str, name: str) -> Any:
        self.imports.append((str(module), str(name)))
        return _Inert

    def get_extension(self, code: int) -> None:
        self.imports.append(("copyreg extension", str(code)))
        self.append(_Inert)  # type: ignore[attr-defined]  # set by load()

    def persistent_load(self, _: object) -> Any:
        return _Inert()


def _globals_of(content: bytes, *, strict: bool) -> Iterator[tuple[str, str]]:
    """Every (module, name) that the pickles in `content` import, one after the other.

    If strict, what cannot be read to its end is reported too. If not, torch takes it for raw numbers, and what does
    not begin like a pickle is none.
    """
    if not strict and not (content[:1] == b"\x80" and content[1:2] in (b"\2", b"\3", b"\4", b"\5")):
        return
    stream = io.BytesIO(content)
    for _ in range(_LEGACY_PICKLES):
        inspector = _Inspector(stream)
        try:
            inspector.load()
        except Exception:  # malformed on purpose or by accident: either way nobody can say what it does
            yield from inspector.imports
            if strict:
                yield "?", "unreadable pickle"
            return
        yield from inspector.imports
        if stream.tell() == len(content):
            return


def _unpickled_by_configuration(archive: zipfile.ZipFile) -> set[str]:
    """The last parts of the paths that a torch.export archive's own JSON marks with `use_pickle`."""
    found: set[str] = set()
    for entry in archive.infolist():
        if not entry.filename.lower().endswith(".json"):
            continue
        try:
            waiting = [json.loads(archive.read(entry))]
        except ValueError:  # torch cannot read it either
            continue
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                if value.get("use_pickle"):
                    found.add(str(value.get("path_name")).replace("\\", "/").rsplit("/", 1)[-1].lower())
                waiting.extend(value.values())
            elif isinstance(value, list):
                waiting.extend(value)
    return found


def _search(content: bytes, where: str, depth: int, unpickled: set[str]) -> Iterator[tuple[str, str, str]]:
    if content[:4] != b"PK\x03\x04":
        if zipfile.is_zipfile(io.BytesIO(content)) and depth == 0:
            yield where, "?", "archive with something in front of it"
        # torch finds entries without regard to case
        last = where.lower().rsplit("/", 1)[-1]
        strict = last.endswith(_NAMED_LIKE_PICKLES) or last.startswith(_OBJECT_PREFIXES) or last in unpickled
        for module, name in _globals_of(content, strict=strict):
            yield where, module, name
        return
    if depth == _MAX_DEPTH:
        yield where, "?", "archive nested too deeply"
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            named = _unpickled_by_configuration(archive)
            for entry in archive.infolist():  # by entry, not by name: one name may be there twice
                inside = f"{where}/{entry.filename}"
                if _COMPILED in inside.lower().replace("\\", "/"):
                    yield inside, "AOTInductor", "compiled code"
                yield from _search(archive.read(entry), inside, depth + 1, named)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError, EOFError):
        yield where, "?", "unreadable archive"


def unsafe_globals(path: Path) -> list[str]:
    """What unpickling the file would import beyond tensors, as `entry: module.name`, sorted; empty if harmless."""
    found = _search(path.read_bytes(), path.name, 0, set())
    return sorted({f"{where}: {module}.{name}" for where, module, name in found if not _is_plain(module, name)})


def refuse_unsafe_pickles(path: Path, *, trust: bool, shown: str = "") -> list[str]:
    """Returns `unsafe_globals`, which is empty unless `trust`. `shown` is what the user calls the file, if not `path`.

    Raises:
        UntrustedModelError: the file would execute code, and is not trusted.
    """
    unsafe = unsafe_globals(path)
    if unsafe and not trust:
        calls = "; ".join(unsafe[:3]) + (f"; and {len(unsafe) - 3} more" if len(unsafe) > 3 else "")
        raise UntrustedModelError(
            f"Opening {shown or path} would execute code that the file brings along ({calls}). Nothing was opened.",
            remedy="If you made this file or trust who did, give --trust; else export the model anew.",
        )
    return unsafe
