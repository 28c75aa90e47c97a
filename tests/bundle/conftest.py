"""Artifacts to bundle: real ones, and ones whose names are hostile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.artifact import Artifact, open_artifact
from tests.artifacts import handmade

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def int8(digits: Path) -> Artifact:
    """digits_cnn in int8, inside and at its ends."""
    return open_artifact(digits / "tflite-int8")


@pytest.fixture(scope="session")
def float32(digits: Path) -> Artifact:
    """digits_cnn in float32."""
    return open_artifact(digits / "tflite-float32")


@pytest.fixture
def altered(tmp_path: Path) -> Callable[..., Artifact]:
    """A handmade artifact with another manifest: `altered(inputs=(...), runtime="litert")`. Its payload is no model."""

    def make(like: Artifact | None = None, **changes: Any) -> Artifact:
        made = like or handmade(tmp_path / "handmade")
        return Artifact(made.id, made.path, msgspec.structs.replace(made.manifest, **changes))

    return make
