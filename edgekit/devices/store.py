"""Store: the device's files, named by their content (docs/formats/device-store.md).

    ROOT/store/ID/          an artifact: manifest.json, payload/, golden/
    ROOT/runner/SHA.pyz     the runner
    ROOT/env/ID/            runtimes, and the link `current` (edgekit.devices.environment)
    ROOT/models/MODEL/      links `current` and `previous` into the store (edgekit.deploy)
    ROOT/tmp/NONCE/         what is being uploaded; never read, removed by the next upload
    ROOT/lock/              the lock

A file is uploaded under tmp/, its sha256 is computed on the device and compared here, then it is flushed to disk and
renamed. So whatever has its final name was whole when it got it; `has` computes the hashes again, because disks and
people change files afterwards.
"""

from __future__ import annotations

import re
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import msgspec

from edgekit.devices.scripts import DIGESTS, DISCARD, PREPARE, PUBLISH
from edgekit.errors import ArtifactError, DeviceError, DeviceStorageError, RemoteCommandError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edgekit.artifact import Artifact, FileEntry
    from edgekit.devices.device import Device

_ID = re.compile(r"[0-9a-f]{64}")
_HASHED_BYTES_PER_S = 2e6
"""What the slowest board hashes and flushes; only bounds are made of it."""


class PushResult(msgspec.Struct, frozen=True):
    """What a push sent. `already_there`: the device had it, whole, and nothing was sent."""

    sent_bytes: int
    sent_files: int
    already_there: bool


def is_id(text: str) -> bool:
    """Whether a text is an artifact's id: a sha256 in hex, and so a safe name."""
    return _ID.fullmatch(text) is not None


class Store:
    """The store of one device."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def artifact_path(self, artifact_id: str) -> str:
        """Where an artifact lies on the device, or would lie."""
        return self._device.path("store", _checked(artifact_id))

    def has(self, artifact_id: str, files: Sequence[FileEntry]) -> bool:
        """Whether the device holds the artifact with all these files, by their sha256 computed there now."""
        return not self._differing(self.artifact_path(artifact_id), files, step=f"verifying {artifact_id[:12]}")

    def push(self, artifact: Artifact, on_bytes: Callable[[int], None] | None = None) -> PushResult:
        """Brings an artifact to the device, unless it is there. A damaged one is replaced.

        Args:
            artifact: the artifact here.
            on_bytes: told how many bytes went out since it was last told.

        Raises:
            TransferError: what arrived differs; it was removed.
            DeviceStorageError: it does not fit, or cannot be written.
            DeviceBusyError: somebody else uses the device.
            DeviceError: the link failed; see `Transport`.
        """
        files = artifact.shipped_files()
        if self.has(artifact.id, files):
            return PushResult(0, 0, True)
        sources = [(artifact.path / entry.path, entry) for entry in files]
        self.put_folder(f"store/{_checked(artifact.id)}", sources, what=artifact.title, on_bytes=on_bytes)
        return PushResult(sum(entry.bytes for entry in files), len(files), False)

    def put_folder(
        self,
        final: str,
        sources: Sequence[tuple[Path, FileEntry]],
        *,
        what: str,
        on_bytes: Callable[[int], None] | None = None,
        finish: Callable[[str], None] | None = None,
    ) -> None:
        """Uploads files, verifies them there, and publishes them as one folder; one of that name is replaced.

        Args:
            final: the folder below the root.
            sources: files here, and their path in the folder, size and sha256.
            what: what it is, for errors.
            on_bytes: as `push`.
            finish: called with the absolute path of the verified, not yet published folder. What it leaves there is
                published, unless it raises.

        Raises:
            DeviceError: as `push`.
        """
        self._upload(final, sources, folder=True, what=what, on_bytes=on_bytes, finish=finish)

    def put_file(self, local: Path, sha256: str) -> str:
        """Brings the runner to the device, unless it is there; returns its path.

        Raises:
            DeviceError: as `push`.
        """
        from edgekit.artifact import FileEntry

        name = f"{_checked(sha256)}{local.suffix}"
        entry = FileEntry(name, local.stat().st_size, sha256)
        if self._differing(self._device.path("runner"), [entry], step="looking for the runner"):
            self._upload(f"runner/{name}", [(local, entry)], folder=False, what="the runner", on_bytes=None)
        return self._device.path("runner", name)

    def _differing(self, folder: str, files: Sequence[FileEntry], *, step: str) -> list[FileEntry]:
        """The files that are missing below a folder of the device or differ from their sha256."""
        bound = 60 + sum(entry.bytes for entry in files) / _HASHED_BYTES_PER_S
        answer = self._device.script(DIGESTS, folder, *(entry.path for entry in files), step=step, timeout_s=bound)
        lines = answer.decode("ascii", "replace").splitlines()
        if lines == ["absent"]:
            return list(files)
        if len(lines) != len(files):
            raise RemoteCommandError(
                f"{self._device.name} answered {len(lines)} hashes for {len(files)} files while {step}.",
                remedy="Its shell start-up files must not print anything when no terminal is there.",
            )
        return [entry for entry, line in zip(files, lines, strict=True) if line[:64] != entry.sha256]

    def _upload(
        self,
        final: str,
        sources: Sequence[tuple[Path, FileEntry]],
        *,
        folder: bool,
        what: str,
        on_bytes: Callable[[int], None] | None,
        finish: Callable[[str], None] | None = None,
    ) -> None:
        """Uploads under tmp/, verifies there, and publishes as `final` below the root: one folder, or one file."""
        device = self._device
        inside = "new" if folder else sources[0][1].path
        prefix = "new/" if folder else ""
        entries = [msgspec.structs.replace(entry, path=prefix + entry.path) for _, entry in sources]
        with device.lock(f"upload of {what}"), self._temporary(entries, what) as nonce:
            for (local, _), entry in zip(sources, entries, strict=True):
                device.transport.put(
                    local,
                    device.path("tmp", nonce, entry.path),
                    on_bytes=self._renewing(on_bytes),
                    step=f"uploading {what} ({local.name})",
                )
            bad = self._differing(device.path("tmp", nonce), entries, step=f"verifying the upload of {what}")
            if bad:
                raise TransferError(
                    f"{device.name} received {what} damaged: the sha256 of {bad[0].path.removeprefix(prefix)} computed "
                    f"there differs{f' (and {len(bad) - 1} more files)' if len(bad) > 1 else ''}. It was removed, and "
                    "nothing was activated.",
                    remedy="Run it again; if it happens again, check the device's memory and storage.",
                )
            if finish is not None:
                finish(device.path("tmp", nonce, inside))
            bound = 120 + sum(entry.bytes for entry in entries) / _HASHED_BYTES_PER_S
            device.script(PUBLISH, device.root, nonce, final, inside, step=f"storing {what}", timeout_s=bound)

    def _renewing(self, on_bytes: Callable[[int], None] | None) -> Callable[[int], None]:
        def told(count: int) -> None:
            self._device.keep_lock()
            if on_bytes is not None:
                on_bytes(count)

        return told

    @contextmanager
    def _temporary(self, entries: Sequence[FileEntry], what: str) -> Iterator[str]:
        """A new folder below root/tmp, removed at the end if the link is alive, else by the next upload."""
        device = self._device
        nonce = secrets.token_hex(8)
        try:
            folders = sorted({entry.path.rpartition("/")[0] for entry in entries} - {""})
            answer = device.script(PREPARE, device.root, nonce, *folders, step=f"preparing the upload of {what}")
            needed = sum(entry.bytes for entry in entries)
            free_kib = answer.decode("ascii", "replace").strip()
            if free_kib.isdigit() and int(free_kib) * 1024 < needed:
                self._refuse(what, needed, int(free_kib) * 1024)
            yield nonce
        except BaseException:  # Ctrl-C too: nothing half uploaded stays; it is raised again
            with suppress(DeviceError):
                device.script(DISCARD, device.root, nonce, step="removing what was half uploaded", timeout_s=20)
            raise

    def _refuse(self, what: str, needed_bytes: int, free_bytes: int) -> NoReturn:
        raise DeviceStorageError(
            f"{self._device.name} has no space left for {what}: it needs {needed_bytes / 1e6:.1f} MB, and "
            f"{free_bytes / 1e6:.1f} MB are free in {self._device.root}.",
            remedy="Free some space there, or set another `root` in the target, and run it again.",
        )


def _checked(artifact_id: str) -> str:
    if not is_id(artifact_id):
        raise ArtifactError(f"{artifact_id!r} is not an artifact's id.", remedy="An id is 64 hexadecimal digits.")
    return artifact_id
