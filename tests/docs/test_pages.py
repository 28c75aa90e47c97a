"""Pages agree with each other: links lead somewhere, and the list of formats has the schemas of their pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.docs.stage import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = REPOSITORY / "docs" / "formats"


def pages() -> list[Path]:
    """All of the repository's Markdown for people."""
    found = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("benchmarks/*.md")]
    return sorted(found)


def anchors(page: Path) -> set[str]:
    """The headings as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere() -> None:
    dead = []
    for page in pages():
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s:]+)\)", text):
            file, _, anchor = link.partition("#")
            leads = page.parent / file if file else page
            if not leads.exists() or (anchor and anchor not in anchors(leads)):
                dead.append(f"{page.relative_to(REPOSITORY)}: {link}")
    assert len(pages()) > 80
    assert dead == []


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#]+\.md)", (REPOSITORY / "README.md").read_text()))
    there = {str(page.relative_to(REPOSITORY)) for page in [*REPOSITORY.glob("docs/*.md"), FORMATS / "README.md"]}
    assert there <= linked


def test_the_list_of_formats_has_the_schemas_of_their_pages() -> None:
    listed = dict(
        re.findall(r"^\| \[(\S+\.md)\].*?\| ([\d, –]+) \| `", (FORMATS / "README.md").read_text(), re.MULTILINE)
    )
    assert set(listed) == {page.name for page in FORMATS.glob("*.md")} - {"README.md"}
    for name, schemas in listed.items():
        title = (FORMATS / name).read_text().split("\n", 1)[0]
        told = re.search(r", schemas? ([\d ,and]+)$", title)
        if told is not None:
            assert told[1].replace(" and ", ", ") == schemas, name
