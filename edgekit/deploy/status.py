"""What is on a device: every model, its current and previous artifact, and whether the current one is whole.

What a device says is checked before it is used: a name or link that EdgeKit would not have written is left out, and a
manifest counts only if its sha256 is the id that it is stored under.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from edgekit.artifact import MANIFEST, FileEntry, Manifest, read_manifest
from edgekit.deploy.on_device import record
from edgekit.deploy.scripts import LOGS, MODELS
from edgekit.devices.scripts.files import READ_FILE
from edgekit.devices.store import Store, is_id
from edgekit.errors import ArtifactError, RemoteCommandError
from edgekit.specs import is_model_name

if TYPE_CHECKING:
    from edgekit.devices import Device

_LINK = re.compile(r"\.\./\.\./store/([0-9a-f]{64})")
_SWITCH = re.compile(r"([0-9a-f]{64}) ([0-9a-f]{64})")


class Links(msgspec.Struct, frozen=True):
    """Where a model's links lead."""

    current: str | None
    previous: str | None


class ModelStatus(msgspec.Struct, frozen=True):
    """One model on a device. `whole`: every file of the current artifact was hashed there just now and is right.

    `payload_bytes` is None where the manifest is lost; `title` is then the model's name. `failures` of the current
    artifact were reported on the device since it became current; `fell_back_from` is what was left there for it.
    """

    model: str
    current_id: str | None
    previous_id: str | None
    title: str
    payload_bytes: int | None
    whole: bool
    failures: int = 0
    fell_back_from: str | None = None
    log: tuple[record.Entry, ...] = ()


def status(device: Device) -> list[ModelStatus]:
    """The models of a device, by name.

    Raises:
        DeviceError: the link or a command failed.
    """
    found = []
    models = read_links(device)
    logs = _read_logs(device, sorted(models)) if models else {}
    for model, links in sorted(models.items()):
        log = logs.get(model, [])
        manifest, whole = inspect(device, links.current) if links.current else (None, False)
        found.append(
            ModelStatus(
                model=model,
                current_id=links.current,
                previous_id=links.previous,
                title=f"{manifest.model} {manifest.recipe}" if manifest else model,
                payload_bytes=manifest.payload_bytes if manifest else None,
                whole=whole,
                failures=record.failures(log, links.current, 0) if links.current else 0,
                fell_back_from=record.fell_back_from(log, links.current),
                log=tuple(log),
            )
        )
    return found


def read_links(device: Device) -> dict[str, Links]:
    """Every model's links."""
    answer = device.script(MODELS, device.root, step="listing its models").decode("utf-8", "replace")
    found = {}
    for line in answer.splitlines():
        fields = line.split("\t")
        if len(fields) == 4 and is_model_name(fields[0]):
            current, previous = (m[1] if (m := _LINK.fullmatch(link)) else None for link in fields[1:3])
            interrupted = _SWITCH.fullmatch(fields[3])
            if interrupted and interrupted[1] == current:  # its last step is missing: see on_device/links.py
                previous = interrupted[2]
            found[fields[0]] = Links(current, previous if previous != current else None)
    return found


def _read_logs(device: Device, models: list[str]) -> dict[str, list[record.Entry]]:
    answer = device.script(LOGS, device.root, *models, step="reading its models' logs").decode("utf-8", "replace")
    texts: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in answer.split("\n"):
        if line.startswith("= ") and line[2:] in models:
            lines = texts.setdefault(line[2:], [])
        else:
            lines.append(line)
    return {model: record.parse("\n".join(some)) for model, some in texts.items()}


def inspect(device: Device, artifact_id: str) -> tuple[Manifest | None, bool]:
    """An artifact's manifest as the device has it (None if it is another), and whether all files are right."""
    assert is_id(artifact_id)
    store = Store(device)
    try:
        content = device.script(
            READ_FILE,
            f"{store.artifact_path(artifact_id)}/{MANIFEST}",
            step=f"reading the manifest of {artifact_id[:12]}",
        )
    except RemoteCommandError:
        return None, False
    if hashlib.sha256(content).hexdigest() != artifact_id:
        return None, False
    try:
        manifest = read_manifest(content, where=f"the manifest of {artifact_id[:12]} on {device.target.name}")
    except ArtifactError:  # of another version of EdgeKit: it can be listed, and not verified
        return None, False
    files = [FileEntry(MANIFEST, len(content), artifact_id), *manifest.files]
    return manifest, store.has(artifact_id, files)
