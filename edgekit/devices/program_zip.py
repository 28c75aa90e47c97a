"""Programs for devices as one file: a zip that Python executes, or imports from.

The same sources always give the same bytes (fixed order and dates, no compression), so its sha256 names it: on a
device it is uploaded once.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

from edgekit.files import cache_folder, write_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DATE = (1980, 1, 1, 0, 0, 0)


def sources(package: str, folder: Path) -> dict[str, bytes]:
    """The Python files below a folder, as a zip holds them under the name of a package."""
    return {f"{package}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*.py")}


def program_zip(files: Mapping[str, bytes]) -> tuple[Path, str]:
    """The zip of these files, in the cache, and its sha256.

    Raises:
        StorageError: the cache cannot be written.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=_DATE)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    content = packed.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    path = cache_folder() / "runner" / f"{sha256}.pyz"
    if not path.is_file() or path.read_bytes() != content:
        write_file(path, content)
    return path, sha256
