"""The runner as one file: a zip that Python executes, made of `edgekit/runner` and the registered runtimes.

The same sources always give the same bytes (fixed order and dates, no compression), so its sha256 names it: on a
device it is uploaded once. Runtimes of other packages travel along as `edgekit_runner/runtimes/NAME.py`.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit import plugins, runner
from edgekit.files import cache_folder, write_file

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "edgekit_runner"
_MAIN = f"import sys\n\nfrom {PACKAGE}.__main__ import main\n\nsys.exit(main(sys.argv))\n"
_DATE = (1980, 1, 1, 0, 0, 0)


def runner_zip(extra_runtimes: Mapping[str, Path] | None = None) -> tuple[Path, str]:
    """The runner's file, in the cache, and its sha256.

    Args:
        extra_runtimes: runtime modules by name, beside those that are registered.

    Raises:
        StorageError: the cache cannot be written.
        PluginError: a registered runtime cannot be imported.
    """
    content = _pack({**_registered_runtimes(), **(extra_runtimes or {})})
    sha256 = hashlib.sha256(content).hexdigest()
    path = cache_folder() / "runner" / f"{sha256}.pyz"
    if not path.is_file() or path.read_bytes() != content:
        write_file(path, content)
    return path, sha256


def _folder() -> Path:
    return Path(runner.__file__).parent


def _registered_runtimes() -> dict[str, Path]:
    return {name: Path(plugins.load("runtime", name).__file__) for name in plugins.names("runtime")}


def _pack(runtimes: Mapping[str, Path]) -> bytes:
    folder = _folder()
    files = {"__main__.py": _MAIN.encode()}
    for path in folder.rglob("*.py"):
        files[f"{PACKAGE}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    for name, path in runtimes.items():
        if not path.is_relative_to(folder):
            files[f"{PACKAGE}/runtimes/{name}.py"] = path.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, date_time=_DATE)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    return packed.getvalue()
