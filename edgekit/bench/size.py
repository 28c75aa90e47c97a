"""Size as shipped: what a payload takes in an app package or a download, which are compressed.

zlib at its usual level stands for all of them (an APK and an IPA are zip files). It says what compression is worth:
int8 weights shrink little, the zeros of a pruned model a lot.
"""

from __future__ import annotations

import functools
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.artifact import Artifact

MOST = 200_000_000
"""Bytes of payload; compressing more would take longer than measuring."""
_CHUNK = 1 << 20


def shipped_bytes(artifact: Artifact) -> int | None:
    """All payload files, each compressed; None for more than `MOST` bytes, and where a file cannot be read."""
    names = tuple(file.path for file in artifact.manifest.files if file.path.startswith("payload/"))
    return None if artifact.manifest.payload_bytes > MOST else _compressed(artifact.path, names)


@functools.lru_cache(maxsize=64)
def _compressed(folder: Path, names: tuple[str, ...]) -> int | None:
    total = 0
    try:
        for name in names:
            packer = zlib.compressobj()
            with (folder / name).open("rb") as file:
                while part := file.read(_CHUNK):
                    total += len(packer.compress(part))
            total += len(packer.flush())
    except OSError:
        return None
    return total
