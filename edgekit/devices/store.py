"""Store: the device's files, named by their content (docs/formats/device-store.md).

    ROOT/store/ID/          an artifact: manifest.json, payload/, golden/
    ROOT/runner/SHA.pyz     the runner
    ROOT/data/ID/           samples that an artifact is evaluated on (edgekit.bench.evaluation)
    ROOT/env/ID/            runtimes, and the link `current` (edgekit.devices.environment)
    ROOT/models/MODEL/      links `current` and `previous` into the store (edgekit.deploy)
    ROOT/tmp/NONCE/         what is being uploaded, and what a cut upload left for the next one
    ROOT/lock/              the lock

A file is put together under tmp/ (edgekit.devices.upload), its sha256 is computed on the device and compared here, then
it is flushed to disk and renamed. So whatever has its final name was whole when it got it; `has` computes the hashes
again, because disks and people change files afterwards.

An artifact is stored with a list of its chunks (edgekit.devices.chunks), by which a later one finds what they share.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from edgekit.artifact import MANIFEST, FileEntry
from edgekit.devices import chunk_list
from edgekit.devices.chunks import chunks_of
from edgekit.devices.plan import WantedFile
from edgekit.devices.scripts.files import DIGESTS, KEEP_DATA
from edgekit.devices.upload import HASHED_BYTES_PER_S, Cut, Upload
from edgekit.errors import ArtifactError, RemoteCommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.devices.device import Device
    from edgekit.devices.progress import Progress, Uploaded

CHUNKS = "chunks"
"""The chunk list's name in an artifact's folder on the device; it is not part of the artifact."""
_ID = re.compile(r"[0-9a-f]{64}")


class PushResult(msgspec.Struct, frozen=True):
    """What a push moved. `already_there`: the device had it, whole, and nothing was sent.

    `sent_bytes` went over the link, `reused_bytes` were copied from artifacts on the device and `resumed_bytes` from
    what a cut upload had left there. `compressed`: some of the bytes went out as fewer.
    """

    sent_bytes: int
    sent_files: int
    already_there: bool
    reused_bytes: int = 0
    resumed_bytes: int = 0
    compressed: bool = False


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

    def push(self, artifact: Artifact, progress: Progress | None = None) -> PushResult:
        """Brings an artifact to the device, unless it is there. A damaged one is replaced.

        Args:
            artifact: the artifact here.
            progress: whom to tell how it goes.

        Raises:
            TransferError: what arrived differs; it was removed.
            DeviceStorageError: it does not fit, or cannot be written.
            DeviceBusyError: somebody else uses the device.
            DeviceError: the link failed; see `Transport`. What arrived is used by the next push.
        """
        files = artifact.shipped_files()
        folder = f"store/{_checked(artifact.id)}"
        damaged = self._differing(self._device.path(folder), files, step=f"verifying {artifact.short_id}")
        if not damaged:
            return PushResult(0, 0, True)
        wanted = [_wanted(f"new/{entry.path}", artifact.path / entry.path, entry) for entry in files]
        with ThreadPoolExecutor(1) as pool:  # cuts the files into chunks while the device is asked
            cut = pool.submit(_cut, wanted)
            with self._device.lock(f"upload of {artifact.title}"):
                done = Upload(
                    self._device,
                    wanted,
                    cut.result,
                    final=folder,
                    inside="new",
                    what=artifact.title,
                    model=artifact.manifest.model,
                    distrusted=frozenset(f"{folder}/{entry.path}" for entry in damaged),
                    progress=progress,
                ).run()
        return PushResult(
            done.sent_bytes, len(files), False, done.reused_bytes, done.resumed_bytes, compressed=done.compressed
        )

    def put_folder(
        self,
        final: str,
        sources: Sequence[tuple[Path, FileEntry]],
        *,
        what: str,
        progress: Progress | None = None,
        finish: Callable[[str], None] | None = None,
    ) -> Uploaded:
        """Uploads files, verifies them there, and publishes them as one folder; one of that name is replaced.

        Args:
            final: the folder below the root.
            sources: files here, and their path in the folder, size and sha256.
            what: what it is, for errors.
            progress: whom to tell how it goes.
            finish: called with the absolute path of the verified, not yet published folder. What it leaves there is
                published, unless it raises.

        Raises:
            DeviceError: as `push`.
        """
        wanted = [_wanted(f"new/{entry.path}", local, entry) for local, entry in sources]
        with self._device.lock(f"upload of {what}"):
            return Upload(
                self._device,
                wanted,
                lambda: Cut(_with_chunks(wanted)),
                final=final,
                inside="new",
                what=what,
                progress=progress,
                finish=finish,
            ).run()

    def put_data(self, name: str, sources: Sequence[tuple[Path, FileEntry]], *, keeping: Sequence[str]) -> str:
        """Brings a folder of samples to the device, unless it is there; returns its path.

        Args:
            name: a sha256 over its content.
            sources: files here, and their path in the folder, size and sha256.
            keeping: names of others that stay. What else is kept there of samples goes first: it may need the space.

        Raises:
            DeviceError: as `push`.
        """
        final = f"data/{_checked(name)}"
        self.keep_data([*keeping, name])
        if self._differing(self._device.path(final), [entry for _, entry in sources], step="looking for the samples"):
            self.put_folder(final, sources, what="the samples")
        return self._device.path(final)

    def keep_data(self, names: Sequence[str]) -> None:
        """Removes all samples from the device but those of these names.

        Raises:
            DeviceError: the link failed.
        """
        self._device.script(KEEP_DATA, self._device.root, *map(_checked, names), step="making room for samples")

    def put_file(self, local: Path, sha256: str) -> str:
        """Brings the runner to the device, unless it is there; returns its path.

        Raises:
            DeviceError: as `push`.
        """
        name = f"{_checked(sha256)}{local.suffix}"
        entry = FileEntry(name, local.stat().st_size, sha256)
        if self._differing(self._device.path("runner"), [entry], step="looking for the runner"):
            wanted = [_wanted(name, local, entry)]
            with self._device.lock("upload of the runner"):
                Upload(
                    self._device,
                    wanted,
                    lambda: Cut(_with_chunks(wanted)),
                    final=f"runner/{name}",
                    inside=name,
                    what="the runner",
                ).run()
        return self._device.path("runner", name)

    def _differing(self, folder: str, files: Sequence[FileEntry], *, step: str) -> list[FileEntry]:
        """The files that are missing below a folder of the device or differ from their sha256."""
        bound = 60 + sum(entry.bytes for entry in files) / HASHED_BYTES_PER_S
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


def _wanted(path: str, local: Path, entry: FileEntry) -> WantedFile:
    return WantedFile(path, local, entry.bytes, entry.sha256)


def _with_chunks(files: Sequence[WantedFile]) -> list[WantedFile]:
    return [msgspec.structs.replace(file, chunks=chunks_of(file.local)) for file in files]


def _cut(files: Sequence[WantedFile]) -> Cut:
    """An artifact's files with their chunks, which are listed beside them on the device."""
    known = _with_chunks(files)
    listed = (chunk for file in known if file.path != f"new/{MANIFEST}" for chunk in file.chunks)
    return Cut(known, f"new/{CHUNKS}", chunk_list.encode(listed))


def _checked(artifact_id: str) -> str:
    if not is_id(artifact_id):
        raise ArtifactError(f"{artifact_id!r} is not an artifact's id.", remedy="An id is 64 hexadecimal digits.")
    return artifact_id
