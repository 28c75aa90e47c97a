"""Signed releases: a repository of artifacts with The Update Framework's roles, as static files (docs/releases.md).

    REPO/metadata/      the roles' signed metadata: root, targets, one a channel, snapshot, timestamp
    REPO/targets/       release documents: CHANNEL/HASH.MODEL.json
    REPO/objects/       the artifacts' files, by sha256
    REPO/staged/        what waits for signatures; not for the web server

What is to change is staged, signed by as many keys as its role asks for, wherever those keys are, and then published:
new files first, the timestamp last, so a client sees all of it or nothing. Clients are `edgekit.deploy.on_device.pull`
on the device, and the host, which pushes what was released over SSH and ADB by the same signatures.

    keys.py         keys as files
    roles.py        whom a role trusts, and for how long
    repository.py   what is published and what is staged; create, open
    changes.py      what is staged: a release, a promotion, another key
    signatures.py   who has to sign, and who has
    publishing.py   what is staged becomes visible
    files.py        metadata to bytes and back
"""

from edgekit.deploy.releases.keys import Key, PublicKey, generate_key, read_key, read_public_key
from edgekit.deploy.releases.repository import Repository, create_repository, open_repository
from edgekit.deploy.releases.roles import Roles

__all__ = [
    "Key", "PublicKey", "Repository", "Roles", "create_repository", "generate_key", "open_repository", "read_key",
    "read_public_key",
]  # fmt: skip
