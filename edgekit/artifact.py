"""Artifact: a directory with the payload, its manifest, golden inputs and outputs. Immutable, named by its content.

    ID/
      manifest.json     what it is and how good it is; its sha256 is the artifact's id
      payload/...       what a runtime loads
      golden/...        inputs, what this payload answers, what the source answered (NumPy .npy files)
      reference.json    what was normal, as counts: what drift is told by
      build.json        when and how long it was built: not part of the id
      convert.log       what the converter printed: not part of the id

docs/formats/artifact.md describes every field. What a manifest says, as values, is edgekit/manifest.py; its names
can be imported from here, too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from edgekit.errors import ArtifactError, CorruptArtifactError
from edgekit.files import sha256_of
from edgekit.manifest import (
    MANIFEST,
    READS,
    SCHEMA,
    Accuracy,
    Bindings,
    Budget,
    DriftReference,
    FileEntry,
    Golden,
    GoldenSize,
    LayerSensitivity,
    Manifest,
    OutputParity,
    Parity,
    Provenance,
    SizeParity,
    Trial,
    read_manifest,
)


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one step took: wall time from the worker's start, and the largest resident set of its process."""

    seconds: float
    peak_rss_bytes: int | None


class Build(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When and at what cost it was built (build.json); says nothing about what it is.

    `seconds` and `peak_rss_bytes` are the recipe's own step's; `shared` has the steps that it shares with others.
    """

    built_at: str
    seconds: float
    peak_rss_bytes: int | None
    host: str
    shared: dict[str, Cost] = {}
    schema: int = SCHEMA


class Artifact(msgspec.Struct, frozen=True):
    """An artifact on the host: its id, where it lies, its manifest."""

    id: str
    path: Path
    manifest: Manifest

    @property
    def short_id(self) -> str:
        """Twelve characters, for people."""
        return self.id[:12]

    @property
    def title(self) -> str:
        """`crepe_tiny tflite:int8`."""
        return f"{self.manifest.model} {self.manifest.recipe}"

    def shipped_files(self) -> list[FileEntry]:
        """What goes to a device: the manifest first, then all that it lists."""
        content = (self.path / MANIFEST).read_bytes()
        return [FileEntry(MANIFEST, len(content), self.id), *self.manifest.files]


def open_artifact(path: Path) -> Artifact:
    """Opens an artifact's directory (or a link to it). Reads the manifest only; `check_files` reads the rest.

    Raises:
        ArtifactError: there is none, or none that this version reads.
    """
    manifest = path / MANIFEST
    if not manifest.is_file():
        nearby = sorted(p.parent for p in path.glob(f"**/{MANIFEST}"))[:3] if path.is_dir() else []
        nearby = [p for p in nearby if p != path]
        hint = (
            f"Did you mean {', '.join(map(str, nearby))}?"
            if nearby
            else "Give a directory that `edgekit convert` wrote."
        )
        raise ArtifactError(f"{path} is not an artifact: it has no {MANIFEST}.", remedy=hint)
    content = manifest.read_bytes()
    return Artifact(
        id=hashlib.sha256(content).hexdigest(),
        path=path.resolve(),
        manifest=read_manifest(content, where=str(manifest)),
    )


def check_files(artifact: Artifact) -> None:
    """Compares every file with its size and sha256 in the manifest.

    Raises:
        CorruptArtifactError: one is missing or differs, or the directory is named by another id.
    """
    for entry in artifact.manifest.files:
        file = artifact.path / entry.path
        if not file.is_file():
            problem = "is missing"
        elif file.stat().st_size != entry.bytes:
            problem = f"has {file.stat().st_size} bytes instead of {entry.bytes}"
        elif sha256_of(file) != entry.sha256:
            problem = "differs from its sha256 in the manifest"
        else:
            continue
        raise CorruptArtifactError(
            f"{entry.path} of {artifact.path} {problem}.",
            remedy="Convert the model again, or fetch the artifact again.",
        )
    name = artifact.path.name
    if len(name) == 64 and all(c in "0123456789abcdef" for c in name) and name != artifact.id:
        raise CorruptArtifactError(
            f"The manifest of {artifact.path} is not the one it was published with.", remedy="Convert the model again."
        )


__all__ = [
    "MANIFEST", "READS", "SCHEMA", "Accuracy", "Artifact", "Bindings", "Budget", "Build", "Cost", "DriftReference",
    "FileEntry", "Golden", "GoldenSize", "LayerSensitivity", "Manifest", "OutputParity", "Parity", "Provenance",
    "SizeParity", "Trial", "check_files", "open_artifact", "read_manifest",
]  # fmt: skip
