"""References that the collector knows, and the windows that came before theirs did."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from edgekit.errors import TelemetryError
from edgekit.telemetry.collector import layout as layouts
from edgekit.telemetry.collector.layout import Layout
from edgekit.telemetry.collector.rollups import (
    MAX_STREAMS,
    MERGED,
    MISFIT,
    PENDING,
    Cell,
    add_to_rollup,
    next_generation,
    open_stream,
)
from edgekit.telemetry.collector.uploads import StreamName
from edgekit.telemetry.reporter import wire
from edgekit.telemetry.reporter.errors import InvalidReference
from edgekit.telemetry.reporter.reference import LATENCY, Reference

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.telemetry.collector.database import Cursor, Database, Row
    from edgekit.telemetry.reporter.window import Window

PAGE = 500
"""Windows that one transaction merges: small enough that uploads need not wait long behind it."""


def check_storable(reference: Reference) -> None:
    """That a reference is still itself once it is written down.

    Its id is the hash of the document that it was read from. One that was written in another way (an edge as 1 and not
    as 1.0, schema 2 without a joint) gets another document here, which nobody could read: not even the commit, of
    whatever upload, that reads all references before it.

    Raises:
        InvalidReference: it is not.
    """
    Reference.from_json(reference.to_json(), where="the reference as EdgeKit would write it")


def register(database: Database, reference: Reference) -> int:
    """Registers a reference, and merges the windows that waited for it.

    Returns:
        How many were merged. Registering again changes nothing.

    Raises:
        InvalidReference: see `check_storable`.
        TelemetryError: there are too many references.
        StoreUnavailableError: the database cannot be used.
    """
    check_storable(reference)
    with database.read() as cursor:
        known = bool(cursor.rows("SELECT 1 FROM reference_files WHERE id = ?", (reference.id,)))
    return merge_pending(database, reference) if known else _register(database, reference)


def _register(database: Database, reference: Reference) -> int:
    with database.write() as cursor:
        cursor.alone_with("reference_files")
        if cursor.rows("SELECT COUNT(*) FROM reference_files")[0][0] >= MAX_STREAMS:
            raise TelemetryError(f"The collector has {MAX_STREAMS} references.", remedy="Use another database.")
        added = cursor.run(
            "INSERT INTO reference_files (id, model, document, registered_s) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (reference.id, reference.model, reference.to_json(), int(time.time())),
        )
        if added:
            next_generation(cursor)
            open_stream(cursor, StreamName(reference.model, reference.id), bootstrapped=reference.bootstrapped)
    return merge_pending(database, reference)


def merge_pending(database: Database, reference: Reference) -> int:
    """Merges the windows that wait for a registered reference, a page at a time; each page is a transaction.

    Raises:
        StoreUnavailableError: the database cannot be used; what was merged stays merged.
    """
    layout = Layout.of(reference, LATENCY.size)
    merged = 0
    while True:
        with database.write() as cursor:
            rows = cursor.locked(
                "SELECT device, boot, seq, stream, cohort, span, frame FROM windows WHERE state = ? AND stream ="
                " (SELECT stream FROM streams WHERE model = ? AND reference = ?) ORDER BY device, boot, seq LIMIT ?",
                (PENDING, reference.model, reference.id, PAGE),
            )
            merged += _merge_page(cursor, layout, rows)
        if not rows:
            return merged


def _merge_page(cursor: Cursor, layout: Layout, rows: list[Row]) -> int:
    cells: dict[Cell, list[Window]] = {}
    states = []
    for device, boot, seq, stream, cohort, span, frame in rows:
        window = wire.decode(frame)
        fits = layout.fits(window)
        states.append((MERGED if fits else MISFIT, device, boot, seq))
        if fits:
            cells.setdefault(Cell(stream, span, cohort), []).append(window)
    for cell, windows in sorted(cells.items()):
        vector = np.sum([layout.vector(each) for each in windows], axis=0)
        moments = layouts.merge_moments(np.stack([layout.moments(each) for each in windows]))
        add_to_rollup(cursor, cell, vector, moments)
    cursor.each("UPDATE windows SET state = ? WHERE device = ? AND boot = ? AND seq = ?", states)
    return sum(state == MERGED for state, *_ in states)


def merge_all_pending(database: Database) -> int:
    """Goes on with what an interrupted `register` left; tells how many windows were merged.

    Raises:
        StoreUnavailableError: as `merge_pending`.
    """
    with database.read() as cursor:
        found = cursor.rows(
            "SELECT document FROM reference_files WHERE EXISTS (SELECT 1 FROM windows w JOIN streams s"
            " ON w.stream = s.stream WHERE s.reference = reference_files.id AND w.state = 1)"
        )
    return sum(merge_pending(database, Reference.from_json(document)) for (document,) in found)


def read_reference(path: Path) -> Reference:
    """The reference in a file, or in the artifact at a folder.

    Raises:
        TelemetryError: there is none, or it cannot be used.
    """
    file = path / "reference.json" if path.is_dir() else path
    try:
        reference = Reference.load(file)
        check_storable(reference)
    except InvalidReference as error:
        raise TelemetryError(str(error)) from error
    except OSError as error:
        raise TelemetryError(
            f"There is no reference at {file}: {error.strerror}.",
            remedy="Name a reference.json, or an artifact that was converted with calibration data.",
        ) from error
    return reference
