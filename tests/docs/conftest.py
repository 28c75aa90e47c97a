"""The stage of all guides: one board, so that what a guide brought there the next finds there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from link import Link

from tests.docs.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A reader's machine and a board that runs."""
    with Link() as link:
        made = Stage(tmp_path_factory.mktemp("guides"), link)
        made.boot()
        yield made
