"""A release repository: what is published, what is staged as the next version, and the lock around changes.

Every change goes the same way. It is staged as the next version of a role's metadata, unsigned; `sign` adds the
signatures of the keys at hand, today here and tomorrow on another machine (the folder `staged` can be carried there);
`publish` checks that every staged role has as many signatures as it asks for, and writes new files, then the snapshot,
then the timestamp by one rename. Killed before that rename, clients see the old state, and `publish` can be repeated.

Source: The Update Framework's specification 1.0.31 (consistent snapshots, delegations), by way of python-tuf's metadata
API. Who has to sign, and who has, is told by signatures.py; what publishing writes, by publishing.py.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgekit.deploy.releases import publishing, signatures
from edgekit.deploy.releases.files import read_metadata, to_bytes, write_metadata
from edgekit.deploy.releases.roles import TOP, RoleState, check_role, valid_until
from edgekit.errors import ReleaseError
from edgekit.files import writing
from edgekit.plugins import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tuf.api.metadata import Metadata

    from edgekit.deploy.releases.keys import Key
    from edgekit.deploy.releases.roles import Roles


def create_repository(path: Path, roles: Mapping[str, Roles]) -> Repository:
    """Stages the first version of every role. Sign and publish it.

    Args:
        path: a folder that is empty or not there.
        roles: root, targets, snapshot and timestamp, and one entry a channel.

    Raises:
        ReleaseError: a role has too few keys for its threshold, a channel's name is none, or something is there.
        MissingPackageError: the extra `release` is not installed.
    """
    _require()
    from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Targets

    if path.exists() and any(path.iterdir()):
        raise ReleaseError(f"{path} is not empty.", remedy="Name a new folder for the repository.")
    channels = [name for name in roles if name not in TOP]
    for name, role in roles.items():
        check_role(name, role)
    if missing := [name for name in TOP if name not in roles]:
        raise ReleaseError(
            f"A repository needs keys for {', '.join(missing)}.", remedy="Name them with --key ROLE=FILE."
        )
    repository = Repository(path)
    with repository.changing():
        root = Root(expires=valid_until("root"), consistent_snapshot=True)
        for name in TOP:
            for key in roles[name].keys:
                root.add_key(key.tuf, name)
            root.roles[name].threshold = roles[name].threshold
        delegated = {
            name: DelegatedRole(
                name, [k.id for k in roles[name].keys], roles[name].threshold, True, paths=[f"{name}/*"]
            )
            for name in channels
        }
        keys = {key.id: key.tuf for name in channels for key in roles[name].keys}
        targets = Targets(expires=valid_until("targets"), delegations=Delegations(keys, delegated))
        repository.stage("root", Metadata(root))
        repository.stage("targets", Metadata(targets))
        for name in channels:
            repository.stage(name, Metadata(Targets(expires=valid_until(name))))
    return repository


def open_repository(path: Path) -> Repository:
    """An existing repository.

    Raises:
        ReleaseError: there is none.
        MissingPackageError: the extra `release` is not installed.
    """
    _require()
    if not any((path / folder).is_dir() for folder in ("metadata", "staged")):
        raise ReleaseError(f"{path} is no release repository.", remedy="Make one with `edgekit release init`.")
    return Repository(path)


class Repository:
    """A repository in a folder; see the module."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keeps other processes from changing the repository during the block.

        Raises:
            ReleaseError: another one is changing it.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ReleaseError(
                    f"Another program is changing {self.path}.", remedy="Wait for it to end, and try again."
                ) from error
            yield

    def published(self, role: str) -> Metadata[Any] | None:
        """A role's metadata as clients see it: the timestamp says which snapshot, and the snapshot which of the others.

        Files of a publication that was interrupted lie beside it, and nobody sees them; a root is seen when it is
        there.
        """
        folder = self.path / "metadata"
        if role == "root":
            versions = [int(v) for f in folder.glob("*.root.json") if (v := f.name.partition(".")[0]).isdigit()]
            return read_metadata(folder / f"{max(versions)}.root.json") if versions else None
        timestamp = read_metadata(folder / "timestamp.json")
        if timestamp is None or role == "timestamp":
            return timestamp
        snapshot = read_metadata(folder / f"{timestamp.signed.snapshot_meta.version}.snapshot.json")
        if snapshot is None or role == "snapshot":
            return snapshot
        meta = snapshot.signed.meta.get(f"{role}.json")
        return read_metadata(folder / f"{meta.version}.{role}.json") if meta else None

    def staged(self, role: str) -> Metadata[Any] | None:
        """A role's staged metadata."""
        return read_metadata(self.path / "staged" / f"{role}.json")

    def newest(self, role: str) -> Metadata[Any]:
        """What is staged, else what is published.

        Raises:
            ReleaseError: there is no such role.
        """
        found = self.staged(role) or self.published(role)
        if found is None:
            known = ", ".join([*TOP, *self.channels()])
            raise ReleaseError(f"{self.path} has no role {role!r}.", remedy=f"It has {known}.")
        return found

    def channels(self) -> list[str]:
        """The channels' names, sorted."""
        targets = self.staged("targets") or self.published("targets")
        delegations = targets.signed.delegations if targets else None
        return sorted(delegations.roles) if delegations and delegations.roles else []

    def stage(self, role: str, metadata: Metadata[Any]) -> None:
        """Stages metadata, without signatures, as the version after the published one."""
        metadata.signed.version = self.next_version(role)
        metadata.signatures.clear()
        write_metadata(self.path / "staged" / f"{role}.json", metadata)

    def restage(self, role: str) -> Metadata[Any]:
        """A copy of a role's newest metadata to change and `stage`, valid from now on."""
        found = self.newest(role)
        found.signed.expires = valid_until(role)
        return found

    def sign(self, keys: Sequence[Key]) -> dict[str, list[str]]:
        """Adds signatures to what is staged, by every key that a role trusts: see `signatures.sign`."""
        with self.changing():
            return signatures.sign(self, keys)

    def states(self) -> list[RoleState]:
        """Every role's state; the root first."""
        names = [name for name in [*TOP[:2], *self.channels(), *TOP[2:]] if self.staged(name) or self.published(name)]
        return [signatures.state(self, name) for name in names]

    def publish(self, keys: Sequence[Key]) -> list[str]:
        """Makes what is staged visible to clients: see `publishing.publish`."""
        with self.changing():
            return publishing.publish(self, keys)

    def root_bytes(self) -> bytes:
        """The newest published root: what a device begins to trust with.

        Raises:
            ReleaseError: nothing was published yet.
        """
        found = self.published("root")
        if found is None:
            raise ReleaseError(f"{self.path} was never published.", remedy="Sign it, then `edgekit release publish`.")
        return to_bytes(found)

    def next_version(self, role: str) -> int:
        """The version after the published one."""
        before = self.published(role)
        return before.signed.version + 1 if before else 1

    def staged_roles(self) -> list[str]:
        """The roles of which something is staged, sorted."""
        folder = self.path / "staged"
        return sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []


def _require() -> None:
    require(("tuf", "securesystemslib", "cryptography"), extra="release", purpose="signing and checking releases")
