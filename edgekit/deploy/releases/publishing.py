"""Publishing: what is staged and signed becomes visible, by one rename.

New files come first, under names with their versions, which nobody reads yet; then a snapshot that names them all; then
the timestamp, which clients begin with. Killed before that, clients see the old state, and it can be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.deploy.releases import signatures
from edgekit.deploy.releases.files import to_bytes
from edgekit.deploy.releases.roles import valid_until
from edgekit.errors import ReleaseError
from edgekit.files import write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.deploy.releases.keys import Key
    from edgekit.deploy.releases.repository import Repository


def publish(repository: Repository, keys: Sequence[Key]) -> list[str]:
    """Makes what is staged visible to clients; with nothing staged, renews the timestamp and the snapshot.

    Args:
        repository: nobody else changes it meanwhile.
        keys: those of the snapshot and the timestamp, which are made anew.

    Returns:
        The roles that were published.

    Raises:
        ReleaseError: signatures are missing. Nothing changed.
    """
    staged = repository.staged_roles()
    _check_signatures(repository, staged)
    new, timestamp = _new_files(repository, staged, keys)
    for name, content in new.items():
        write_file(repository.path / "metadata" / name, content)
    write_file(repository.path / "metadata" / "timestamp.json", timestamp)
    for role in staged:
        (repository.path / "staged" / f"{role}.json").unlink()
    return [*staged, "snapshot", "timestamp"]


def _check_signatures(repository: Repository, staged: Sequence[str]) -> None:
    for role in staged:
        state = signatures.state(repository, role)
        if not state.complete:
            raise ReleaseError(
                f"{role} has {len(state.signed_by)} of the {state.threshold} signatures that it needs.",
                remedy=f"Have `edgekit release sign` run with the key of {' or '.join(state.missing)}.",
            )


def _new_files(repository: Repository, staged: Sequence[str], keys: Sequence[Key]) -> tuple[dict[str, bytes], bytes]:
    """The files to write, by name, the snapshot last; and the timestamp."""
    from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

    root = repository.newest("root").signed
    new = {}
    for role in staged:
        metadata = repository.newest(role)
        new[f"{metadata.signed.version}.{role}.json"] = to_bytes(metadata)
    snapshot = Snapshot(version=repository.next_version("snapshot"), expires=valid_until("snapshot"), meta={})
    for role in ["targets", *repository.channels()]:
        metadata = repository.newest(role)
        snapshot.meta[f"{role}.json"] = MetaFile.from_data(metadata.signed.version, to_bytes(metadata), ["sha256"])
    content = to_bytes(signatures.sign_anew("snapshot", Metadata(snapshot), keys, root))
    new[f"{snapshot.version}.snapshot.json"] = content
    timestamp = Timestamp(version=repository.next_version("timestamp"), expires=valid_until("timestamp"))
    timestamp.snapshot_meta = MetaFile.from_data(snapshot.version, content, ["sha256"])
    return new, to_bytes(signatures.sign_anew("timestamp", Metadata(timestamp), keys, root))
