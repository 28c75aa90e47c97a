"""Packages of Debian, as far as we take libraries out of them: an `ar` of a control and a data archive (deb(5))."""

from __future__ import annotations

import email
import hashlib
import io
import lzma
import posixpath
import re
import shutil
import subprocess
import tarfile
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from edgekit.devices.environment.wheels import WheelFile
from edgekit.errors import WheelError
from edgekit.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_MAGIC, _HEADER_BYTES, _ENDS = b"!<arch>\n", 60, b"`\n"
_MOST_LINKS = 4
_DPKG_S = 120
_MOST_BYTES = 256 << 20
"""Of a package, of an archive unpacked, and of a file: libc6 has 13 MB."""
_WORD = re.compile(r"[A-Za-z0-9.+:~-]{1,80}")
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "xz": lambda packed: lzma.LZMADecompressor().decompress(packed, _MOST_BYTES),
    "gz": lambda packed: zlib.decompressobj(31).decompress(packed, _MOST_BYTES),
    "": bytes,
}


class Deb(msgspec.Struct, frozen=True):
    """A package, by what its control file says."""

    path: Path
    name: str
    version: str
    architecture: str
    sha256: str

    def libraries(self, names: Sequence[str], folder: str) -> tuple[WheelFile, ...]:
        """The shared libraries of these names, wherever in the package they are, links followed.

        Args:
            names: such as `libm.so.6`.
            folder: where they go below site/.

        Raises:
            WheelError: one is not in it, or the package is damaged.
        """
        with _archive(self.path, "data") as archive:
            members = {posixpath.normpath(member.name): member for member in archive.getmembers()}
            found = {name: _regular(members, name) for name in names}
            absent = [name for name, member in found.items() if member is None]
            if absent:
                raise _refused(self.path, f"it has no {absent[0]}")
            return tuple(_file(archive, member, f"{folder}/{name}") for name, member in found.items() if member)

    def contents(self, files: Sequence[WheelFile]) -> Iterator[bytes]:
        """The bytes of some of its files, in that order."""
        with _archive(self.path, "data") as archive:
            for file in files:
                yield _read(archive, archive.getmember(file.member))


def open_deb(path: Path) -> Deb:
    """Reads what a package says of itself.

    Raises:
        WheelError: it is no package of Debian, or is packed in a way that Python here cannot read.
    """
    with _archive(path, "control") as archive:
        members = {posixpath.normpath(member.name): member for member in archive.getmembers()}
        if "control" not in members or not members["control"].isreg():
            raise _refused(path, "it says nothing of itself")
        control = email.message_from_bytes(_read(archive, members["control"]))
    name, version, architecture = (str(control.get(key, "")) for key in ("Package", "Version", "Architecture"))
    if not all(map(_WORD.fullmatch, (name, version, architecture))):
        raise _refused(path, "it does not say its name, version and architecture")
    return Deb(path, name, version, architecture, sha256_of(path))


@contextmanager
def _archive(path: Path, name: str) -> Iterator[tarfile.TarFile]:
    """The `control` or the `data` of a package."""
    found = next(((member, content) for member, content in _members(path) if member.startswith(f"{name}.tar")), None)
    if found is None:
        raise _refused(path, f"it has no {name}.tar")
    member, content = found
    packed = member.removeprefix(f"{name}.tar").lstrip(".")
    if packed not in _UNPACK and packed != "zst":
        raise _refused(path, f"its {member} is packed in a way that is not known here")
    try:
        unpacked = _by_dpkg(path, name) if packed == "zst" else _UNPACK[packed](content)
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            yield archive
    except (tarfile.TarError, OSError, EOFError, lzma.LZMAError, zlib.error, subprocess.TimeoutExpired,
            OverflowError, ValueError) as error:  # fmt: skip
        raise _refused(path, f"its {member} is damaged: {error}") from error


def _by_dpkg(path: Path, name: str) -> bytes:
    """An archive that is packed with zstd, as Ubuntu's are, which no Python before 3.14 reads."""
    program = shutil.which("dpkg-deb")
    if program is None:
        raise WheelError(
            f"{path.name} is packed with zstd, as Ubuntu's are, and there is no dpkg-deb here. Nothing was sent.",
            remedy="Install dpkg (1.21.18 or newer), or take Debian's own packages, which are packed with xz.",
        )
    which = {"control": "--ctrl-tarfile", "data": "--fsys-tarfile"}[name]
    done = subprocess.run([program, which, str(path)], capture_output=True, timeout=_DPKG_S, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.decode("utf-8", "replace").strip()[-300:])
    return done.stdout


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The members of an `ar` archive."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _refused(path, "it does not begin like one")
        while header := file.read(_HEADER_BYTES):
            digits = header[48:58].strip()
            if len(header) != _HEADER_BYTES or header[58:] != _ENDS or not digits.isdigit():
                raise _refused(path, "it is damaged")
            if int(digits) > _MOST_BYTES:
                raise _refused(path, "it is damaged")
            content = file.read(int(digits))
            if len(content) != int(digits):
                raise _refused(path, "it is cut off")
            file.read(int(digits) % 2)  # members begin at even addresses
            yield header[:16].decode("ascii", "replace").strip().rstrip("/"), content


def _regular(members: dict[str, tarfile.TarInfo], name: str) -> tarfile.TarInfo | None:
    """The file of that name in lib/TRIPLET/ or usr/lib/TRIPLET/, or the one that a link of that name leads to."""
    path = next((path for path in members if PurePosixPath(path).match(f"lib/*/{name}")), "")
    for _ in range(_MOST_LINKS):
        member = members.get(path)
        if member is None or member.isreg():
            return member
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname)).lstrip("/")
    return None


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> WheelFile:
    content = _read(archive, member)
    return WheelFile(member.name, path, len(content), hashlib.sha256(content).hexdigest())


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.issparse() or member.size > _MOST_BYTES:
        raise tarfile.ReadError(f"{member.name} is larger than a library")
    file = archive.extractfile(member)
    assert file is not None  # a regular file
    return file.read()


def _refused(path: Path, why: str) -> WheelError:
    return WheelError(
        f"{path.name} is not a package of Debian to trust: {why}. Nothing was sent.",
        remedy=f"Fetch it anew: remove it from the folder that was given, or from the cache, and run it again: {path}",
    )
