"""Artifacts made by hand, for tests that move them and never run them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgekit.artifact import Accuracy, Artifact, Bindings, FileEntry, Golden, Manifest, Parity, Provenance
from edgekit.recipe import Recipe
from edgekit.specs import TensorSpec


def handmade(
    folder: Path, *, model: str = "tiny", payload: bytes = b"payload" * 1000, more: dict[str, bytes] | None = None
) -> Artifact:
    """Makes a valid artifact below a folder, at once. Its payload is no model."""
    contents = {"payload/model.tflite": payload, "golden/input-0.npy": b"in", "golden/output-0.npy": b"out"}
    contents |= more or {}
    tensor = TensorSpec("x", (1, 4))
    manifest = Manifest(
        model=model,
        recipe=Recipe("tflite", "int8"),
        runtime="litert",
        payload="payload/model.tflite",
        inputs=(tensor,),
        outputs=(tensor,),
        bindings=Bindings(("x",), ("x",)),
        stored_dtypes={"int8": len(payload)},
        files=tuple(
            FileEntry(path, len(content), hashlib.sha256(content).hexdigest()) for path, content in contents.items()
        ),
        parity=Parity("held out", 20.0, ()),
        accuracy=Accuracy(None, "", True, None, None, 0, "made by hand"),
        golden=Golden(1, ("golden/input-0.npy",), ("golden/output-0.npy",), (), 20.0),
        provenance=Provenance("handmade", "0" * 64, None, 0, {}),
    )
    encoded = manifest.encode()
    artifact_id = hashlib.sha256(encoded).hexdigest()
    path = folder / artifact_id
    for name, content in {"manifest.json": encoded, **contents}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return Artifact(artifact_id, path, manifest)
