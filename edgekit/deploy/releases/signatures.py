"""Who may sign a role's metadata, who has, and whether that is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.deploy.releases.files import write_metadata
from edgekit.deploy.releases.keys import NAME_FIELD
from edgekit.deploy.releases.roles import TOP, RoleState
from edgekit.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuf.api.metadata import Metadata

    from edgekit.deploy.releases.keys import Key
    from edgekit.deploy.releases.repository import Repository


def sign(repository: Repository, keys: Sequence[Key]) -> dict[str, list[str]]:
    """Adds signatures to what is staged, by every key that a role trusts.

    Returns:
        By role, the names of the keys that signed now.

    Raises:
        ReleaseError: nothing is staged, or none of the keys is trusted for it.
    """
    done: dict[str, list[str]] = {}
    staged = repository.staged_roles()
    for role in staged:
        metadata = repository.newest(role)
        for key in keys:
            if key.public.id in _trusted(repository, role):
                metadata.sign(key.signer, append=True)
                done.setdefault(role, []).append(key.public.name)
        if role in done:
            write_metadata(repository.path / "staged" / f"{role}.json", metadata)
    if not done:
        what = f"None of these keys is trusted for {', '.join(staged)}" if staged else "Nothing is staged"
        raise ReleaseError(
            f"{what} in {repository.path}.", remedy="`edgekit release status` shows who has to sign what."
        )
    return done


def sign_anew(role: str, metadata: Metadata[Any], keys: Sequence[Key], root: Any) -> Metadata[Any]:
    """Signs what `root` itself says who signs, all at once, as the snapshot and the timestamp are signed.

    Raises:
        ReleaseError: these keys are not enough.
    """
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


def state(repository: Repository, role: str) -> RoleState:
    """How a role stands: what is staged, else what is published.

    Raises:
        ReleaseError: there is no such role.
    """
    metadata, delegator = repository.newest(role), _delegator(repository, role)
    threshold = delegator.get_delegated_role(role).threshold
    result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    signed, unsigned = dict(result.signed), dict(result.unsigned)
    staged = repository.staged(role) is not None
    if role == "root" and staged and (before := repository.published("root")) is not None:
        old = before.signed.get_verification_result("root", metadata.signed_bytes, metadata.signatures)
        if not old.verified:  # as long as the old keys have not agreed, the new ones do not count
            signed, unsigned = dict(old.signed), dict(old.unsigned)
            threshold = before.signed.roles["root"].threshold
    return RoleState(
        role, metadata.signed.version, metadata.signed.expires.strftime("%Y-%m-%d"), threshold, staged,
        tuple(sorted(map(_name, signed.values()))), tuple(sorted(map(_name, unsigned.values()))),
    )  # fmt: skip


def _delegator(repository: Repository, role: str) -> Any:
    return repository.newest("root" if role in TOP else "targets").signed


def _trusted(repository: Repository, role: str) -> set[str]:
    found = set(_delegator(repository, role).get_delegated_role(role).keyids)
    if role == "root" and (before := repository.published("root")) is not None:
        found |= set(before.signed.roles["root"].keyids)  # a new root is signed by the old keys too
    return found


def _name(key: Any) -> str:
    return str(key.unrecognized_fields.get(NAME_FIELD, key.keyid[:12]))
