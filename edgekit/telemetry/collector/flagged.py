"""The evaluation store: times in which checks found drift, what ran then, and how good it turned out to be.

Counts tell that a model sees something else than it was made for; only labels tell whether that hurts. So each drift
is kept as one entry of (model, reference, cohort): since when, until when, which artifacts, which features and by how
much. Checks that find it again extend the entry, one that finds it gone ends it, and one with too little data changes
nothing. People collect and label data of that time, and give back a metric (`give_result`); an entry that somebody is
done with stays in the list as such. What was found is kept as long as the sums are.

What concerns no feature (a fleet that fell silent) is an alert and no entry here, and neither is latency: there is
nothing to label.
"""

from __future__ import annotations

import json
from dataclasses import astuple
from datetime import datetime
from typing import TYPE_CHECKING

from edgekit.errors import TelemetryError
from edgekit.telemetry.collector.rollups import DAY_S
from edgekit.telemetry.evaluations import FlaggedWindow, LabelledResult, Movement
from edgekit.telemetry.store import LATENCY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgekit.telemetry.collector.database import Cursor, Database, Row
    from edgekit.telemetry.store import Checked, Finding

COLUMNS = (
    "id, model, reference, cohort, artifacts, start_s, end_s, features, opened_s, last_found_s, times_found, ended_s,"
    " done_s, note"
)


def record(database: Database, checked: Iterable[Checked], now_s: int) -> None:
    """Brings the entries up to what a check found. The same check again changes nothing but the count of checks.

    Args:
        database: where they are kept.
        checked: everything that was looked at; what is not in it stays as it is.
        now_s: when it was found.

    Raises:
        StoreUnavailableError: nothing was changed.
    """
    everything = list(checked)  # a check reads the database, which it cannot do within this transaction
    with database.write() as cursor:
        cursor.alone_with("flagged")
        for each in everything:
            _record(cursor, each, now_s)


def _record(cursor: Cursor, checked: Checked, now_s: int) -> None:
    moved = [finding for finding in checked.findings if finding.feature not in ("", LATENCY)]
    lasting = "ended_s IS NULL AND model = ? AND reference = ? AND cohort = ?"
    key = (checked.model, checked.reference, checked.cohort)
    if not moved:
        if checked.conclusive:
            cursor.run(f"UPDATE flagged SET ended_s = ? WHERE {lasting}", (now_s, *key))
        return
    start_s = min([began for each in moved if (began := _began(each)) is not None], default=checked.since_s)
    start_s, end_s = min(start_s, checked.since_s), checked.until_s
    movements = [_movement(each) for each in moved]
    found = cursor.locked(f"SELECT id, start_s, end_s, features, artifacts FROM flagged WHERE {lasting}", key)
    if not found:
        values = (_artifacts(cursor, checked, start_s, end_s, ()), start_s, end_s, _packed(movements))
        cursor.run(
            "INSERT INTO flagged (model, reference, cohort, artifacts, start_s, end_s, features, opened_s,"
            " last_found_s, times_found, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, '')",
            (*key, *values, now_s, now_s),
        )
        return
    [(number, first_s, last_s, packed, artifacts)] = found
    start_s, end_s = min(start_s, first_s), max(end_s, last_s)
    known = _artifacts(cursor, checked, start_s, end_s, json.loads(artifacts))
    cursor.run(
        "UPDATE flagged SET start_s = ?, end_s = ?, features = ?, artifacts = ?, last_found_s = ?,"
        " times_found = times_found + 1 WHERE id = ?",
        (start_s, end_s, _packed([*_unpacked(packed), *movements]), known, now_s, number),
    )


def rows(
    database: Database, *, model: str | None = None, to_do: bool = False, limit: int = 1000
) -> list[FlaggedWindow]:
    """See `Store.flagged`.

    Raises:
        StoreUnavailableError: the database cannot be read.
    """
    wanted = ["1 = 1", *(["model = ?"] if model is not None else []), *(["done_s IS NULL"] if to_do else [])]
    sql = f"SELECT {COLUMNS} FROM flagged WHERE {' AND '.join(wanted)} ORDER BY id DESC LIMIT ?"
    with database.read() as cursor:
        found = cursor.rows(sql, (*([] if model is None else [model]), limit))
        return [_window(cursor, row) for row in found]


def give_result(database: Database, number: int, result: LabelledResult, *, done: bool = True, note: str = "") -> None:
    """Keeps what labelled data of a flagged window said. Another value of the same metric takes the place of the first.

    Args:
        database: where it is kept.
        number: of the entry.
        result: what it was.
        done: whether that is all that is wanted of the entry.
        note: takes the place of the entry's; "" leaves it.

    Raises:
        TelemetryError: there is no such entry.
        StoreUnavailableError: nothing was changed.
    """
    with database.write() as cursor:
        _mark(cursor, number, result.given_s if done else None, note)
        cursor.run(
            "INSERT INTO flagged_results (flagged, metric, value, expected, samples, source, given_s)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (flagged, metric) DO UPDATE SET value = excluded.value,"
            " expected = excluded.expected, samples = excluded.samples, source = excluded.source,"
            " given_s = excluded.given_s",
            (number, *astuple(result)),
        )


def mark(database: Database, number: int, done_s: int | None, *, note: str = "") -> None:
    """Marks an entry as done, or with None as still to do.

    Raises:
        TelemetryError: there is no such entry.
        StoreUnavailableError: nothing was changed.
    """
    with database.write() as cursor:
        if done_s is None:
            cursor.run("UPDATE flagged SET done_s = NULL WHERE id = ?", (number,))
        _mark(cursor, number, done_s, note)


def _mark(cursor: Cursor, number: int, done_s: int | None, note: str) -> None:
    known = cursor.run(
        "UPDATE flagged SET done_s = COALESCE(done_s, ?), note = CASE ? WHEN '' THEN note ELSE ? END WHERE id = ?",
        (done_s, note, note, number),
    )
    if not known:
        raise TelemetryError(
            f"There is no flagged window {number}.", remedy="`edgekit telemetry flagged list` shows their numbers."
        )


def forget(cursor: Cursor, oldest_s: int) -> int:
    """Forgets entries that ended before that time, with their results; tells how many. One that lasts is kept."""
    old = "SELECT id FROM flagged WHERE ended_s IS NOT NULL AND ended_s < ?"
    cursor.run(f"DELETE FROM flagged_results WHERE flagged IN ({old})", (oldest_s,))
    return cursor.run("DELETE FROM flagged WHERE ended_s IS NOT NULL AND ended_s < ?", (oldest_s,))


def _window(cursor: Cursor, row: Row) -> FlaggedWindow:
    number, model, reference, cohort, artifacts, start_s, end_s, features, *rest = row
    opened_s, last_found_s, times_found, ended_s, done_s, note = rest
    results = cursor.rows(
        "SELECT metric, value, expected, samples, source, given_s FROM flagged_results WHERE flagged = ?"
        " ORDER BY given_s, metric",
        (number,),
    )
    return FlaggedWindow(
        number, model, reference, cohort, tuple(json.loads(artifacts)), start_s, end_s, _unpacked(features),
        opened_s, last_found_s, times_found, ended_s, done_s, note, tuple(LabelledResult(*each) for each in results),
    )  # fmt: skip


def _artifacts(cursor: Cursor, checked: Checked, start_s: int, end_s: int, known: Iterable[str]) -> str:
    """The artifacts that ran on these days, and those known before, as JSON."""
    of_cohort, more = ("", ()) if checked.cohort == "" else (" AND p.cohort = ?", (checked.cohort,))
    found = cursor.rows(
        "SELECT DISTINCT p.artifact FROM presence p JOIN streams s ON s.stream = p.stream WHERE s.model = ?"
        f" AND s.reference = ? AND p.day >= ? AND p.day <= ?{of_cohort}",
        (checked.model, checked.reference, start_s // DAY_S, end_s // DAY_S, *more),
    )
    return json.dumps(sorted({*known, *(artifact for (artifact,) in found)} - {""}))


def _movement(finding: Finding) -> Movement:
    details = finding.details
    value, limit = details.get("distance", details.get("value")), details.get("threshold", details.get("limit"))
    return Movement(finding.feature, finding.rule, finding.summary, _number(value), _number(limit))


def _packed(movements: Iterable[Movement]) -> str:
    """As JSON: of each feature the farthest."""
    worst: dict[str, Movement] = {}
    for each in movements:
        if each.feature not in worst or _beyond(each) > _beyond(worst[each.feature]):
            worst[each.feature] = each
    ordered = sorted(worst.values(), key=lambda each: (-_beyond(each), each.feature))
    return json.dumps([astuple(each) for each in ordered])


def _unpacked(packed: str) -> tuple[Movement, ...]:
    return tuple(Movement(*each) for each in json.loads(packed))


def _beyond(movement: Movement) -> float:
    """How far beyond its limit, on a scale that rules and distances share."""
    if movement.value is None or movement.limit is None:
        return 0.0
    return abs(movement.value - movement.limit)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _began(finding: Finding) -> int | None:
    began = finding.details.get("began")
    return int(datetime.fromisoformat(began.replace("Z", "+00:00")).timestamp()) if isinstance(began, str) else None
