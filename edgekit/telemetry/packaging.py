"""The reporter alone, for devices without EdgeKit: a wheel, or one file that Python imports and runs.

    python -m edgekit.telemetry.packaging --wheel DIR      edgekit_reporter-VERSION-py3-none-any.whl
    python -m edgekit.telemetry.packaging --zipapp FILE    edgekit-report.pyz, to import edgekit_reporter from or to run

Both hold the files of `edgekit/telemetry/reporter` as the package `edgekit_reporter`, which works because nothing in
there imports anything by EdgeKit's name. They need no build tool, no compiler and no other package, and the same files
always give the same bytes. The wheel has the C counter's source as well (`python -m edgekit_reporter.build`).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import zipfile
from importlib.metadata import version
from pathlib import Path

from edgekit.errors import StorageError

PACKAGE = "edgekit_reporter"
VERSION = version("edgekit")
_FOLDER = Path(__file__).parent / "reporter"
_EPOCH = (1980, 1, 1, 0, 0, 0)
MAIN = f"import sys\n\nfrom {PACKAGE}.__main__ import main\n\nsys.exit(main())\n"


def files() -> dict[str, bytes]:
    """The package's files by their names in it."""
    found = sorted([*_FOLDER.glob("*.py"), *_FOLDER.glob("*.c")])
    return {f"{PACKAGE}/{path.name}": path.read_bytes() for path in found}


def wheel(folder: Path) -> Path:
    """Writes the wheel into a folder and tells its path.

    Raises:
        StorageError: it cannot be written.
    """
    info = f"{PACKAGE}-{VERSION}.dist-info"
    content = files()
    content[f"{info}/METADATA"] = (
        "Metadata-Version: 2.1\n"
        "Name: edgekit-reporter\n"
        f"Version: {VERSION}\n"
        "Summary: Counts what a model sees and answers on its device, and reports it. Standard library only.\n"
        "License: Apache-2.0\n"
        "Requires-Python: >=3.8\n"
    ).encode()
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: edgekit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content[f"{info}/entry_points.txt"] = f"[console_scripts]\nedgekit-report = {PACKAGE}.__main__:main\n".encode()
    record = f"{info}/RECORD"
    rows = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in content.items()]
    content[record] = ("".join(rows) + f"{record},,\n").encode()
    return _write(folder / f"{PACKAGE}-{VERSION}-py3-none-any.whl", _zip(content))


def zipapp(path: Path) -> Path:
    """Writes the one file: executable where `python3` is, importable where it is on the path.

    Raises:
        StorageError: it cannot be written.
    """
    written = _write(path, zipapp_bytes())
    written.chmod(0o755)
    return written


def zipapp_bytes() -> bytes:
    """What `zipapp` writes."""
    content = {"__main__.py": MAIN.encode(), **{name: data for name, data in files().items() if name.endswith(".py")}}
    return b"#!/usr/bin/env python3\n" + _zip(content)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _zip(content: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return target.getvalue()


def _write(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}.", remedy="Name another folder.") from error
    return path


def main() -> None:
    """The two options of the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m edgekit.telemetry.packaging")
    parser.add_argument("--wheel", type=Path, metavar="DIR")
    parser.add_argument("--zipapp", type=Path, metavar="FILE")
    given = parser.parse_args()
    if given.wheel is None and given.zipapp is None:
        parser.error("say --wheel DIR, --zipapp FILE, or both")
    if given.wheel is not None:
        print(wheel(given.wheel))  # noqa: T201 - the program's answer
    if given.zipapp is not None:
        print(zipapp(given.zipapp))  # noqa: T201 - the program's answer


if __name__ == "__main__":
    main()
