"""Reads the tables of a flatbuffer by place, as far as metadata need it: which fields there are, lists, texts.

Positions are from the beginning of the file; 0 stands for a field that is left out. A damaged file raises struct.error.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL_FIELDS = ("version", "operator_codes", "subgraphs", "description", "buffers", "metadata_buffer", "metadata",
                "signature_defs")  # fmt: skip
"""Of the root table in schema.fbs, version 3, in their order."""


def fields(content: bytes, table: int) -> list[int]:
    """Where each field of a table lies."""
    layout = table - struct.unpack_from("<i", content, table)[0]
    size = struct.unpack_from("<H", content, layout)[0]
    slots = struct.unpack_from(f"<{max(size - 4, 0) // 2}H", content, layout + 4)
    return [table + slot if slot else 0 for slot in slots]


def field(content: bytes, table: int, place: int) -> int:
    """Where one field lies."""
    found = fields(content, table)
    return found[place] if place < len(found) else 0


def followed(content: bytes, position: int) -> int:
    """What a reference refers to."""
    found: int = position + struct.unpack_from("<I", content, position)[0]
    return found


def integers(content: bytes, position: int) -> list[int]:
    """The int32 of a list that a field refers to."""
    if not position:
        return []
    start = followed(content, position)
    count = struct.unpack_from("<I", content, start)[0]
    return list(struct.unpack_from(f"<{count}i", content, start + 4))


def tables(content: bytes, position: int) -> list[int]:
    """Where the tables of a list lie that a field refers to."""
    if not position:
        return []
    start = followed(content, position)
    count = struct.unpack_from("<I", content, start)[0]
    return [followed(content, start + 4 + 4 * i) for i in range(count)]


def text(content: bytes, position: int) -> str:
    """The text that a field refers to."""
    if not position:
        return ""
    start = followed(content, position)
    length = struct.unpack_from("<I", content, start)[0]
    return content[start + 4 : start + 4 + length].decode()


def order(content: bytes, side: str, bindings: Sequence[str]) -> list[int]:
    """Which of the model's inputs ("inputs") or outputs is the first graph's first, second, ...

    Args:
        content: a `.tflite` file.
        side: "inputs" or "outputs".
        bindings: the names that its first signature has for them, in the model's order.

    Raises:
        ValueError: the signature does not name them.
    """
    root = followed(content, 0)
    graph = tables(content, field(content, root, MODEL_FIELDS.index("subgraphs")))[0]
    in_file = integers(content, field(content, graph, 1 if side == "inputs" else 2))
    signatures = tables(content, field(content, root, MODEL_FIELDS.index("signature_defs")))
    named = {}
    for entry in tables(content, field(content, signatures[0], 0 if side == "inputs" else 1)) if signatures else ():
        index = field(content, entry, 1)
        named[text(content, field(content, entry, 0))] = struct.unpack_from("<I", content, index)[0] if index else 0
    if sorted(named) != sorted(bindings) or sorted(named.values()) != sorted(in_file):
        raise ValueError(f"its signature does not name its {side}")
    model_order = [named[name] for name in bindings]
    return [model_order.index(tensor) for tensor in in_file]
