"""A release repository: its roles, what is staged, signatures, publishing.

Every change goes the same way. It is staged as the next version of a role's metadata, unsigned; `sign` adds the
signatures of the keys at hand, today here and tomorrow on another machine (the folder `staged` can be carried there);
`publish` checks that every staged role has as many signatures as it asks for, and writes new files, then the snapshot,
then the timestamp by one rename. Killed before that rename, clients see the old state, and `publish` can be repeated.

Source: The Update Framework's specification 1.0.31 (consistent snapshots, delegations), by way of python-tuf's metadata
API.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.deploy.on_device.trust import is_channel
from edgekit.deploy.releases.keys import NAME_FIELD, Key, PublicKey
from edgekit.errors import ReleaseError
from edgekit.files import write_file, writing
from edgekit.plugins import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tuf.api.metadata import Metadata

TOP = ("root", "targets", "snapshot", "timestamp")
DAYS = {"root": 365, "targets": 365, "snapshot": 30, "timestamp": 7}
"""How long a role's metadata is valid, in days. A channel's: 90."""
CHANNEL_DAYS = 90


class Roles(msgspec.Struct, frozen=True):
    """Whom a role trusts: `threshold` of these keys must sign."""

    keys: tuple[PublicKey, ...]
    threshold: int = 1


class RoleState(msgspec.Struct, frozen=True):
    """One role, for people. `signed_by` and `missing` are of the staged version, if there is one."""

    role: str
    version: int
    expires: str
    threshold: int
    staged: bool
    signed_by: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether it has as many signatures as it asks for."""
        return len(self.signed_by) >= self.threshold


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
        root = Root(expires=_in_days(DAYS["root"]), consistent_snapshot=True)
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
        targets = Targets(expires=_in_days(DAYS["targets"]), delegations=Delegations(keys, delegated))
        repository.stage("root", Metadata(root))
        repository.stage("targets", Metadata(targets))
        for name in channels:
            repository.stage(name, Metadata(Targets(expires=_in_days(CHANNEL_DAYS))))
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
            return _read(folder / f"{max(versions)}.root.json") if versions else None
        timestamp = _read(folder / "timestamp.json")
        if timestamp is None or role == "timestamp":
            return timestamp
        snapshot = _read(folder / f"{timestamp.signed.snapshot_meta.version}.snapshot.json")
        if snapshot is None or role == "snapshot":
            return snapshot
        meta = snapshot.signed.meta.get(f"{role}.json")
        return _read(folder / f"{meta.version}.{role}.json") if meta else None

    def staged(self, role: str) -> Metadata[Any] | None:
        """A role's staged metadata."""
        return _read(self.path / "staged" / f"{role}.json")

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
        before = self.published(role)
        metadata.signed.version = before.signed.version + 1 if before else 1
        metadata.signatures.clear()
        _write(self.path / "staged" / f"{role}.json", metadata)

    def restage(self, role: str, days: int | None = None) -> Metadata[Any]:
        """A copy of a role's newest metadata to change and `stage`, valid from now on."""
        found = self.newest(role)
        found.signed.expires = _in_days(days or DAYS.get(role, CHANNEL_DAYS))
        return found

    def sign(self, keys: Sequence[Key]) -> dict[str, list[str]]:
        """Adds signatures to what is staged, by every key that a role trusts.

        Returns:
            By role, the names of the keys that signed now.

        Raises:
            ReleaseError: nothing is staged, or none of the keys is trusted for it.
        """
        done: dict[str, list[str]] = {}
        staged = self._staged_roles()
        with self.changing():
            for role in staged:
                metadata = self.newest(role)
                for key in keys:
                    if key.public.id in self._trusted(role):
                        metadata.sign(key.signer, append=True)
                        done.setdefault(role, []).append(key.public.name)
                if role in done:
                    _write(self.path / "staged" / f"{role}.json", metadata)
        if not done:
            what = f"None of these keys is trusted for {', '.join(staged)}" if staged else "Nothing is staged"
            raise ReleaseError(f"{what} in {self.path}.", remedy="`edgekit release status` shows who has to sign what.")
        return done

    def states(self) -> list[RoleState]:
        """Every role's state; the root first."""
        names = [name for name in [*TOP[:2], *self.channels(), *TOP[2:]] if self.staged(name) or self.published(name)]
        return [self._state(name) for name in names]

    def publish(self, keys: Sequence[Key]) -> list[str]:
        """Makes what is staged visible to clients; with nothing staged, renews the timestamp and the snapshot.

        Args:
            keys: those of the snapshot and the timestamp, which are made anew.

        Returns:
            The roles that were published.

        Raises:
            ReleaseError: signatures are missing. Nothing changed.
        """
        from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

        with self.changing():
            staged = self._staged_roles()
            for role in staged:
                state = self._state(role)
                if not state.complete:
                    raise ReleaseError(
                        f"{role} has {len(state.signed_by)} of the {state.threshold} signatures that it needs.",
                        remedy=f"Have `edgekit release sign` run with the key of {' or '.join(state.missing)}.",
                    )
            root = self.newest("root").signed
            new = {f"{self.newest(role).signed.version}.{role}.json": _bytes(self.newest(role)) for role in staged}
            snapshot = Snapshot(expires=_in_days(DAYS["snapshot"]))
            snapshot.meta = {
                f"{role}.json": MetaFile.from_data(
                    self.newest(role).signed.version, _bytes(self.newest(role)), ["sha256"]
                )
                for role in ["targets", *self.channels()]
            }
            snapshot.version = self._next("snapshot")
            signed_snapshot = self._signed("snapshot", Metadata(snapshot), keys, root)
            timestamp = Timestamp(expires=_in_days(DAYS["timestamp"]))
            timestamp.version = self._next("timestamp")
            content = _bytes(signed_snapshot)
            timestamp.snapshot_meta = MetaFile.from_data(snapshot.version, content, ["sha256"])
            signed_timestamp = self._signed("timestamp", Metadata(timestamp), keys, root)
            new[f"{snapshot.version}.snapshot.json"] = content
            for name, data in new.items():
                write_file(self.path / "metadata" / name, data)
            write_file(self.path / "metadata" / "timestamp.json", _bytes(signed_timestamp))
            for role in staged:
                (self.path / "staged" / f"{role}.json").unlink()
        return [*staged, "snapshot", "timestamp"]

    def root_bytes(self) -> bytes:
        """The newest published root: what a device begins to trust with.

        Raises:
            ReleaseError: nothing was published yet.
        """
        found = self.published("root")
        if found is None:
            raise ReleaseError(f"{self.path} was never published.", remedy="Sign it, then `edgekit release publish`.")
        return _bytes(found)

    def _next(self, role: str) -> int:
        before = self.published(role)
        return before.signed.version + 1 if before else 1

    def _signed(self, role: str, metadata: Metadata[Any], keys: Sequence[Key], root: Any) -> Metadata[Any]:
        for key in keys:
            if key.public.id in root.roles[role].keyids:
                metadata.sign(key.signer, append=True)
        if not root.get_verification_result(role, metadata.signed_bytes, metadata.signatures).verified:
            names = [_name(root.keys[keyid]) for keyid in root.roles[role].keyids]
            raise ReleaseError(
                f"{role} needs {root.roles[role].threshold} of the keys of {', '.join(names)}, and did not get them.",
                remedy="Name them with --key.",
            )
        return metadata

    def _staged_roles(self) -> list[str]:
        folder = self.path / "staged"
        return sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []

    def _delegator(self, role: str) -> Any:
        return self.newest("root" if role in TOP else "targets").signed

    def _trusted(self, role: str) -> set[str]:
        delegator = self._delegator(role)
        found = set(delegator.get_delegated_role(role).keyids)
        if role == "root" and (before := self.published("root")) is not None:
            found |= set(before.signed.roles["root"].keyids)  # a new root is signed by the old keys too
        return found

    def _state(self, role: str) -> RoleState:
        metadata, delegator = self.newest(role), self._delegator(role)
        threshold = delegator.get_delegated_role(role).threshold
        result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
        signed, unsigned = dict(result.signed), dict(result.unsigned)
        staged = self.staged(role) is not None
        if role == "root" and staged and (before := self.published("root")) is not None:
            old = before.signed.get_verification_result("root", metadata.signed_bytes, metadata.signatures)
            if not old.verified:  # as long as the old keys have not agreed, the new ones do not count
                signed, unsigned, threshold = (
                    dict(old.signed),
                    dict(old.unsigned),
                    before.signed.roles["root"].threshold,
                )
        return RoleState(
            role, metadata.signed.version, metadata.signed.expires.strftime("%Y-%m-%d"), threshold, staged,
            tuple(sorted(map(_name, signed.values()))), tuple(sorted(map(_name, unsigned.values()))),
        )  # fmt: skip


def check_role(name: str, role: Roles) -> None:
    """Raises ReleaseError if a role cannot have that name or that threshold."""
    if name not in TOP and not is_channel(name):
        raise ReleaseError(
            f"{name!r} cannot be a channel's name.",
            remedy="Use lower-case letters, digits and `-`, such as beta or stable.",
        )
    if not 1 <= role.threshold <= len({key.id for key in role.keys}):
        raise ReleaseError(
            f"{name} asks for {role.threshold} signatures and has {len(role.keys)} keys.",
            remedy="Give it more keys, or a lower threshold.",
        )


def _name(key: Any) -> str:
    return str(key.unrecognized_fields.get(NAME_FIELD, key.keyid[:12]))


def _in_days(days: int) -> datetime:
    return (datetime.now(timezone.utc) + timedelta(days=days)).replace(microsecond=0)


def _read(path: Path) -> Metadata[Any] | None:
    from tuf.api.exceptions import StorageError as TufStorageError
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError

    try:
        return Metadata.from_file(str(path)) if path.exists() else None
    except (DeserializationError, TufStorageError, OSError) as error:
        raise ReleaseError(
            f"{path} cannot be read: {error}.", remedy="Restore it, or publish from another copy."
        ) from error


def _bytes(metadata: Metadata[Any]) -> bytes:
    from tuf.api.serialization.json import JSONSerializer

    return metadata.to_bytes(JSONSerializer(compact=True))


def _write(path: Path, metadata: Metadata[Any]) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, _bytes(metadata))


def _require() -> None:
    require(("tuf", "securesystemslib", "cryptography"), extra="release", purpose="signing and checking releases")
