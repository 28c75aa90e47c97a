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
from typing import TYPE_CHECKING

import msgspec

from edgekit.artifact import FileEntry
from edgekit.devices.cutting import cutting, cutting_artifact
from edgekit.devices.plan import WantedFile
from edgekit.devices.scripts.files import DIGESTS, KEEP_DATA
from edgekit.devices.upload import HASHED_BYTES_PER_S, Upload
from edgekit.devices.upload_errors import wrong_answer
from edgekit.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.devices.device import Device
    from edgekit.devices.progress import Progress, Uploaded

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
        wanted = [_wanted(f"new/{entry.path}", artifact.path / entry.path, entry) for entry in files]
        done = Upload(
            self._device,
            wanted,
            cutting_artifact(wanted),
            final=f"store/{_checked(artifact.id)}",
            inside="new",
            what=artifact.title,
            model=artifact.manifest.model,
            progress=progress,
        ).run()
        if done is None:
            return PushResult(0, 0, True)
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
        done = Upload(
            self._device,
            wanted,
            cutting(wanted),
            final=final,
            inside="new",
            what=what,
            unless_there=False,
            progress=progress,
            finish=finish,
        ).run()
        assert done is not None
        return done

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
        wanted = [_wanted(f"new/{entry.path}", local, entry) for local, entry in sources]
        Upload(
            self._device,
            wanted,
            cutting(wanted),
            final=final,
            inside="new",
            what="the samples",
        ).run()
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
        wanted = [_wanted(name, local, FileEntry(name, local.stat().st_size, sha256))]
        Upload(
            self._device,
            wanted,
            cutting(wanted),
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
            raise wrong_answer(self._device.name, len(lines), len(files), step)
        return [entry for entry, line in zip(files, lines, strict=True) if line[:64] != entry.sha256]


def _wanted(path: str, local: Path, entry: FileEntry) -> WantedFile:
    return WantedFile(path, local, entry.bytes, entry.sha256)


def _checked(artifact_id: str) -> str:
    if not is_id(artifact_id):
        raise ArtifactError(f"{artifact_id!r} is not an artifact's id.", remedy="An id is 64 hexadecimal digits.")
    return artifact_id
