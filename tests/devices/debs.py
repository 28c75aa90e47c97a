"""Small real packages of Debian, made here, and ones that are damaged."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOADERS = {"amd64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"}
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}


def ar(members: Mapping[str, bytes]) -> bytes:
    """An `ar` archive (ar(5)), as GNU's writes one."""
    written = b"!<arch>\n"
    for name, content in members.items():
        header = f"{name + '/':<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
        written += header.encode() + content + b"\n" * (len(content) % 2)
    return written


def tar(files: Mapping[str, bytes], links: Mapping[str, str] | None = None, *, packed: str = "xz") -> bytes:
    """A tar of files and of links, packed."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=f"w:{packed}") as archive:  # type: ignore[call-overload] # packed is any
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return written.getvalue()


def make_deb(
    folder: Path,
    name: str,
    files: Mapping[str, bytes],
    links: Mapping[str, str] | None = None,
    *,
    version: str = "2.36-9+deb12u1",
    architecture: str = "amd64",
    called: str = "",
    packed: str = "xz",
) -> Path:
    """Writes a package and returns its path.

    Args:
        folder: where it goes.
        name: the package's, in its control file.
        files: path to content.
        links: path to what it points to.
        version: the package's.
        architecture: for which processor, in its control file.
        called: the file's name, where that is to say something else.
        packed: how its archives are packed.
    """
    control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nDescription: made by a test\n"
    members = {
        "debian-binary": b"2.0\n",
        f"control.tar.{packed}": tar({"./control": control.encode()}, packed=packed),
        f"data.tar.{packed}": tar(files, links, packed=packed),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (called or f"{name}_{version}_{architecture}.deb")
    path.write_bytes(ar(members))
    return path


def make_glibc(folder: Path, architecture: str = "amd64") -> dict[str, Path]:
    """The three packages that a device without glibc gets, by name; what is in them runs nowhere."""
    lib = f"./usr/lib/{TRIPLETS[architecture]}"
    names = [LOADERS[architecture], "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"]
    contents = {
        "libc6": ({f"{lib}/{name}": name.encode() for name in names}, {}),
        "libgcc-s1": ({f"{lib}/libgcc_s.so.1": b"gcc"}, {}),
        "libstdc++6": ({f"{lib}/libstdc++.so.6.0.30": b"stdc++"}, {f"{lib}/libstdc++.so.6": "libstdc++.so.6.0.30"}),
    }
    return {
        name: make_deb(folder, name, files, links, architecture=architecture)
        for name, (files, links) in contents.items()
    }
