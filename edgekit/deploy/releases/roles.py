"""Roles: whom each trusts, for how long its word holds, and how it stands; values and rules, no files."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import msgspec

from edgekit.deploy.on_device.trust import is_channel
from edgekit.deploy.releases.keys import PublicKey
from edgekit.errors import ReleaseError

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


def valid_until(role: str) -> datetime:
    """Until when a role's metadata is valid that is made now."""
    return (datetime.now(timezone.utc) + timedelta(days=DAYS.get(role, CHANNEL_DAYS))).replace(microsecond=0)
