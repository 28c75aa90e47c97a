"""bundle.json: of which artifacts a bundle was made, and every file in it by its sha256 (docs/formats/bundle.md)."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit.artifact import FileEntry
from edgekit.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 2
READS = (1, 2)
"""1: without `options`, which a reader takes as empty."""
NAME = "bundle.json"


class BundledArtifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the artifacts, in the order in which they are tried."""

    id: str
    recipe: str
    variant: str
    role: Literal["only", "preferred", "other", "fallback"]


class BundleDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of bundle.json. It has no date: the same artifacts and the same EdgeKit give the same bytes."""

    kind: str
    name: str
    model: str
    artifacts: tuple[BundledArtifact, ...]
    files: tuple[FileEntry, ...]
    generator: str
    generator_sha256: str
    options: dict[str, str] = {}
    schema: int = SCHEMA


def generator() -> str:
    """What made a bundle, such as `edgekit 0.1.0`."""
    return f"edgekit {version('edgekit')}"


_DOCUMENT = msgspec.json.Decoder(BundleDocument)


def read_bundle(folder: Path) -> BundleDocument:
    """The bundle.json of a bundle.

    Raises:
        BundleError: there is none, or none that this version reads.
    """
    file = folder / NAME
    remedy = "Make the bundle again with `edgekit bundle`."
    try:
        content = file.read_bytes()
        schema = msgspec.json.decode(content, type=dict).get("schema")
        if schema not in READS:
            raise BundleError(
                f"{file} has schema {schema}; this version reads {', '.join(map(str, READS))}.", remedy=remedy
            )
        return _DOCUMENT.decode(content)
    except OSError as error:
        raise BundleError(f"{folder} is no bundle: {error.strerror or error}.", remedy=remedy) from error
    except msgspec.MsgspecError as error:
        raise BundleError(f"{file} is no bundle document: {error}.", remedy=remedy) from error
