"""What one transaction does with a batch of uploads: store each window once, and add it to the sum of its span.

Windows are named by (device, boot, seq) for ever. One that is there already, or whose name retention has folded into
`delivered`, is a duplicate and changes nothing. All others are stored as they came and added up by (stream, cohort,
span), in the same transaction: the sums are always those of the windows. Rows are touched in one order (windows,
sums, presence, devices, each sorted), so that two collectors never wait for each other in a circle.

`generation` in the table `meta` counts up with every revocation and every registered reference. A batch that was read
under an older one is read again, so neither is ever overtaken.
"""

from __future__ import annotations

import threading
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from edgekit.telemetry.collector import layout as layouts
from edgekit.telemetry.collector.layout import Layout
from edgekit.telemetry.collector.placing import SKEWED, UNPLACED, place
from edgekit.telemetry.collector.rollups import (
    DAY_S,
    MAX_STREAMS,
    MERGED,
    PENDING,
    Cell,
    add_to_rollup,
    generation_of,
    open_stream,
)
from edgekit.telemetry.collector.uploads import Arrival, Batch, FrameReader, Outcome, Result, StreamName
from edgekit.telemetry.reporter.reference import LATENCY, Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgekit.telemetry.collector.database import Cursor, Database
    from edgekit.telemetry.collector.placing import Place
    from edgekit.telemetry.collector.uploads import Upload

MAX_COHORTS = 256
OTHER_COHORT = "(other)"

WINDOW_SQL = (
    "INSERT INTO windows (device, boot, seq, received_s, stream, cohort, artifact, span, start_ns, end_ns, state,"
    " marks, frame) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device, boot, seq) DO NOTHING"
)
PRESENCE_SQL = (
    "INSERT INTO presence (stream, day, cohort, device, artifact) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
SEEN_SQL = (
    "INSERT INTO devices (device, cohort, last_seen_s, skewed, clock_off_s) VALUES (?, '', ?, ?, ?)"
    " ON CONFLICT (device) DO UPDATE SET last_seen_s = excluded.last_seen_s, skewed = excluded.skewed,"
    " clock_off_s = excluded.clock_off_s"
)


class _StaleError(Exception):
    """The batch was read under an older generation."""


class Ingest:
    """Commits batches. One thread at a time calls `commit`; reading the generation is safe from any.

    Args:
        database: an open one.
        span_s: length of a span.
        max_body_bytes: what a body may have after decompression.
    """

    def __init__(self, database: Database, *, span_s: int, max_body_bytes: int) -> None:
        self.generation = -1
        self._database = database
        self._span_s = span_s
        self._reader = FrameReader(max_body_bytes=max_body_bytes)
        self._layouts: dict[StreamName, Layout] = {}
        self._streams: dict[StreamName, int] = {}
        self._cohorts: dict[int, set[str]] = {}
        self._present: set[tuple[int, int, str, str, str]] = set()
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Reads what the database knows by now: references, streams, cohorts, the generation.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        with self._database.read() as cursor:
            generation = generation_of(cursor)
            known = {name.reference for name in self._layouts}
            ids = {row[0] for row in cursor.rows("SELECT id FROM reference_files")}
            new = sorted(ids - known)
            documents = [cursor.rows("SELECT document FROM reference_files WHERE id = ?", (each,)) for each in new]
            streams = cursor.rows("SELECT stream, model, reference FROM streams")
            cohorts = cursor.rows("SELECT DISTINCT stream, cohort FROM rollups")
        for [(document,)] in documents:
            reference = Reference.from_json(document)
            self._layouts[StreamName(reference.model, reference.id)] = Layout.of(reference, LATENCY.size)
        self._streams = {StreamName(model, reference): stream for stream, model, reference in streams}
        self._cohorts = {}
        for stream, cohort in cohorts:
            self._cohorts.setdefault(stream, set()).add(cohort)
        self._present.clear()
        self.generation = generation

    def commit(self, uploads: Sequence[Upload]) -> list[Outcome]:
        """Stores what is new; when it returns, everything accepted is durable.

        Raises:
            StoreUnavailableError: nothing of it was stored.
        """
        with self._lock:
            while True:
                if self.generation < 0:
                    self.refresh()
                batch = self._reader.read(uploads, self._layouts)
                try:
                    return self._store(uploads, batch)
                except _StaleError:
                    self.generation = -1
                except BaseException:
                    self.generation = -1  # what is remembered of the transaction is gone with it
                    raise

    def _store(self, uploads: Sequence[Upload], batch: Batch) -> list[Outcome]:
        outcomes = batch.refused
        with self._database.write() as cursor:
            if any(arrival.row < 0 for arrival in batch.arrivals):
                cursor.alone_with("reference_files")  # so that none is registered before these are stored
            if generation_of(cursor) != self.generation:
                raise _StaleError
            revoked = self._revoked(cursor, uploads)
            for index in revoked:
                outcomes[index] = Outcome(Result.REFUSED, reason="the key is revoked")
            full = self._open_streams(cursor, batch.arrivals)
            for index in full:
                outcomes.setdefault(index, Outcome(Result.BUSY, reason="no more models fit this collector"))
            arrivals = [each for each in batch.arrivals if each.upload not in outcomes]
            fresh = self._insert(cursor, uploads, arrivals)
            self._add_up(cursor, batch, fresh)
            self._note(cursor, uploads, fresh)
        return self._outcomes(uploads, outcomes, arrivals, [arrival for arrival, _, _ in fresh])

    def _outcomes(
        self,
        uploads: Sequence[Upload],
        refused: dict[int, Outcome],
        arrivals: Sequence[Arrival],
        fresh: Sequence[Arrival],
    ) -> list[Outcome]:
        sent = _count_uploads(arrivals, len(uploads))
        new = _count_uploads(fresh, len(uploads))
        return [refused.get(index) or _taken(new[index], sent[index]) for index in range(len(uploads))]

    def _revoked(self, cursor: Cursor, uploads: Sequence[Upload]) -> list[int]:
        """Uploads that were verified with a key of an older generation, and the key is revoked since."""
        doubtful = {i: each.envelope.key_id for i, each in enumerate(uploads) if each.generation != self.generation}
        if not doubtful:
            return []
        ids = sorted(set(doubtful.values()))
        marks = ", ".join("?" * len(ids))
        sql = f"SELECT key_id FROM device_keys WHERE revoked_s IS NULL AND key_id IN ({marks})"
        active = {key_id for (key_id,) in cursor.rows(sql, ids)}
        return [i for i, key_id in doubtful.items() if key_id not in active]

    def _open_streams(self, cursor: Cursor, arrivals: Iterable[Arrival]) -> set[int]:
        """Gives new streams a number; tells the uploads for which there is none left."""
        missing: dict[StreamName, bool] = {}
        for each in arrivals:
            if each.name not in self._streams:
                missing[each.name] = each.bootstrapped
        full: set[int] = set()
        for name in sorted(missing):
            if len(self._streams) >= MAX_STREAMS:
                full |= {each.upload for each in arrivals if each.name == name}
                continue
            self._streams[name] = open_stream(cursor, name, bootstrapped=missing[name])
        return full

    def _insert(
        self, cursor: Cursor, uploads: Sequence[Upload], arrivals: Sequence[Arrival]
    ) -> list[tuple[Arrival, Cell, Place]]:
        folded = self._folded(cursor, uploads, arrivals)
        entries = []
        for each in arrivals:
            upload = uploads[each.upload]
            device = upload.envelope.device
            if any(first <= each.seq <= last for first, last in folded.get((device, each.boot), ())):
                continue
            sent_ns, received_ns = upload.envelope.sent_ns, upload.received_ns
            where = place(each.start_ns, each.end_ns, sent_ns, received_ns, self._span_s)
            stream = self._streams[each.name]
            cell = Cell(stream, where.span, self._cohort(stream, upload.cohort or each.label))
            entries.append((device, each, cell, where))
        entries.sort(key=lambda entry: (entry[0], entry[1].boot, entry[1].seq))
        rows = [
            (
                device, each.boot, each.seq, _seconds(uploads[each.upload]), cell.stream, cell.cohort, each.artifact,
                cell.span, where.start_ns, where.end_ns, PENDING if each.row < 0 else MERGED,
                where.marks, each.frame,
            )
            for device, each, cell, where in entries
        ]  # fmt: skip
        added = cursor.each_inserts(WINDOW_SQL, rows)
        return [(each, cell, where) for (_, each, cell, where), new in zip(entries, added, strict=True) if new]

    def _folded(
        self, cursor: Cursor, uploads: Sequence[Upload], arrivals: Sequence[Arrival]
    ) -> dict[tuple[str, bytes], list[tuple[int, int]]]:
        """Ranges of seq by (device, boot) that were stored once and removed by retention since."""
        boots = sorted({(uploads[each.upload].envelope.device, each.boot) for each in arrivals})
        found: dict[tuple[str, bytes], list[tuple[int, int]]] = {}
        for at in range(0, len(boots), 200):
            chunk = boots[at : at + 200]
            marks = " OR ".join(["device = ? AND boot = ?"] * len(chunk))
            sql = f"SELECT device, boot, first, last FROM delivered WHERE {marks}"
            for device, boot, first, last in cursor.rows(sql, [value for pair in chunk for value in pair]):
                found.setdefault((device, boot), []).append((first, last))
        return found

    def _cohort(self, stream: int, cohort: str) -> str:
        known = self._cohorts.setdefault(stream, set())
        if cohort not in known:
            if len(known) >= MAX_COHORTS:
                return OTHER_COHORT
            known.add(cohort)
        return cohort

    def _add_up(self, cursor: Cursor, batch: Batch, fresh: Sequence[tuple[Arrival, Cell, Place]]) -> None:
        cells: dict[Cell, tuple[StreamName, list[int]]] = {}
        for each, cell, _ in fresh:
            if each.row >= 0:
                cells.setdefault(cell, (each.name, []))[1].append(each.row)
        for cell in sorted(cells):
            name, chosen = cells[cell]
            rows, moments = batch.rows[name]
            if len(chosen) < len(rows):
                rows, moments = rows[chosen], moments[chosen]
            add_to_rollup(cursor, cell, rows.sum(axis=0), layouts.merge_moments(moments))
        by_stream = Counter(cell.stream for _, cell, _ in fresh)
        counted = [(count, stream) for stream, count in sorted(by_stream.items())]
        cursor.each("UPDATE streams SET windows = windows + ? WHERE stream = ?", counted)

    def _note(self, cursor: Cursor, uploads: Sequence[Upload], fresh: Sequence[tuple[Arrival, Cell, Place]]) -> None:
        present = {
            (cell.stream, cell.span // DAY_S, cell.cohort, uploads[each.upload].envelope.device, each.artifact)
            for each, cell, _ in fresh
        } - self._present
        cursor.each(PRESENCE_SQL, sorted(present))
        if len(self._present) > 100_000:
            self._present.clear()
        self._present |= present
        seen = {
            uploads[each.upload].envelope.device: (
                _seconds(uploads[each.upload]), int(bool(where.marks & (SKEWED | UNPLACED))), where.clock_off_s,
            )
            for each, _, where in fresh
        }  # fmt: skip
        cursor.each(SEEN_SQL, [(device, *values) for device, values in sorted(seen.items())])


@lru_cache(maxsize=1024)
def _taken(new: int, sent: int) -> Outcome:
    """The outcome of an upload of so many windows, of which so many are new."""
    return Outcome(Result.DUPLICATE if sent and not new else Result.ACCEPTED, new, sent - new)


def _seconds(upload: Upload) -> int:
    return upload.received_ns // 1_000_000_000


def _count_uploads(arrivals: Iterable[Arrival], uploads: int) -> list[int]:
    counts = [0] * uploads
    for each in arrivals:
        counts[each.upload] += 1
    return counts
