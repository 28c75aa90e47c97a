"""Lists what the pickles in a model file would call, without unpickling anything.

A pickle is a small program whose opcodes can import and call any function. This reads the opcodes
(`pickletools.genops`), follows strings on a small stack to resolve STACK_GLOBAL, and reports every global that is not
one of the few that tensors need. Archives (zip) are opened and searched, archives within archives as well, because a
torch.export archive nests the ones of `torch.save`.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from typing import TYPE_CHECKING

from edgekit.errors import UntrustedModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_DEPTH = 3
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


def _is_plain(module: str, name: str) -> bool:
    if (module, name) in _TENSOR_GLOBALS:
        return True
    return module in ("torch", "torch.storage") and (name.endswith("Storage") or name in _TORCH_DTYPES)


_TORCH_DTYPES = {
    "float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool",
    "complex64", "complex128", "strided", "contiguous_format", "channels_last",
}  # fmt: skip


def _globals_of(content: bytes) -> Iterator[tuple[str, str]]:
    """Every (module, name) that a pickle imports. A pickle that cannot be read to its end counts as unknown."""
    strings: list[str] = []
    memo: dict[int, str] = {}
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in ("GLOBAL", "INST"):
                module, _, name = str(argument).partition(" ")
                yield module, name
            elif opcode.name == "STACK_GLOBAL":
                yield (strings[-2], strings[-1]) if len(strings) >= 2 else ("?", "?")
            elif "UNICODE" in opcode.name or opcode.name in ("STRING", "BINSTRING", "SHORT_BINSTRING"):
                strings.append(str(argument))
            elif opcode.name == "MEMOIZE" and strings:
                memo[len(memo)] = strings[-1]
            elif opcode.name in ("BINPUT", "LONG_BINPUT", "PUT") and strings:
                memo[int(str(argument))] = strings[-1]
            elif opcode.name in ("BINGET", "LONG_BINGET", "GET") and int(str(argument)) in memo:
                strings.append(memo[int(str(argument))])
            elif opcode.name in ("EXT1", "EXT2", "EXT4"):
                yield "copyreg extension", str(argument)
    except Exception:  # malformed on purpose or by accident: either way nobody can say what it does
        yield "?", "unreadable pickle"


def _search(content: bytes, where: str, depth: int) -> Iterator[tuple[str, str, str]]:
    if content[:4] == b"PK\x03\x04" and depth < _MAX_DEPTH:
        try:
            archive = zipfile.ZipFile(io.BytesIO(content))
        except zipfile.BadZipFile:
            yield where, "?", "unreadable archive"
            return
        with archive:
            for name in archive.namelist():
                yield from _search(archive.read(name), f"{where}/{name}", depth + 1)
    elif content[:4] == b"PK\x03\x04":
        yield where, "?", "archive nested too deeply"
    elif _looks_like_pickle(content, where):
        for module, name in _globals_of(content):
            yield where, module, name


def _looks_like_pickle(content: bytes, where: str) -> bool:
    binary = (
        content[:1] == b"\x80" and len(content) > 2 and 2 <= content[1] <= 5 and content.rstrip(b"\0").endswith(b".")
    )
    named = where.endswith((".pkl", ".pickle", ".pt", ".pth")) or "custom_obj_" in where
    return bool(content) and (binary or named)


def unsafe_globals(path: Path) -> list[str]:
    """What unpickling the file would import beyond tensors, as `entry: module.name`, sorted; empty if harmless."""
    found = _search(path.read_bytes(), path.name, 0)
    return sorted({f"{where}: {module}.{name}" for where, module, name in found if not _is_plain(module, name)})


def refuse_unsafe_pickles(path: Path, *, trust: bool) -> list[str]:
    """Returns `unsafe_globals`, which is empty unless `trust`.

    Raises:
        UntrustedModelError: the file would execute code, and is not trusted.
    """
    unsafe = unsafe_globals(path)
    if unsafe and not trust:
        shown = "; ".join(unsafe[:3]) + (f"; and {len(unsafe) - 3} more" if len(unsafe) > 3 else "")
        raise UntrustedModelError(
            f"Opening {path} would execute code that the file brings along ({shown}). Nothing was opened.",
            remedy="If you made this file or trust who did, give --trust; else export the model anew.",
        )
    return unsafe
