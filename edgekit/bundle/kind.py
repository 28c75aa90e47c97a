"""What a kind of bundle is: what it holds, and one hook that yields its files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from edgekit.artifact import Artifact, Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

Content: TypeAlias = bytes | str | Path
"""A file's content: bytes; text, written as UTF-8; or a file or folder to copy, such as an artifact's payload."""


class Variant(msgspec.Struct, frozen=True):
    """One artifact in a bundle. `name` is unique there and safe as a file's name everywhere, such as `tflite-int8`."""

    name: str
    artifact: Artifact

    @property
    def manifest(self) -> Manifest:
        """The artifact's manifest."""
        return self.artifact.manifest

    @property
    def payload(self) -> Path:
        """The file or folder that the runtime loads."""
        return self.artifact.path / self.manifest.payload

    def file(self, path: str) -> Path:
        """A file that the manifest names, such as `golden/input-0.npy`."""
        return self.artifact.path / path


class Request(msgspec.Struct, frozen=True):
    """What is to be bundled, checked by the frame: one model, and for all variants the same interface.

    `options` are those of the kind that were asked for; one without a value has "".
    That is: inputs and outputs of the same names, shapes and layouts, and the same dtypes once dequantized.
    `name` is the bundle's, letters, digits, `_`, `-` and `.`, and is no identifier yet in any language.
    """

    name: str
    variants: tuple[Variant, ...]
    options: dict[str, str] = {}

    @property
    def preferred(self) -> Variant:
        """The first."""
        return self.variants[0]

    @property
    def fallback(self) -> Variant:
        """The last, which has to run everywhere; the preferred one where there is no other."""
        return self.variants[-1]


class Kind(Protocol):
    """A kind of bundle. A class that is registered in `edgekit.bundles` and made without arguments.

    Attributes:
        formats: the artifacts' formats that it holds, such as `tflite`.
        variants: whether it holds several artifacts of one model.
        varying: whether its wrapper can take sizes that vary.

    A kind may have `options`, a name to what it does; one that ends in `.` begins the names of a family, such as
    `group.`. Their values are the kind's own to check.
    """

    formats: tuple[str, ...]
    variants: bool
    varying: bool

    def files(self, request: Request) -> Mapping[str, Content]:
        """The bundle's files: relative paths with `/`, and what is in them. Equal requests give equal files.

        Raises:
            BundleError: something that the kind cannot hold, and that its attributes do not tell.
        """
        ...
