"""What an environment is made of: env.json, whose sha256 is the environment's id (docs/formats/environment.md)."""

from __future__ import annotations

import hashlib

import msgspec

from edgekit.devices.environment.platforms import Platform
from edgekit.files import canonical_json

SCHEMA = 2
RECORD = "env.json"


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wheel, or a package of Debian. `whole` is False where only some of its files were taken."""

    name: str
    version: str
    file: str
    sha256: str
    whole: bool


class SiteFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file below site/."""

    sha256: str
    bytes: int


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An environment: for which platform and runtimes, of which packages, and every file's sha256."""

    platform: Platform
    runtimes: tuple[str, ...]
    packages: tuple[Package, ...]
    files: dict[str, SiteFile]
    schema: int = SCHEMA

    def encode(self) -> bytes:
        """The bytes of env.json: the same for the same content."""
        return canonical_json(msgspec.to_builtins(self))

    @property
    def id(self) -> str:
        """sha256 of env.json, in hex."""
        return hashlib.sha256(self.encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files.values())


_RECORD = msgspec.json.Decoder(Record)
"""Made here: msgspec 0.22 crashes when two threads look at a type for the first time at once."""


def read_record(environment_id: str, content: bytes) -> Record | None:
    """The record that has that id; None if these bytes are another, or none that this version reads."""
    if hashlib.sha256(content).hexdigest() != environment_id:
        return None
    try:
        record = _RECORD.decode(content)
    except msgspec.MsgspecError:
        return None
    return record if record.schema == SCHEMA else None
