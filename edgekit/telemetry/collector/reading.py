"""Reading: `edgekit.telemetry.store.Store` over the sums that `ingest` keeps, for both kinds of database.

A question is one range of `rollups`: its rows are added as matrices (see `layout`), a page at a time, so a total over
ten thousand spans costs tens of milliseconds and little memory. Distinct devices come from `presence`, by whole days.
"""

from __future__ import annotations

import itertools
import json
import time
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from edgekit.errors import TelemetryError, UnknownReferenceError
from edgekit.telemetry.collector import flagged, registry
from edgekit.telemetry.collector import layout as layouts
from edgekit.telemetry.collector.database import open_database
from edgekit.telemetry.collector.layout import CountsView, Layout
from edgekit.telemetry.collector.rollups import DAY_S
from edgekit.telemetry.reporter.reference import LATENCY, Reference
from edgekit.telemetry.store import HOUR_S, AlertRow, DeviceRow, Finding, ModelRow, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edgekit.telemetry.collector.database import Database, Row
    from edgekit.telemetry.evaluations import FlaggedWindow
    from edgekit.telemetry.store import Phase

RECENT_DAYS = 30
"""How far back `devices` looks for the models that a device reported for."""


def open_store(url: str, *, span_s: int | None = None, new: bool = True) -> SqlStore:
    """A store by its URL (see `open_database`); made if it is not there yet, unless told not to.

    Args:
        url: `sqlite:PATH`, `PATH` or `postgresql://…`.
        span_s: length of a span, for a new database: 3600 unless given. One that is there keeps its own.
        new: whether a file that is not there is made. Whoever only reads says no: a path that was mistyped is no
            collector without devices.

    Raises:
        TelemetryError: there is none and none is to be made, it has spans of another length than asked for, or a
            schema that is not known.
        StoreUnavailableError: it cannot be used.
        MissingPackageError: a package for PostgreSQL is missing.
    """
    database = open_database(url, new=new)
    with database.read() as cursor:
        found = cursor.rows("SELECT value FROM meta WHERE name = 'span_s'")
    if not found:
        with database.write() as cursor:
            insert = "INSERT INTO meta (name, value) VALUES ('span_s', ?) ON CONFLICT (name) DO NOTHING"
            cursor.run(insert, (str(span_s or HOUR_S),))
            found = cursor.rows("SELECT value FROM meta WHERE name = 'span_s'")
    have = int(found[0][0])
    if span_s not in (None, have):
        raise TelemetryError(
            f"The database keeps spans of {have} s, not of {span_s} s.",
            remedy="Leave --span out, or use another database.",
        )
    return SqlStore(database, span_s=have)


class SqlStore:
    """A `Store` over a `Database`. Its methods may be called from any thread."""

    def __init__(self, database: Database, *, span_s: int) -> None:
        self.database = database
        self.span_s = span_s
        self._reference = lru_cache(maxsize=64)(self._load)

    def totals(
        self,
        model: str,
        reference: str,
        since: int,
        until: int,
        *,
        cohort: str | None = None,
        phase: Phase | None = None,
    ) -> Totals:
        """See `Store`."""
        layout, sums, devices = self._collect((model, reference, since, until), cohort, phase, None)
        if not sums:
            return _Sum(layout, since).totals(since, since, 0, None)
        return sums[0].totals(sums[0].first, sums[0].last + self.span_s, len({name for _, name in devices}), None)

    def series(
        self,
        model: str,
        reference: str,
        since: int,
        until: int,
        *,
        step_s: int = HOUR_S,
        cohort: str | None = None,
        phase: Phase | None = None,
        features: Sequence[str] | None = None,
    ) -> list[Totals]:
        """See `Store`."""
        if step_s <= 0 or step_s % self.span_s:
            raise ValueError(f"a step of {step_s} s is no multiple of the span of {self.span_s} s")
        question = (model, reference, since, until)
        _, sums, devices = self._collect(question, cohort, phase, lambda span: span - span % step_s)
        by_day: dict[int, set[str]] = {}
        for day, device in devices:
            by_day.setdefault(day, set()).add(device)
        answers = []
        for start, each in sums.items():
            days = range(start // DAY_S, (start + step_s - 1) // DAY_S + 1)
            present = len(set().union(*(by_day.get(day, set()) for day in days)))
            answers.append(each.totals(start, start + step_s, present, features))
        return answers

    def devices(self, *, silent_for_s: int = 0, limit: int = 10_000) -> list[DeviceRow]:
        """See `Store`."""
        now = int(time.time())
        recent = now // DAY_S - RECENT_DAYS
        with self.database.read() as cursor:
            rows = cursor.rows(
                "SELECT device, cohort, enrolled_s, last_seen_s, skewed, clock_off_s,"
                " (SELECT COUNT(*) FROM device_keys k WHERE k.device = devices.device AND k.revoked_s IS NULL)"
                " FROM devices WHERE COALESCE(last_seen_s, enrolled_s, 0) <= ? ORDER BY device LIMIT ?",
                (now - silent_for_s, limit),
            )
            pairs = cursor.rows(
                "SELECT DISTINCT p.device, s.model FROM presence p JOIN streams s ON s.stream = p.stream"
                " WHERE p.day >= ?",
                (recent,),
            )
        models: dict[str, list[str]] = {}
        for device, model in sorted(pairs):
            models.setdefault(device, []).append(model)
        return [
            DeviceRow(
                device, cohort, enrolled, seen, None if seen is None else max(0, now - seen),
                tuple(models.get(device, ())), bool(skewed), off, active,
            )
            for device, cohort, enrolled, seen, skewed, off, active in rows
        ]  # fmt: skip

    def models(self) -> list[ModelRow]:
        """See `Store`."""
        with self.database.read() as cursor:
            rows = cursor.rows(
                "SELECT s.stream, s.model, s.reference, s.bootstrapped, s.windows,"
                " EXISTS (SELECT 1 FROM reference_files r WHERE r.id = s.reference AND r.model = s.model),"
                " (SELECT COUNT(*) FROM windows w WHERE w.stream = s.stream AND w.state = 1),"
                " (SELECT MIN(span) FROM rollups r WHERE r.stream = s.stream),"
                " (SELECT MAX(span) FROM rollups r WHERE r.stream = s.stream)"
                " FROM streams s WHERE s.windows > 0"
            )
            present = cursor.rows("SELECT DISTINCT stream, cohort, artifact FROM presence")
        cohorts: dict[int, set[str]] = {}
        artifacts: dict[int, set[str]] = {}
        for stream, cohort, artifact in present:
            cohorts.setdefault(stream, set()).add(cohort)
            artifacts.setdefault(stream, set()).update({artifact} - {""})
        found = [
            ModelRow(
                model, reference, bool(known), bool(bootstrapped), tuple(sorted(cohorts.get(stream, ()))),
                first or 0, 0 if last is None else last + self.span_s, windows, pending,
                tuple(sorted(artifacts.get(stream, ()))),
            )
            for stream, model, reference, bootstrapped, windows, known, pending, first, last in rows
        ]  # fmt: skip
        return sorted(found, key=lambda each: (each.model, -each.last_s, each.reference))

    def references(self, model: str | None = None) -> dict[str, Reference]:
        """See `Store`."""
        with self.database.read() as cursor:
            rows = cursor.rows("SELECT id, model FROM reference_files ORDER BY model, registered_s, id")
        return {each: self._reference(each) for each, its_model in rows if model in (None, its_model)}

    def register(self, reference: Reference) -> int:
        """See `Store`."""
        return registry.register(self.database, reference)

    def alerts(self, *, model: str | None = None, open_only: bool = False, limit: int = 1000) -> list[AlertRow]:
        """See `Store`."""
        wanted = ["1 = 1", *(["model = ?"] if model is not None else []), *(["state = 'open'"] if open_only else [])]
        sql = (
            "SELECT id, model, reference, cohort, feature, rule, summary, details, state, opened_s, last_found_s,"
            f" recovered_s, times_found, notified_s FROM alerts WHERE {' AND '.join(wanted)} ORDER BY id DESC LIMIT ?"
        )
        with self.database.read() as cursor:
            rows = cursor.rows(sql, (*([] if model is None else [model]), limit))
        return [AlertRow(row[0], _finding(row), *row[8:]) for row in rows]

    def flagged(self, *, model: str | None = None, to_do: bool = False, limit: int = 1000) -> list[FlaggedWindow]:
        """See `Store`."""
        return flagged.rows(self.database, model=model, to_do=to_do, limit=limit)

    def sizes(self) -> tuple[int, int, int]:
        """(windows that wait for their reference, open alerts, devices known), at little cost."""
        with self.database.read() as cursor:
            [found] = cursor.rows(
                "SELECT (SELECT COUNT(*) FROM windows WHERE state = 1), (SELECT COUNT(*) FROM alerts"
                " WHERE state = 'open'), (SELECT COUNT(*) FROM devices)"
            )
        pending, open_alerts, devices = found
        return pending, open_alerts, devices

    def close(self) -> None:
        """Ends this thread's connection."""
        self.database.close()

    def _load(self, reference: str) -> Reference:
        with self.database.read() as cursor:
            found = cursor.rows("SELECT document FROM reference_files WHERE id = ?", (reference,))
        if not found:
            raise UnknownReferenceError(
                f"The reference {reference[:12]} is not registered with the collector.",
                remedy="Register it: `edgekit telemetry register ARTIFACT`.",
            )
        return Reference.from_json(found[0][0])

    def _collect(
        self,
        question: tuple[str, str, int, int],
        cohort: str | None,
        phase: Phase | None,
        step_of: Callable[[int], int] | None,
    ) -> tuple[Layout, dict[int, _Sum], list[tuple[int, str]]]:
        """(layout, sums by step, (day, device) pairs) of a question; a step is what `step_of` makes of a span, or 0."""
        model, reference, since, until = question
        layout = Layout.of(self._reference(reference), LATENCY.size)
        since -= since % self.span_s
        until += -until % self.span_s
        of_cohort, more = ("", ()) if cohort is None else (" AND cohort = ?", (cohort,))
        sums: dict[int, _Sum] = {}
        with self.database.read() as cursor:
            found = cursor.rows("SELECT stream FROM streams WHERE model = ? AND reference = ?", (model, reference))
            if not found:
                return layout, {}, []
            stream = found[0][0]
            sql = (
                "SELECT span, width, counts, moments FROM rollups WHERE stream = ? AND span >= ? AND span < ?"
                f"{of_cohort} ORDER BY span"
            )
            for page in cursor.pages(sql, (stream, since, until, *more)):
                held = page if phase is None else [row for row in page if phase.holds(row[0])]
                for step, rows in _by_step(held, step_of):
                    if step not in sums:
                        sums[step] = _Sum(layout, rows[0][0])
                    sums[step].add(rows)
            sql = f"SELECT DISTINCT day, device FROM presence WHERE stream = ? AND day >= ? AND day < ?{of_cohort}"
            devices = cursor.rows(sql, (stream, since // DAY_S, (until - 1) // DAY_S + 1, *more))
        return layout, sums, [(day, device) for day, device in devices]


def _by_step(rows: list[Row], step_of: Callable[[int], int] | None) -> Iterable[tuple[int, list[Row]]]:
    """Rows, in order of their spans, by step; nothing is done with a single one where all is one step."""
    if step_of is None:
        return [(0, rows)] if rows else []
    return [(step, list(found)) for step, found in itertools.groupby(rows, lambda row: step_of(row[0]))]


class _Sum:
    """Rows of sums that are added up as they come, so that a long time is never in memory at once."""

    def __init__(self, layout: Layout, first: int) -> None:
        self.first = self.last = first
        self._layout = layout
        self._vector = np.zeros(layout.length, np.int64)
        self._moments: list[bytes] = []

    def add(self, rows: Sequence[Row]) -> None:
        """Adds (span, width, counts, moments), in order of the spans."""
        spans, widths, packed, moments = zip(*rows, strict=True)
        self.last = spans[-1]
        self._vector += layouts.sum_packed(widths, packed, self._layout.length)
        self._moments += moments

    def totals(self, start: int, end: int, devices: int, features: Sequence[str] | None) -> Totals:
        """What was added, as of that time and so many devices."""
        layout = self._layout
        moments = np.zeros((len(layout.sizes), layouts.COLUMNS))
        if self._moments:
            stack = np.frombuffer(b"".join(self._moments), "<f8")
            moments = layouts.merge_moments(stack.reshape(len(self._moments), -1, layouts.COLUMNS))
        chosen = [i for i, name in enumerate(layout.names) if features is None or name in features]
        windows, inferences, errors, dropped, _ = self._vector[: len(layouts.TOTALS)].tolist()
        view = CountsView(layout, self._vector, moments, chosen)
        return Totals(start, end, windows, devices, inferences, errors, dropped, view)


def _finding(row: Row) -> Finding:
    model, reference, cohort, feature, rule, summary, details = row[1:8]
    return Finding(model, reference, cohort, feature, rule, summary, json.loads(details))
