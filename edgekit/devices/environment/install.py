"""Provisioning: an environment is planned and fetched here, uploaded, unpacked and verified there, then made current.

    ROOT/env/ID/env.json    what it is; ID is its sha256
    ROOT/env/ID/site/       the packages: in front on the Python runner's PYTHONPATH; libraries for the native runner
    ROOT/env/current        a link to ID, switched by one rename

A device with Python gets wheels and unpacks them itself; one without gets the runtimes' libraries alone, and where its
C library is not glibc, a glibc beside them (`glibc`). Either way every file's sha256 is then computed on the device and
compared with what the packages say, before the environment gets its name. What is there, whole, is not sent again.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit.artifact import FileEntry
from edgekit.devices.environment import glibc
from edgekit.devices.environment.deb import Deb
from edgekit.devices.environment.fetching import fetch, fetch_libraries
from edgekit.devices.environment.needs import PURPOSES, needs_of, pinned
from edgekit.devices.environment.platforms import Platform, ask_platform
from edgekit.devices.environment.records import RECORD, Package, Record, SiteFile, read_record
from edgekit.devices.environment.wheels import UNPACK, Wheel, WheelFile, libraries_of, select
from edgekit.devices.scripts.environment import ENVIRONMENT, INSTALL, REMOVE_ENVIRONMENT, TREE_DIGESTS, USE_ENVIRONMENT
from edgekit.devices.scripts.files import DIAGNOSE
from edgekit.devices.store import Store, is_id
from edgekit.errors import DeviceStorageError, NoWheelError, RemoteCommandError, TransferError
from edgekit.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.devices.device import Device
    from edgekit.devices.progress import Progress, Uploaded

Part = tuple[Wheel | Deb, tuple[WheelFile, ...]]
"""A package, and the files that are taken of it."""
ALWAYS = ("numpy",)
"""What the Python runner needs beside any runtime; unpinned, so that the runtime's own requirement decides."""
_UNPACKED_BYTES_PER_S = 1e6
"""What the slowest board unpacks and hashes; only bounds are made of it."""


class Installed(msgspec.Struct, frozen=True):
    """A device's current environment. `record` is None where env.json is not the one of its id."""

    id: str
    record: Record | None


class Provisioned(msgspec.Struct, frozen=True):
    """What `provision` did. `sent_bytes` went over the link; `already_there`: the device had it all, whole."""

    id: str
    platform: Platform
    runtimes: tuple[str, ...]
    packages: tuple[Package, ...]
    bytes: int
    sent_bytes: int
    already_there: bool


class Plan(msgspec.Struct, frozen=True):
    """An environment before it is sent: wheels to unpack there, and files of other packages to unpack here."""

    record: Record
    wheels: tuple[Wheel, ...]
    parts: tuple[Part, ...]

    @property
    def upload_bytes(self) -> int:
        """What goes over the link."""
        wheels = sum(wheel.path.stat().st_size for wheel in self.wheels)
        return wheels + sum(file.bytes for _, files in self.parts for file in files)


def provision(
    device: Device,
    runtimes: Sequence[str],
    *,
    offline: Path | None = None,
    libraries_only: bool = False,
    on_stage: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
) -> Provisioned:
    """Gives a device runtimes, beside those that an earlier call gave it.

    Args:
        device: connected.
        runtimes: names such as `litert`, and of purposes (`needs.PURPOSES`) such as `releases`.
        offline: a folder of wheels instead of the package index.
        libraries_only: no Python packages even where there is a Python: for the native runner.
        on_stage: told what is being done.
        progress: whom to tell how the upload goes.

    Raises:
        NoWheelError, WheelError: see `fetching.fetch`.
        TransferError: what was unpacked there differs; it was removed.
        DeviceStorageError: it does not fit, or cannot be written.
        DeviceBusyError: somebody else uses the device.
        DeviceError: the link failed.
    """
    with device.lock(f"provisioning {', '.join(runtimes)}"):
        on_stage("asking the device")
        platform = ask_platform(device)
        if libraries_only or platform.libc == "bionic":  # for which there are no packages of Python
            platform = platform.without_python
        before = installed(device)
        if before is not None and before.record is not None and before.record.platform == platform:
            runtimes = [*before.record.runtimes, *runtimes]
        on_stage("choosing and fetching wheels")
        plan = make_plan(device.name, platform, sorted(set(runtimes)), offline)
        record = plan.record
        device.keep_lock()
        if before is not None and before.id == record.id:
            on_stage("verifying what is there")
            if not differing(device, record, device.path("env", record.id)):
                return _result(record, 0, already_there=True)
        _check_space(device, plan)
        on_stage("uploading")
        uploaded = _upload(device, plan, on_stage, progress)
        device.script(USE_ENVIRONMENT, device.root, record.id, step="switching to the new environment", timeout_s=120)
        return _result(record, uploaded.sent_bytes)


def installed(device: Device) -> Installed | None:
    """The device's current environment, by its record; its files are not looked at (`differing` does)."""
    answer = device.script(ENVIRONMENT, device.root, step="looking for its environment")
    name, _, content = answer.partition(b"\n")
    environment_id = name.decode("utf-8", "replace")
    if not name:
        return None
    return Installed(environment_id, read_record(environment_id, content) if is_id(environment_id) else None)


def differing(device: Device, record: Record, folder: str) -> list[str]:
    """The files of an environment that are missing in a folder there, or differ by their sha256 computed there now."""
    bound = 120 + record.bytes / _UNPACKED_BYTES_PER_S
    answer = device.script(TREE_DIGESTS, folder, step="verifying its environment", timeout_s=bound)
    found = {}
    for line in answer.decode("utf-8", "surrogateescape").splitlines():
        found[line[64:].lstrip(" *").removeprefix("./")] = line[:64]
    return [path for path, file in record.files.items() if found.get(f"site/{path}") != file.sha256]


def remove(device: Device) -> bool:
    """Takes away every environment that we made there, and nothing else. False: there was none.

    Raises:
        DeviceError: see `Device.script`.
    """
    with device.lock("removing its environment"):
        nonce = f"removed-{secrets.token_hex(8)}"
        answer = device.script(REMOVE_ENVIRONMENT, device.root, nonce, step="removing its environment", timeout_s=300)
        return answer.strip() == b"removed"


def make_plan(name: str, platform: Platform, runtimes: Sequence[str], offline: Path | None = None) -> Plan:
    """Chooses, fetches and checks what an environment is made of.

    Args:
        name: the device, for errors.
        platform: the device's; without a Python the plan has libraries only.
        runtimes: their names.
        offline: a folder of wheels instead of the package index.

    Raises:
        PluginError: an unknown runtime.
        NoWheelError, WheelError: see `fetching.fetch`.
    """
    needs = {runtime: needs_of(runtime) for runtime in runtimes}
    wheels: tuple[Wheel, ...] = ()
    if platform.python is not None:
        always = () if set(needs) <= set(PURPOSES) else ALWAYS
        wanted = sorted({*always, *(pinned(wheel) for need in needs.values() for wheel in need.wheels)})
        wheels = fetch(name, wanted, platform, offline)
        patterns = [need.parts for need in needs.values()]
    else:
        without = [runtime for runtime, need in needs.items() if not need.libraries]
        if without:
            raise NoWheelError(
                f"{name} has no Python 3.8 or newer, and {_kind(without[0])} cannot do without.",
                remedy="Install Python there, or push releases from here (edgekit release push)."
                if without[0] in PURPOSES
                else "Install Python there, or take another runtime (--runtime litert).",
            )
        patterns = [need.libraries for need in needs.values()]
    parts = _parts(name, platform, {key: value for some in patterns for key, value in some.items()}, offline)
    files = [file for wheel in wheels for file in wheel.files] + [file for _, some in parts for file in some]
    packages = [_package(wheel, whole=True) for wheel in wheels] + [_package(wheel, whole=False) for wheel, _ in parts]
    record = Record(
        platform=platform,
        runtimes=tuple(runtimes),
        packages=tuple(packages),
        files={file.path: SiteFile(file.sha256, file.bytes) for file in sorted(files, key=lambda file: file.path)},
    )
    return Plan(record, wheels, tuple(parts))


def _parts(name: str, platform: Platform, wanted: dict[str, tuple[str, ...]], offline: Path | None) -> list[Part]:
    """Files of wheels, by distribution, and before them a glibc where they would otherwise find none."""
    parts: list[Part] = []
    has_python = platform.python is not None
    if not has_python and glibc.is_lacking(platform):
        parts += (brought := glibc.fetch_glibc(name, platform, offline))
        platform = glibc.with_glibc(platform, brought[0][0])
    for distribution, patterns in sorted(wanted.items()):
        wheel = fetch_libraries(name, pinned(distribution), platform, offline)
        parts.append((wheel, (select if has_python else libraries_of)(wheel, patterns)))
    return parts


def _kind(need: str) -> str:
    return f"what pulls {need}" if need in PURPOSES else f"the runtime {need!r}"


def _package(package: Wheel | Deb, *, whole: bool) -> Package:
    return Package(package.name, package.version, package.path.name, package.sha256, whole)


def _check_space(device: Device, plan: Plan) -> None:
    needed = plan.upload_bytes + plan.record.bytes
    answer = device.run(["sh", "-c", DIAGNOSE, "edgekit", device.root], step="asking for free space").stdout
    free_kib = answer.decode("ascii", "replace").strip()
    if free_kib.isdigit() and int(free_kib) * 1024 < needed:
        raise DeviceStorageError(
            f"{device.name} has no space left for its environment: it needs {needed / 1e6:.0f} MB while it is "
            f"unpacked, and {int(free_kib) * 1024 / 1e6:.0f} MB are free in {device.root}. Nothing was sent.",
            remedy="Free some space there, or set another `root` in the target, and run it again.",
        )


def _upload(device: Device, plan: Plan, on_stage: Callable[[str], None], progress: Progress | None) -> Uploaded:
    if ":" in device.root:
        raise RemoteCommandError(
            f"The root {device.root} of {device.name} has a colon in its name, which PYTHONPATH cannot hold.",
            remedy="Set another `root` in the target.",
        )
    if any(isinstance(package, Deb) for package, _ in plan.parts) and set(device.root) & set(";$"):
        raise RemoteCommandError(
            f"The root {device.root} of {device.name} has a ; or a $ in its name, which glibc's loader takes for more.",
            remedy="Set another `root` in the target.",
        )
    record = plan.record
    names = [wheel.path.name for wheel in plan.wheels]

    def finish(folder: str) -> None:
        on_stage("unpacking and verifying there")
        wheels = [f"{folder}/wheels", *names] if names else []
        bound = 120 + record.bytes / _UNPACKED_BYTES_PER_S
        device.script(
            INSTALL, device.root, folder, device.target.python, UNPACK, *wheels,
            step="unpacking its environment", timeout_s=bound,
        )  # fmt: skip
        device.keep_lock()
        bad = differing(device, record, folder)
        if bad:
            raise TransferError(
                f"{device.name} unpacked its environment damaged: the sha256 of {bad[0]} computed there differs "
                f"({len(bad)} of {len(record.files)} files). It was removed.",
                remedy="Run it again; if it happens again, check the device's memory and storage.",
            )

    with tempfile.TemporaryDirectory(prefix="edgekit-environment-") as temporary:
        sources = [(wheel.path, FileEntry(f"wheels/{wheel.path.name}", wheel.path.stat().st_size, wheel.sha256))
                   for wheel in plan.wheels]  # fmt: skip
        for package, files in plan.parts:
            sources += _unpacked(package, files, Path(temporary))
        encoded = Path(temporary, RECORD)
        encoded.write_bytes(record.encode())
        sources.append((encoded, FileEntry(RECORD, encoded.stat().st_size, sha256_of(encoded))))
        return Store(device).put_folder(
            f"env/{record.id}", sources, what="the environment", progress=progress, finish=finish
        )


def _unpacked(package: Wheel | Deb, files: Sequence[WheelFile], folder: Path) -> list[tuple[Path, FileEntry]]:
    entries = []
    for number, (file, content) in enumerate(zip(files, package.contents(files), strict=True)):
        here = folder / f"{package.sha256[:12]}-{number}"
        here.write_bytes(content)
        entries.append((here, FileEntry(f"site/{file.path}", file.bytes, file.sha256)))
    return entries


def _result(record: Record, sent_bytes: int, *, already_there: bool = False) -> Provisioned:
    return Provisioned(
        record.id, record.platform, record.runtimes, record.packages, record.bytes, sent_bytes, already_there
    )
