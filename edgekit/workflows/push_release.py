"""Pushes what a channel released to a device over SSH or ADB, by the same signatures by which devices pull.

The host is the client then: it checks the repository's metadata with the client that devices have, fetches the artifact
into a store of its own in the cache, and deploys it with the proof that every deployment has.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edgekit.artifact import open_artifact
from edgekit.deploy.on_device.fetch import fetch
from edgekit.deploy.on_device.links import StoreError
from edgekit.deploy.on_device.trust import Repository
from edgekit.errors import ReleaseError, UnsuitableArtifactError
from edgekit.files import cache_folder, writing
from edgekit.workflows.activate import deploy_proven

if TYPE_CHECKING:
    from edgekit.deploy import Deployment
    from edgekit.deploy.on_device.trust import Release
    from edgekit.devices import Device
    from edgekit.devices.progress import Progress


def released(url: str, root_metadata: bytes, channel: str, model: str) -> tuple[Repository, Release]:
    """What a channel has of a model, checked.

    Args:
        url: of the repository: http, https or file.
        root_metadata: what trust begins with; what the cache saw later of the same root counts as well.
        channel: such as `stable`.
        model: the model's name.

    Raises:
        ReleaseError: it cannot be reached, or is not to be trusted.
    """
    seen = hashlib.sha256(url.encode() + b"\0" + root_metadata).hexdigest()[:16]
    repository = Repository(url, str(cache_folder() / "releases" / seen / "metadata"), root_metadata)
    try:
        return repository, repository.release(channel, model)
    except StoreError as error:
        raise _refused(error) from error


def push_release(
    device: Device,
    repository: Repository,
    release: Release,
    recipe: str | None = None,
    progress: Progress | None = None,
) -> Deployment:
    """Deploys the first artifact of a release that fits a device, or the one of a recipe.

    Raises:
        ReleaseError: there is none, or a file is not what was signed.
        ActivationRefusedError, DeviceError: see `edgekit.workflows.activate.deploy_proven`.
    """
    store = cache_folder() / "releases" / "artifacts"
    candidates = [one for one in release.artifacts if recipe is None or one.title.split(" ")[-1] == recipe]
    if not candidates:
        raise ReleaseError(
            f"Release {release.number} of {release.model} has no {recipe}.",
            remedy=f"It has {', '.join(one.title.split(' ')[-1] for one in release.artifacts)}.",
        )
    unsuitable: UnsuitableArtifactError | None = None
    for one in candidates:
        try:
            with writing(store):
                store.mkdir(parents=True, exist_ok=True)
                fetch(str(store), repository, one, release.model)
        except StoreError as error:
            raise _refused(error) from error
        try:
            return deploy_proven(device, open_artifact(store / "store" / one.artifact_id), progress=progress)
        except UnsuitableArtifactError as error:
            unsuitable = error
    assert unsuitable is not None
    raise unsuitable


def _refused(error: StoreError) -> ReleaseError:
    text = str(error)
    return ReleaseError(
        text[0].upper() + text[1:],
        remedy="Nothing was deployed. Check the address, and that this is the repository whose root you trust.",
    )
