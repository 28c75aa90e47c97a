"""The sums as rows of plain values: one per model, reference, cohort, span and feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgekit.telemetry.collector import layout as layouts
from edgekit.telemetry.collector.layout import Layout
from edgekit.telemetry.reporter.reference import JOINT, LATENCY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.telemetry.collector.reading import SqlStore

PAGE = 500


class CountRow(NamedTuple):
    """What one feature saw in one span, on the devices of one cohort.

    Attributes:
        model, reference, cohort, feature: whose.
        start_s, end_s: the span.
        windows, inferences, errors: of the whole span and cohort, the same for all of its features.
        n: values without the missing ones; of a joint the rows that it took.
        missing, positive_infinite, negative_infinite, out_of_range: as in `FeatureCounts`.
        min, max, mean, m2: of the finite values; None for categories and where there were none.
        cells: the counts; a joint's sums.
    """

    model: str
    reference: str
    cohort: str
    feature: str
    start_s: int
    end_s: int
    windows: int
    inferences: int
    errors: int
    n: int
    missing: int
    positive_infinite: int
    negative_infinite: int
    out_of_range: int
    min: float | None
    max: float | None
    mean: float | None
    m2: float | None
    cells: list[int]


def count_rows(store: SqlStore, since: int, until: int, *, model: str | None = None) -> Iterator[CountRow]:
    """Everything that is merged and begins in [since, until), by stream, span and cohort. Holds few spans at a time.

    Raises:
        StoreUnavailableError: the database cannot be used.
    """
    references = store.references(model)
    with store.database.read() as cursor:
        streams = cursor.rows("SELECT stream, model, reference FROM streams ORDER BY model, reference")
    for stream, name, reference in streams:
        if reference not in references or references[reference].model != name:
            continue
        layout = Layout.of(references[reference], LATENCY.size)
        sums = {feature.name for feature in references[reference].features if feature.kind == JOINT}
        after = (since - 1, "")
        while True:
            with store.database.read() as cursor:
                page = cursor.rows(
                    "SELECT span, cohort, width, counts, moments FROM rollups WHERE stream = ? AND span < ?"
                    " AND (span > ? OR (span = ? AND cohort > ?)) ORDER BY span, cohort LIMIT ?",
                    (stream, until, after[0], after[0], after[1], PAGE),
                )
            for span, cohort, width, counts, moments in page:
                vector, matrix = layouts.unpack(width, counts), layouts.unpack_moments(moments)
                windows, inferences, errors = vector[:3].tolist()
                for index, feature in enumerate(layout.names):
                    seen = layout.counts(vector, matrix, index)
                    known, end_s = seen.has_moments, span + store.span_s
                    n = seen.cells[0] if feature in sums else seen.n
                    yield CountRow(
                        name, reference, cohort, feature, span, end_s, windows, inferences, errors, n,
                        seen.missing, seen.positive_infinite, seen.negative_infinite, seen.out_of_range,
                        seen.min if known else None, seen.max if known else None, seen.mean if known else None,
                        seen.m2 if known else None, list(seen.cells),
                    )  # fmt: skip
            if len(page) < PAGE:
                break
            after = (page[-1][0], page[-1][1])
