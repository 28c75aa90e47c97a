"""Kotlin and Swift are parsed by tree-sitter's grammars: what does not parse has an ERROR or a missing node."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import tree_sitter
import tree_sitter_kotlin
import tree_sitter_swift

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GRAMMARS = {".kt": tree_sitter_kotlin, ".kts": tree_sitter_kotlin, ".swift": tree_sitter_swift}


@functools.cache
def _parser(suffix: str) -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(GRAMMARS[suffix].language()))


def nodes(text: bytes, suffix: str) -> Iterator[tree_sitter.Node]:
    """All nodes of a file's tree."""
    left = [_parser(suffix).parse(text).root_node]
    while left:
        node = left.pop()
        yield node
        left += node.children


def problems(text: bytes, suffix: str) -> list[str]:
    """What does not parse, and where."""
    return [
        f"line {node.start_point[0] + 1}: {(node.text or b'')[:80]!r}"
        for node in nodes(text, suffix)
        if node.type == "ERROR" or node.is_missing
    ]


def named(text: bytes, suffix: str, *kinds: str) -> list[str]:
    """The text of all nodes of these types, in no order."""
    return [(node.text or b"").decode() for node in nodes(text, suffix) if node.type in kinds]


def assert_parses(folder: Path) -> int:
    """Every Kotlin and Swift file below a folder parses; how many there were."""
    files = [file for file in sorted(folder.rglob("*")) if file.suffix in GRAMMARS]
    wrong = {file.name: found for file in files if (found := problems(file.read_bytes(), file.suffix))}
    assert not wrong
    return len(files)
