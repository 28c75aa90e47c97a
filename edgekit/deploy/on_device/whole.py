"""Whether a stored artifact is what its id says: that is its manifest's sha256, and the manifest has every file's."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Dict

_MOST_MANIFEST_BYTES = 16 << 20


def manifest(root: str, artifact_id: str) -> Dict[str, Any] | None:
    """An artifact's manifest, or None if it is missing or another."""
    try:
        with open(os.path.join(root, "store", artifact_id, "manifest.json"), "rb") as file:
            content = file.read(_MOST_MANIFEST_BYTES)
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != artifact_id:
        return None
    found = json.loads(content)
    return found if isinstance(found, dict) else None


def is_whole(root: str, artifact_id: str) -> bool:
    """Whether every file of an artifact is there and has its sha256. Reads all of it."""
    found = manifest(root, artifact_id)
    if found is None:
        return False
    folder = os.path.join(root, "store", artifact_id)
    return all(sha256(os.path.join(folder, entry["path"])) == entry["sha256"] for entry in found["files"])


def sha256(path: str) -> str | None:
    """A file's sha256 in hex, or None if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                digest.update(piece)
    except OSError:
        return None
    return digest.hexdigest()
