"""glibc for devices that have another C library: fetched from Debian, put beside the native runner, never installed.

Wheels for Linux are linked against glibc. A phone's C library is bionic, a small board's often musl; the kernel below
is Linux all the same, and does not care whose loader it starts. So the environment of such a device holds a glibc of
its own (`site/glibc/`: its loader and the few libraries that runtimes need), and the native runner is linked with that
loader as its interpreter. Nothing else on the device sees it.

The packages are those of the Debian that this machine's own apt is configured with, checked by apt against its signed
index; or lie in the folder that stands in for the index.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit.devices.environment.deb import Deb, open_deb
from edgekit.devices.environment.kept import keep, remember, remembered
from edgekit.errors import NoWheelError, WheelError
from edgekit.files import cache_folder, digest_of, writing

if TYPE_CHECKING:
    from edgekit.devices.environment.platforms import Platform
    from edgekit.devices.environment.wheels import WheelFile

FOLDER = "glibc"
"""Below site/."""
_LIBRARIES = {
    "libc6": ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"),
    "libgcc-s1": ("libgcc_s.so.1",),
    "libstdc++6": ("libstdc++.so.6",),
}
"""By package: what the runtimes' libraries are linked against."""
_FETCH_S = 600


class _Flavour(msgspec.Struct, frozen=True):
    architecture: str
    loader: str


_FLAVOURS = {
    "aarch64": _Flavour("arm64", "ld-linux-aarch64.so.1"),
    "x86_64": _Flavour("amd64", "ld-linux-x86-64.so.2"),
}
"""By processor: Debian's name of it, and glibc's loader. Of other processors there are no wheels of any runtime."""


def is_lacking(platform: Platform) -> bool:
    """Whether a device is a Linux with another C library, for whose processor there is a glibc to bring."""
    return platform.system == "Linux" and platform.libc in ("bionic", "musl") and platform.machine in _FLAVOURS


def loader_of(platform: Platform) -> str:
    """Where the loader lies below site/ in an environment of such a device."""
    return f"{FOLDER}/{_FLAVOURS[platform.machine].loader}"


def fetch_glibc(name: str, platform: Platform, offline: Path | None) -> list[tuple[Deb, tuple[WheelFile, ...]]]:
    """The packages of a glibc for a device, and what of them goes there.

    Args:
        name: the device, for errors.
        platform: the device's; `is_lacking` of it is true.
        offline: a folder of packages instead of Debian's archive.

    Raises:
        NoWheelError: they are not to be had.
        WheelError: one is damaged, or for another processor.
    """
    flavour = _FLAVOURS[platform.machine]
    key = digest_of(["glibc", sorted(_LIBRARIES), flavour.architecture])
    paths = remembered(key) if offline is None else None
    if paths is not None and len(paths) != len(_LIBRARIES):
        paths = None
    if paths is None and offline is not None:
        paths = [keep(path, offline) for path in _offline(name, platform, flavour, offline)]
    elif paths is None:
        with writing(cache_folder()), tempfile.TemporaryDirectory(prefix="edgekit-glibc-") as folder:
            paths = [keep(path, None) for path in _download(name, platform, flavour, Path(folder))]
    taken = []
    for path, (package, libraries) in zip(paths, _LIBRARIES.items(), strict=True):
        deb = open_deb(path)
        if (deb.name, deb.architecture) != (package, flavour.architecture):
            raise WheelError(
                f"{path.name} is {deb.name} for {deb.architecture}, not {package} for {flavour.architecture}, which "
                f"{name} needs. Nothing was sent.",
                remedy="Copy the packages anew from where they came.",
            )
        wanted = (*libraries, flavour.loader) if package == "libc6" else libraries
        taken.append((deb, deb.libraries(wanted, FOLDER)))
    if offline is None:
        remember(key, [(deb.path, deb.sha256) for deb, _ in taken])
    return taken


def with_glibc(platform: Platform, libc6: Deb) -> Platform:
    """The platform that wheels are chosen for, on a device with that glibc beside."""
    version = libc6.version.partition(":")[2] or libc6.version  # the epoch
    return msgspec.structs.replace(platform, libc="glibc", libc_version=version.partition("-")[0])


def _offline(name: str, platform: Platform, flavour: _Flavour, folder: Path) -> list[Path]:
    found = {
        package: sorted(path for path in folder.glob(f"{package}_*_{flavour.architecture}.deb") if path.is_file())
        for package in _LIBRARIES
    }
    absent = [package for package, paths in found.items() if not paths]
    if absent:
        raise _refusal(name, platform, f"{folder} lacks Debian's {', '.join(absent)} for {flavour.architecture}")
    many = next((paths for paths in found.values() if len(paths) > 1), None)
    if many is not None:
        raise NoWheelError(
            f"{folder} holds {' and '.join(path.name for path in many)}; {name} gets one of them. Nothing was sent.",
            remedy="Leave the one there that is meant.",
        )
    return [paths[0] for paths in found.values()]


def _download(name: str, platform: Platform, flavour: _Flavour, folder: Path) -> list[Path]:
    """Lets apt fetch the packages, with a state of its own: the machine's apt neither knows nor needs the processor."""
    if shutil.which("apt-get") is None:
        raise _refusal(name, platform, "there is no apt-get here to fetch Debian's")
    for below in ("lists/partial", "archives/partial"):
        (folder / below).mkdir(parents=True)
    (folder / "status").touch()
    options = {
        "APT::Architecture": flavour.architecture,
        "APT::Architectures": flavour.architecture,
        "Dir::State": folder,
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Acquire::Languages": "none",
        "Acquire::Retries": 2,
    }
    given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    warnings = ""
    for arguments in (["update"], ["download", *_LIBRARIES]):
        wrong, warned = _run_apt([*given, *arguments], folder)
        warnings = warnings or warned
        if wrong is not None:
            why = f"{wrong} ({warnings})" if warnings else wrong
            raise _refusal(name, platform, f"apt cannot fetch Debian's for {flavour.architecture}: {why}")
    found = [next(folder.glob(f"{package}_*.deb"), None) for package in _LIBRARIES]
    paths = [path for path in found if path is not None]
    if len(paths) != len(found):
        raise _refusal(name, platform, f"apt fetched {', '.join(path.name for path in paths) or 'nothing'} of it")
    return paths


def _run_apt(arguments: list[str], folder: Path) -> tuple[str | None, str]:
    """What apt says is wrong, None if nothing is; and what it could not fetch without calling that an error."""
    try:
        done = subprocess.run(
            ["apt-get", *arguments], cwd=folder, capture_output=True, text=True, errors="replace", timeout=_FETCH_S,
            check=False, stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error), ""
    lines = done.stderr.splitlines()
    warned = next((line.removeprefix("W: ") for line in lines if line.startswith("W: Failed to fetch")), "")
    if done.returncode == 0:
        return None, warned
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    return (errors[0] if errors else done.stderr.strip()[-300:]).rstrip("."), warned


def _refusal(name: str, platform: Platform, why: str) -> NoWheelError:
    architecture = _FLAVOURS[platform.machine].architecture
    names = " ".join(f"{package}:{architecture}" for package in _LIBRARIES)
    return NoWheelError(
        f"{name} ({platform.text}) has no glibc, which the runtimes' libraries need, and {why}. Nothing was sent.",
        remedy=f"On a Debian: dpkg --add-architecture {architecture} && apt-get update && apt-get download {names}. "
        "Put the three files beside the wheels, and give that folder: --offline-cache DIR",
    )
