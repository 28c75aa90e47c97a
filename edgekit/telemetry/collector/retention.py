"""Forgetting: raw windows after days, sums after months; names of windows never, so that no replay counts twice.

The names of windows that go are folded into ranges of seq by (device, boot), in the table `delivered`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from edgekit.telemetry.collector import flagged
from edgekit.telemetry.collector.rollups import DAY_S, PENDING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgekit.telemetry.collector.database import Cursor, Database

LOG = logging.getLogger("edgekit.collector")
PAGE = 1000
RAW_DAYS = 30
ROLLUP_DAYS = 400


class Swept(NamedTuple):
    """What was forgotten.

    Attributes:
        windows: raw windows.
        unmerged: those of them whose reference never came: they are in no sum.
        spans: sums.
    """

    windows: int
    unmerged: int
    spans: int


def sweep(database: Database, now_s: int, *, raw_days: int = RAW_DAYS, rollup_days: int = ROLLUP_DAYS) -> Swept:
    """Forgets what is older than that, in small transactions.

    Raises:
        StoreUnavailableError: what was done so far stays done.
    """
    windows = unmerged = 0
    while True:
        with database.write() as cursor:
            rows = cursor.locked(
                "SELECT device, boot, seq, state FROM windows WHERE received_s < ? ORDER BY device, boot, seq LIMIT ?",
                (now_s - raw_days * DAY_S, PAGE),
            )
            _fold(cursor, [(device, boot, seq) for device, boot, seq, _ in rows])
            delete = "DELETE FROM windows WHERE device = ? AND boot = ? AND seq = ?"
            cursor.each(delete, [row[:3] for row in rows])
        windows += len(rows)
        unmerged += sum(state == PENDING for *_, state in rows)
        if len(rows) < PAGE:
            break
    if unmerged:
        LOG.warning("%d windows were forgotten whose reference was never registered", unmerged)
    oldest = now_s - rollup_days * DAY_S
    with database.write() as cursor:
        spans = cursor.run("DELETE FROM rollups WHERE span < ?", (oldest,))
        cursor.run("DELETE FROM presence WHERE day < ?", (oldest // DAY_S,))
        cursor.run("DELETE FROM alerts WHERE state = 'recovered' AND recovered_s < ?", (oldest,))
        flagged.forget(cursor, oldest)
        cursor.run("DELETE FROM tokens WHERE expires_s < ?", (oldest,))
    return Swept(windows, unmerged, spans)


def _fold(cursor: Cursor, names: Iterable[tuple[str, bytes, int]]) -> None:
    """Notes names, given in order, as ranges."""
    ranges: list[tuple[str, bytes, int, int]] = []
    for device, boot, seq in names:
        if ranges and ranges[-1][:2] == (device, boot) and ranges[-1][3] == seq - 1:
            ranges[-1] = (device, boot, ranges[-1][2], seq)
        else:
            ranges.append((device, boot, seq, seq))
    for device, boot, first, last in ranges:
        extend = "UPDATE delivered SET last = ? WHERE device = ? AND boot = ? AND last = ?"
        if not cursor.run(extend, (last, device, boot, first - 1)):
            insert = "INSERT INTO delivered (device, boot, first, last) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
            cursor.run(insert, (device, boot, first, last))
