"""Findings over time. A finding opens an alert; found again it is the same one; no longer found, it recovers.

Every opening is a row of the log. Notices are few: one when an alert opens and one when it has recovered. Within the
cool-down after a notice of the same finding, a new opening is silent; it is told when the cool-down is over, if it is
still open then, and its recovery is told only if its opening was. Notices wait in a table, so none is lost by a
restart, and go out by `webhooks`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edgekit.telemetry.collector.database import Cursor, Database, Row
    from edgekit.telemetry.store import Checked, Finding

COOL_DOWN_S = 6 * 3600
KEY = "model = ? AND reference = ? AND cohort = ? AND feature = ? AND rule = ?"


def record(
    database: Database,
    checked: Iterable[Checked],
    now_s: int,
    *,
    urls: Sequence[str] = (),
    cool_down_s: int = COOL_DOWN_S,
) -> None:
    """Brings the alerts up to what a check found, and queues the notices.

    Args:
        database: where they are kept.
        checked: everything that was looked at; what is not in it stays as it is.
        now_s: when it was found.
        urls: where notices go.
        cool_down_s: for how long another opening of the same finding stays silent.

    Raises:
        StoreUnavailableError: nothing was changed.
    """
    with database.write() as cursor:
        cursor.alone_with("alerts")
        for each in checked:
            found = {_key(finding): finding for finding in each.findings}
            for finding in found.values():
                _found(cursor, finding, now_s, urls, cool_down_s)
            if each.conclusive:
                _recover(cursor, each, set(found), now_s, urls)


def _key(finding: Finding) -> tuple[str, ...]:
    return (finding.model, finding.reference, finding.cohort, finding.feature, finding.rule)


def _found(cursor: Cursor, finding: Finding, now_s: int, urls: Sequence[str], cool_down_s: int) -> None:
    key = _key(finding)
    details = json.dumps(dict(finding.details), sort_keys=True, default=str)
    if not cursor.run(
        "UPDATE alerts SET summary = ?, details = ?, last_found_s = ?, times_found = times_found + 1"
        f" WHERE state = 'open' AND {KEY}",
        (finding.summary, details, now_s, *key),
    ):
        cursor.run(
            "INSERT INTO alerts (model, reference, cohort, feature, rule, summary, details, state, opened_s,"
            " last_found_s, times_found) VALUES (?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, 1)",
            (*key, finding.summary, details, now_s, now_s),
        )
    rows = cursor.rows(f"SELECT id, state, opened_s, notified_s FROM alerts WHERE {KEY}", key)
    [(number, opened_s, notified_s)] = [(row[0], row[2], row[3]) for row in rows if row[1] == "open"]
    last_told_s = max([row[3] for row in rows if row[3] is not None], default=None)
    told = notified_s is not None and notified_s >= opened_s
    if not told and (last_told_s is None or now_s - last_told_s >= cool_down_s):
        _queue(cursor, number, "opened", urls, _notice("opened", number, finding, opened_s, None), now_s)


def _recover(cursor: Cursor, checked: Checked, found: set[tuple[str, ...]], now_s: int, urls: Sequence[str]) -> None:
    rows = cursor.rows(
        "SELECT id, feature, rule, summary, details, opened_s, notified_s FROM alerts WHERE state = 'open'"
        " AND model = ? AND reference = ? AND cohort = ?",
        (checked.model, checked.reference, checked.cohort),
    )
    for number, feature, rule, summary, details, opened_s, notified_s in rows:
        if (checked.model, checked.reference, checked.cohort, feature, rule) in found:
            continue
        cursor.run("UPDATE alerts SET state = 'recovered', recovered_s = ? WHERE id = ?", (now_s, number))
        if notified_s is not None:
            finding = _finding(checked, feature, rule, summary, json.loads(details))
            _queue(cursor, number, "recovered", urls, _notice("recovered", number, finding, opened_s, now_s), now_s)


def _finding(checked: Checked, feature: str, rule: str, summary: str, details: dict[str, Any]) -> Finding:
    from edgekit.telemetry.store import Finding

    return Finding(checked.model, checked.reference, checked.cohort, feature, rule, summary, details)


def _notice(
    kind: Literal["opened", "recovered"], number: int, finding: Finding, opened_s: int, recovered_s: int | None
) -> str:
    body = {"schema": 1, "kind": kind, "alert": number, "opened_s": opened_s, "recovered_s": recovered_s}
    return json.dumps({**body, **asdict(finding)}, sort_keys=True, default=str)


def _queue(cursor: Cursor, number: int, kind: str, urls: Sequence[str], body: str, now_s: int) -> None:
    cursor.each(
        "INSERT INTO notices (alert, kind, url, body, created_s, due_s, attempts) VALUES (?, ?, ?, ?, ?, ?, 0)",
        [(number, kind, url, body, now_s, now_s) for url in urls],
    )
    if kind == "opened":
        cursor.run("UPDATE alerts SET notified_s = ? WHERE id = ?", (now_s, number))


def due_notices(database: Database, now_s: int, limit: int = 50) -> list[Row]:
    """(id, url, body, attempts) of what is to be sent now, the oldest first."""
    with database.read() as cursor:
        sql = "SELECT id, url, body, attempts FROM notices WHERE due_s <= ? ORDER BY id LIMIT ?"
        return cursor.rows(sql, (now_s, limit))


def notice_sent(database: Database, number: int) -> None:
    """Forgets a notice that was delivered, or given up."""
    with database.write() as cursor:
        cursor.run("DELETE FROM notices WHERE id = ?", (number,))


def notice_failed(database: Database, number: int, due_s: int) -> None:
    """Keeps a notice for another attempt."""
    with database.write() as cursor:
        cursor.run("UPDATE notices SET attempts = attempts + 1, due_s = ? WHERE id = ?", (due_s, number))
