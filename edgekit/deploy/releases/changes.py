"""What is staged in a repository: a release of artifacts, a promotion between channels, other keys for a role."""

from __future__ import annotations

import hashlib
import shutil
import time
from typing import TYPE_CHECKING, Any

from edgekit.artifact import MANIFEST, check_files
from edgekit.deploy.on_device import trust
from edgekit.deploy.releases.roles import TOP, Roles, check_role
from edgekit.devices import chunk_list
from edgekit.devices.chunks import chunks_of
from edgekit.errors import ReleaseError
from edgekit.files import canonical_json, write_file, writing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.deploy.releases.repository import Repository


def stage_release(
    repository: Repository, channel: str, artifacts: Sequence[Artifact], notes: str = ""
) -> trust.Release:
    """Stages a release: artifacts of one model, best first. Their files are copied into the repository now.

    Raises:
        ReleaseError: they are of several models, or there is no such channel.
        CorruptArtifactError: one is damaged.
        StorageError: they cannot be copied.
    """
    models = sorted({artifact.manifest.model for artifact in artifacts})
    if len(models) != 1:
        raise ReleaseError(
            f"A release is of one model, and these artifacts are of {', '.join(models) or 'none'}.",
            remedy="Make a release for each model.",
        )
    _check_channel(repository, channel)
    for artifact in artifacts:
        check_files(artifact)
    with repository.changing():
        released = tuple(_store(repository, artifact) for artifact in artifacts)
        return _stage(repository, channel, models[0], released, notes)


def promote(repository: Repository, model: str, source: str, destination: str) -> trust.Release:
    """Stages in one channel what another has published of a model: the same artifacts, to the bit.

    Raises:
        ReleaseError: the source has no published release of the model, or there is no such channel.
    """
    _check_channel(repository, destination)
    found = current_release(repository, source, model)
    if found is None:
        raise ReleaseError(
            f"The channel {source} has no published release of {model}.", remedy="Publish one there first."
        )
    with repository.changing():
        notes = found.notes or f"release {found.number} of {source}"
        return _stage(repository, destination, model, found.artifacts, notes)


def current_release(repository: Repository, channel: str, model: str) -> trust.Release | None:
    """What a channel has published of a model.

    Raises:
        ReleaseError: there is no such channel, or its document is lost.
    """
    _check_channel(repository, channel)
    metadata = repository.published(channel)
    target = metadata.signed.targets.get(f"{channel}/{model}.json") if metadata else None
    if target is None:
        return None
    path = repository.path / "targets" / channel / f"{target.hashes['sha256']}.{model}.json"
    try:
        return trust.parse(path.read_bytes())
    except (OSError, trust.UntrustedError) as error:
        raise ReleaseError(f"{path} cannot be read: {error}.", remedy="Publish the release anew.") from error


def stage_role(repository: Repository, role: str, keys: Roles) -> None:
    """Stages another set of keys, or another threshold, for a role; a channel that is new is added.

    Raises:
        ReleaseError: too few keys for the threshold, or the name is none.
    """
    from tuf.api.metadata import DelegatedRole, Metadata, Targets

    check_role(role, keys)
    with repository.changing():
        if role in TOP:
            root = repository.restage("root")
            for keyid in list(root.signed.roles[role].keyids):
                root.signed.revoke_key(keyid, role)
            for key in keys.keys:
                root.signed.add_key(key.tuf, role)
            root.signed.roles[role].threshold = keys.threshold
            repository.stage("root", root)
            if role == "targets":
                repository.stage("targets", repository.restage("targets"))
            return
        targets = repository.restage("targets")
        delegations = targets.signed.delegations
        is_new = role not in delegations.roles
        if is_new:
            delegations.roles[role] = DelegatedRole(role, [], keys.threshold, True, paths=[f"{role}/*"])
        for keyid in list(delegations.roles[role].keyids):
            targets.signed.revoke_key(keyid, role)
        for key in keys.keys:
            targets.signed.add_key(key.tuf, role)
        delegations.roles[role].threshold = keys.threshold
        repository.stage("targets", targets)
        channel = Metadata(Targets()) if is_new else repository.restage(role)
        if is_new:
            channel.signed.expires = targets.signed.expires
        repository.stage(role, channel)  # the new keys sign it; the old signatures would no longer count


def _stage(
    repository: Repository, channel: str, model: str, artifacts: tuple[trust.Released, ...], notes: str
) -> trust.Release:
    from tuf.api.metadata import TargetFile

    before = current_release(repository, channel, model)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    release = trust.Release(model, channel, before.number + 1 if before else 1, created, notes, artifacts)
    document: dict[str, Any] = {"schema": trust.SCHEMA, **release._asdict()}
    document["artifacts"] = [one._asdict() for one in artifacts]
    content = canonical_json(document)
    digest = hashlib.sha256(content).hexdigest()
    write_file(repository.path / "targets" / channel / f"{digest}.{model}.json", content)
    metadata = repository.restage(channel)
    name = f"{channel}/{model}.json"
    metadata.signed.targets[name] = TargetFile.from_data(name, content, ["sha256"])
    repository.stage(channel, metadata)
    return release


def _store(repository: Repository, artifact: Artifact) -> trust.Released:
    """Copies an artifact's files into the repository, by their sha256."""
    files = artifact.shipped_files()
    for entry in files:
        _copy(artifact.path / entry.path, _object(repository, entry.sha256))
    chunks = chunk_list.encode(
        chunk for entry in files if entry.path != MANIFEST for chunk in chunks_of(artifact.path / entry.path)
    )
    digest = hashlib.sha256(chunks).hexdigest()
    write_file(_object(repository, digest), chunks)
    manifest = artifact.manifest
    return trust.Released(
        artifact_id=artifact.id,
        title=f"{manifest.model} {manifest.recipe}",
        runtime=manifest.runtime,
        triple=manifest.recipe.triple,
        manifest_bytes=(artifact.path / MANIFEST).stat().st_size,
        size=sum(entry.bytes for entry in files),
        chunks=digest,
    )


def _object(repository: Repository, sha256: str) -> Path:
    return repository.path / "objects" / sha256[:2] / sha256


def _copy(source: Path, destination: Path) -> None:
    if destination.exists() and destination.stat().st_size == source.stat().st_size:
        return
    with writing(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        partial = destination.with_suffix(".part")
        shutil.copyfile(source, partial)
        partial.replace(destination)


def _check_channel(repository: Repository, channel: str) -> None:
    known = repository.channels()
    if channel not in known:
        raise ReleaseError(
            f"{repository.path} has no channel {channel!r}; it has {', '.join(known) or 'none'}.",
            remedy="Add one with `edgekit release role CHANNEL --key FILE`.",
        )
