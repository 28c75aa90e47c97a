"""Metadata as files: python-tuf's objects to bytes and back, each written by one rename."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.errors import ReleaseError
from edgekit.files import write_file, writing

if TYPE_CHECKING:
    from pathlib import Path

    from tuf.api.metadata import Metadata


def read_metadata(path: Path) -> Metadata[Any] | None:
    """What a file has; None if there is none.

    Raises:
        ReleaseError: it cannot be read.
    """
    from tuf.api.exceptions import StorageError as TufStorageError
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError

    try:
        return Metadata.from_file(str(path)) if path.exists() else None
    except (DeserializationError, TufStorageError, OSError) as error:
        raise ReleaseError(
            f"{path} cannot be read: {error}.", remedy="Restore it, or publish from another copy."
        ) from error


def to_bytes(metadata: Metadata[Any]) -> bytes:
    """As the file has it: what is signed does not depend on it, and what is hashed does."""
    from tuf.api.serialization.json import JSONSerializer

    return metadata.to_bytes(JSONSerializer(compact=True))


def write_metadata(path: Path, metadata: Metadata[Any]) -> None:
    """Writes a file, and the folders above it."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, to_bytes(metadata))
