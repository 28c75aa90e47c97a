"""Small real wheels, made here: pip chooses among them as it chooses from an index."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def digest(content: bytes) -> str:
    """sha256 as RECORD has it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    tag: str = "py3-none-any",
    files: Mapping[str, bytes] | None = None,
    requires: Sequence[str] = (),
    unlisted: Mapping[str, bytes] | None = None,
    record: Mapping[str, bytes] | None = None,
) -> Path:
    """Writes a wheel and returns its path.

    Args:
        folder: where it goes.
        name: the distribution.
        version: its version.
        tag: for which Python and platform.
        files: beside the metadata; a module of that name that says its version by default.
        requires: its requirements.
        unlisted: files that its RECORD does not know.
        record: files whose RECORD entries are those of other contents.
    """
    package = name.replace("-", "_")
    info = f"{package}-{version}.dist-info"
    contents = dict(files if files is not None else {f"{package}/__init__.py": f"VERSION = {version!r}\n".encode()})
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    metadata += [f"Requires-Dist: {text}\n" for text in requires]
    contents[f"{info}/METADATA"] = "".join(metadata).encode()
    contents[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    rows = [f"{path},{digest((record or {}).get(path, content))},{len(content)}" for path, content in contents.items()]
    contents |= dict(unlisted or {})
    contents[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"{package}-{version}-{tag}.whl"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in contents.items():
            archive.writestr(member, content)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed.getvalue())
    return path
