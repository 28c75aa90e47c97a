"""Which version of a runtime a bundle asks for: the one that its artifacts were proven with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgekit.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgekit.artifact import Manifest


def proven_version(manifests: Iterable[Manifest], distribution: str, runtime: str) -> str:
    """The newest version of all manifests, as numbers and dots: it goes into build scripts.

    Args:
        manifests: of all variants.
        distribution: what `provenance.tools` calls it, such as `ai-edge-litert`.
        runtime: what `parity.proved_by` begins with, such as `litert`.

    Raises:
        BundleError: a manifest does not tell.
    """
    found = []
    for manifest in manifests:
        told = manifest.provenance.tools.get(distribution, "")
        proved_by = manifest.parity.proved_by
        if not told and proved_by.startswith(f"{runtime} "):
            told = proved_by.removeprefix(f"{runtime} ")
        numbers = re.match(r"[0-9]{1,6}(\.[0-9]{1,6}){1,2}", told, re.ASCII)
        if numbers is None:
            raise BundleError(
                f"{manifest.model} {manifest.recipe} does not tell with which {distribution} it was proven.",
                remedy="Convert the model again with this version of EdgeKit.",
            )
        found.append(numbers[0])
    return max(found, key=lambda version: tuple(map(int, version.split("."))))
