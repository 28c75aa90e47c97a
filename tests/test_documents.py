"""What the README, the guides and the demo tell users to type names targets that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
THERE = {path.stem for path in (ROOT / "targets").glob("*.toml")}
TO_BE_WRITTEN = {"pi", "mine", "NAME"}
"""Names that stand for the user's own file."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "edgekit" / "workflows" / "demo.py"]
NAMED = re.compile(
    r"\btargets/([\w-]+)\.toml|(?:--on|doctor|status|provision) (raspberry-pi[\w-]*|jetson|android[\w-]*)"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_that_is_named_is_there(page: Path) -> None:
    named = {first or second for first, second in NAMED.findall(page.read_text(encoding="utf-8"))}
    assert named - TO_BE_WRITTEN <= THERE
