"""Wheels, as far as we let them onto a device: what a file says that it is, and whether it is that.

A wheel is a zip whose RECORD lists the sha256 of each of its files. One that lacks a file, has one too many or one that
differs, fits another platform, or holds a path that leads out of its folder is refused before a byte is sent. Only what
Python imports is taken: scripts, headers and data files of the environment are left out.
"""

from __future__ import annotations

import base64
import csv
import email
import hashlib
import io
import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from edgekit.errors import WheelError
from edgekit.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from edgekit.devices.environment.platforms import Platform

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")
_UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_IMPORTED_DATA = ("purelib", "platlib")


class WheelFile(msgspec.Struct, frozen=True):
    """One file of a wheel, or of another package: where it lies in there, where it goes below site/, and what it is."""

    member: str
    path: str
    bytes: int
    sha256: str


class Wheel(msgspec.Struct, frozen=True):
    """A wheel that was checked. `requires` are its requirements as its metadata has them."""

    path: Path
    name: str
    version: str
    sha256: str
    tags: frozenset[Tag]
    requires: tuple[str, ...]
    files: tuple[WheelFile, ...]

    def requirements(self, platform: Platform, extras: Iterable[str] = ()) -> list[Requirement]:
        """What it requires on that platform, with those of its extras."""
        environments = [{**platform.markers(), "extra": extra} for extra in ("", *extras)]
        found = []
        for text in self.requires:
            marker = (requirement := Requirement(text)).marker
            if marker is None or any(marker.evaluate(environment) for environment in environments):
                found.append(requirement)
        return found

    def contents(self, files: Sequence[WheelFile]) -> Iterator[bytes]:
        """The bytes of some of its files, in that order."""
        with zipfile.ZipFile(self.path) as archive:
            for file in files:
                yield archive.read(file.member)

    def fits(self, fitting: Collection[Tag]) -> bool:
        """Whether one of its tags is among those."""
        return any(tag in fitting for tag in self.tags)


def open_wheel(path: Path) -> Wheel:
    """Reads a wheel and checks every file of it.

    Raises:
        WheelError: it is no wheel, or not the one that its RECORD describes.
    """
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
        with zipfile.ZipFile(path) as archive:
            names = [member.filename for member in archive.infolist() if not member.is_dir()]
            info = _info_folder(path, names, name)
            files = _checked_files(path, archive, names, info)
            metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    except (InvalidWheelFilename, zipfile.BadZipFile, KeyError, OSError, UnicodeDecodeError) as error:
        raise _refused(path, str(error).strip("'\"")) from error
    if canonicalize_name(metadata.get("Name", "")) != name or metadata.get("Version") is None:
        raise _refused(path, f"its metadata says {metadata.get('Name')} {metadata.get('Version')}")
    requires = tuple(metadata.get_all("Requires-Dist") or ())
    try:
        list(map(Requirement, requires))
    except InvalidRequirement as error:
        raise _refused(path, f"it requires what cannot be read: {error}") from error
    return Wheel(path, name, str(version), sha256_of(path), tags, requires, files)


def select(wheel: Wheel, patterns: Iterable[str]) -> tuple[WheelFile, ...]:
    """The files of a wheel that match one of the patterns, such as `tvm/lib/libtvm_runtime.so`.

    Raises:
        WheelError: one pattern matches none.
    """
    found: dict[str, WheelFile] = {}
    for pattern in patterns:
        matching = [file for file in wheel.files if PurePosixPath(file.path).match(pattern)]
        if not matching:
            raise _refused(wheel.path, f"it has no {pattern}")
        found.update({file.path: file for file in matching})
    return tuple(found.values())


def libraries_of(wheel: Wheel, patterns: Iterable[str]) -> tuple[WheelFile, ...]:
    """The libraries of a wheel that match, and what tells the native runner their version: its metadata, beside them.

    They do not go where pip puts them, as Python would look there, and find a package that is not.

    Raises:
        WheelError: one pattern matches none.
    """
    libraries = select(wheel, patterns)
    (metadata,) = (file for file in wheel.files if re.fullmatch(r"[^/]+\.dist-info/METADATA", file.path))
    beside = PurePosixPath(libraries[0].path).parent / metadata.path
    return *libraries, msgspec.structs.replace(metadata, path=str(beside))


def _info_folder(path: Path, names: Iterable[str], name: str) -> str:
    folders = {part.split("/")[0] for part in names if part.split("/")[0].endswith(".dist-info")}
    if len(folders) != 1 or canonicalize_name(next(iter(folders)).split("-")[0]) != name:
        raise _refused(path, f"it has no one folder {name}-….dist-info")
    return folders.pop()


def _checked_files(path: Path, archive: zipfile.ZipFile, names: list[str], info: str) -> tuple[WheelFile, ...]:
    """Every member against RECORD (the binary distribution format)."""
    if len(set(names)) != len(names):
        raise _refused(path, "it holds two files of one name")
    for name in names:
        if _UNSAFE.search(name) or name.startswith("/") or ".." in name.split("/") or "" in name.split("/"):
            raise _refused(path, f"it holds a file with the hostile name {name!r}")
    rows = csv.reader(io.StringIO(archive.read(f"{info}/RECORD").decode("utf-8")))
    listed = {row[0]: row[1] for row in rows if len(row) >= 2}
    unlisted = {f"{info}/{name}" for name in _UNLISTED}
    for name in listed:
        if name not in names:
            raise _refused(path, f"{name} is missing")
    files = []
    for name in names:
        content = archive.read(name)
        if name not in unlisted:
            algorithm, _, digest = listed.get(name, "").partition("=")
            if not digest:
                raise _refused(path, f"{name} is not in its RECORD")
            if algorithm != "sha256" or digest != _record_digest(content):
                raise _refused(path, f"{name} is not the file of its RECORD")
        target = _site_path(name)
        if target is not None:
            files.append(WheelFile(name, target, len(content), hashlib.sha256(content).hexdigest()))
    return tuple(files)


def _record_digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def _site_path(name: str) -> str | None:
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return name
    kind, _, inside = rest.partition("/")
    return inside if kind in _IMPORTED_DATA and inside else None


def _refused(path: Path, why: str) -> WheelError:
    return WheelError(
        f"{path.name} is not a wheel to trust: {why}. Nothing was sent.",
        remedy=f"Delete {path} and run it again, so that it is fetched anew.",
    )


UNPACK = """
import os, sys, zipfile
site, folder = sys.argv[1], sys.argv[2]
for wheel in sys.argv[3:]:
    with zipfile.ZipFile(os.path.join(folder, wheel)) as archive:
        for member in archive.infolist():
            name = member.filename
            first, _, rest = name.partition("/")
            if first.endswith(".data"):
                kind, _, name = rest.partition("/")
                if kind not in ("purelib", "platlib"):
                    continue
            if not name or member.is_dir():
                continue
            path = os.path.join(site, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(archive.read(member))
"""
"""Python that unpacks checked wheels on the device, by the rules of `_site_path`. Arguments: SITE FOLDER WHEEL..."""
