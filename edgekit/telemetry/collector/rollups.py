"""Where windows are added up: streams, their cells, and the generation that orders changes of keys and references."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgekit.telemetry.collector import layout as layouts

if TYPE_CHECKING:
    from edgekit.telemetry.collector.database import Cursor
    from edgekit.telemetry.collector.uploads import StreamName

MERGED, PENDING, MISFIT = 0, 1, 2
"""States of a stored window: in the sums; waiting for its reference; of other cells than its reference has."""
MAX_STREAMS = 4096
DAY_S = 24 * 3600


class Cell(NamedTuple):
    """Where windows are added up."""

    stream: int
    span: int
    cohort: str


def generation_of(cursor: Cursor) -> int:
    """The generation of keys and references."""
    return int(cursor.rows("SELECT value FROM meta WHERE name = 'generation'")[0][0])


def next_generation(cursor: Cursor) -> None:
    """Lets every collector read keys and references again before its next commit."""
    cursor.run("UPDATE meta SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) WHERE name = 'generation'")


def open_stream(cursor: Cursor, name: StreamName, *, bootstrapped: bool) -> int:
    """The number of a stream, new or old."""
    insert = "INSERT INTO streams (model, reference, bootstrapped) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    cursor.run(insert, (name.model, name.reference, int(bootstrapped)))
    found = cursor.rows("SELECT stream FROM streams WHERE model = ? AND reference = ?", name)
    return int(found[0][0])


def add_to_rollup(cursor: Cursor, cell: Cell, vector: layouts.Vector, moments: layouts.Moments) -> None:
    """Adds a sum to a cell's."""
    width, packed = layouts.pack(vector)
    insert = (
        "INSERT INTO rollups (stream, cohort, span, width, counts, moments) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING"
    )
    values = (cell.stream, cell.cohort, cell.span, width, packed, layouts.pack_moments(moments))
    if cursor.run(insert, values):
        return
    key = (cell.stream, cell.cohort, cell.span)
    select = "SELECT width, counts, moments FROM rollups WHERE stream = ? AND cohort = ? AND span = ?"
    [(width, packed, old)] = cursor.locked(select, key)
    merged = layouts.merge_moments(np.stack([layouts.unpack_moments(old), moments]))
    width, packed = layouts.pack(layouts.unpack(width, packed) + vector)
    update = "UPDATE rollups SET width = ?, counts = ?, moments = ? WHERE stream = ? AND cohort = ? AND span = ?"
    cursor.run(update, (width, packed, layouts.pack_moments(merged), *key))
