"""What each view shows, as values, read through the store; the templates only lay them out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import numpy as np

from edgekit.errors import DataError
from edgekit.telemetry.drift.check import K_DEVICES, Question, check
from edgekit.telemetry.drift.distances import distances
from edgekit.telemetry.drift.joint import plain
from edgekit.telemetry.drift.layout import Layout
from edgekit.telemetry.page.charts import pair, timeline, trend
from edgekit.telemetry.reporter.distance import THETA
from edgekit.telemetry.reporter.reference import NUMBER
from edgekit.telemetry.store import HOUR_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.telemetry.drift.verdict import DriftVerdict, FeatureVerdict
    from edgekit.telemetry.reporter.reference import Feature, Reference
    from edgekit.telemetry.reporter.window import FeatureCounts
    from edgekit.telemetry.store import AlertRow, DeviceRow, ModelRow, Store, Totals

DAY_S = 24 * HOUR_S
SILENT_S = 2 * HOUR_S
"""A device that sent nothing for so long is called silent."""
MOST_DAYS = 400
PARTS = 32
"""Parts of a drawn distribution."""


@dataclass(frozen=True)
class ModelLine:
    """A model of the overview; `verdict` is None where nothing could be judged."""

    row: ModelRow
    verdict: DriftVerdict | None
    because: str


@dataclass(frozen=True)
class FeatureLine:
    """A feature of a model: its verdict, and its distance from the reference over time, drawn."""

    verdict: FeatureVerdict
    trend: str


@dataclass(frozen=True)
class ModelView:
    """One model and reference over some days."""

    row: ModelRow
    verdict: DriftVerdict
    lines: tuple[FeatureLine, ...]
    days: int
    step: str
    cohort: str | None


@dataclass(frozen=True)
class FeatureView:
    """One feature: its distance over time, and both distributions as parts: label, reference's share, window's."""

    row: ModelRow
    feature: Feature
    verdict: FeatureVerdict | None
    timeline: str
    steps: tuple[tuple[str, float | None, float | None, int], ...]
    distribution: str
    parts: tuple[tuple[str, float, float], ...]
    n: int
    days: int
    cohort: str | None


def overview(store: Store, now: int) -> tuple[list[ModelLine], list[AlertRow], list[DeviceRow]]:
    """Models with what a check says of their last day, the open alerts, the silent devices."""
    lines = []
    for row in store.models():
        verdict, because = None, ""
        try:
            verdict = check(store, row.model, now, reference=row.reference)
        except DataError as error:
            because = error.what
        lines.append(ModelLine(row, verdict, because))
    return lines, store.alerts(open_only=True, limit=50), store.devices(silent_for_s=SILENT_S, limit=200)


def model_view(store: Store, model: str, reference: str, now: int, *, days: int, cohort: str | None) -> ModelView:
    """A model's features, each with its course over the days.

    Raises:
        DataError: there is no such model or reference.
    """
    row, known = _find(store, model, reference)
    verdict = check(store, model, now, Question(cohort=cohort), reference=reference)
    step_s = _step(days)
    plain_features = plain(known.features)
    layout = Layout(plain_features)
    series = store.series(model, reference, *_span(now, days), step_s=step_s, cohort=cohort)
    ks, limits = _course(layout, series, cohort)
    index = {feature.name: number for number, feature in enumerate(plain_features)}
    lines = []
    for one in verdict.features:
        at = index.get(one.feature)
        drawn = "" if at is None or not series else trend(
            _some(ks[:, at]), _some(limits[:, at]), title=f"Distance of {one.feature} over {days} days"
        )  # fmt: skip
        lines.append(FeatureLine(one, drawn))
    return ModelView(row, verdict, tuple(lines), days, "day" if step_s == DAY_S else "hour", cohort)


def feature_view(
    store: Store, model: str, reference: str, name: str, now: int, *, days: int, cohort: str | None
) -> FeatureView:
    """One feature in detail.

    Raises:
        DataError: there is no such model, reference or feature.
    """
    row, known = _find(store, model, reference)
    feature = next((one for one in plain(known.features) if one.name == name), None)
    if feature is None:
        raise DataError(f"The reference {reference[:12]} has no feature {name!r}.", remedy="Choose one of the model's.")
    step_s = _step(days)
    span = _span(now, days)
    series = store.series(model, reference, *span, step_s=step_s, cohort=cohort, features=[name])
    layout = Layout([feature])
    ks, limits = _course(layout, series, cohort)
    labels = [_when(one.start_s, step_s) for one in series]
    verdict = check(store, model, now, Question(cohort=cohort), reference=reference)
    recent = store.totals(model, reference, now - DAY_S, span[1], cohort=cohort).features[name]
    parts = _parts(feature, recent)
    values, thresholds = (_some(ks[:, 0]), _some(limits[:, 0])) if series else ([], [])
    return FeatureView(
        row, feature, next((one for one in verdict.features if one.feature == name), None),
        timeline(values, thresholds, labels, title=f"Distance of {name} over {days} days") if len(series) > 1 else "",
        tuple(zip(labels, values, thresholds, (one.features[name].n for one in series), strict=True)),
        pair([p[1] for p in parts], [p[2] for p in parts], [p[0] for p in parts],
             title=f"{name}: the reference and the last 24 hours") if parts else "",
        tuple(parts), recent.n, days, cohort,
    )  # fmt: skip


def _find(store: Store, model: str, reference: str) -> tuple[ModelRow, Reference]:
    row = next((one for one in store.models() if (one.model, one.reference) == (model, reference)), None)
    known = store.references(model).get(reference)
    if row is None or known is None:
        raise DataError(
            f"There are no counts of {model!r} over a registered reference {reference[:12]!r}.",
            remedy="Choose a model on the overview.",
        )
    return row, known


def _step(days: int) -> int:
    return HOUR_S if days <= 3 else DAY_S


def _span(now: int, days: int) -> tuple[int, int]:
    until = -(-now // HOUR_S) * HOUR_S
    return until - days * DAY_S, until


def _course(layout: Layout, series: Sequence[Totals], cohort: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Distances and thresholds, `(steps, F)`; NaN where there are no values, or too few devices of a cohort."""
    ks = np.full((len(series), len(layout.sizes)), np.nan)
    limits = np.full_like(ks, np.nan)
    for number, totals in enumerate(series):
        if cohort is not None and totals.devices < K_DEVICES:
            continue
        found = distances(layout, layout.flat([totals.features[feature.name].cells for feature in layout.features]))
        enough = found.n > 0
        ks[number, enough] = found.ks[enough]
        limits[number, enough] = layout.thresholds(found.n, THETA)[enough]
    return ks, limits


def _some(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(value) else float(value) for value in values]


def _when(start_s: int, step_s: int) -> str:
    form = "%d %b" if step_s == DAY_S else "%d %b %H:%M"
    return datetime.fromtimestamp(start_s, timezone.utc).strftime(form)


def _parts(feature: Feature, window: FeatureCounts) -> list[tuple[str, float, float]]:
    """Both distributions in few parts: categories as they are, numbers between every so many edges."""
    reference = np.asarray(feature.cells, dtype=float)
    seen = np.asarray(window.cells, dtype=float)
    if not reference.sum() or len(reference) != len(seen):
        return []
    if feature.kind == NUMBER:
        cuts = np.unique(np.linspace(0, len(reference), min(PARTS, len(reference)) + 1).astype(int))
        starts, ends = cuts[:-1], cuts[1:]
        edges = [-math.inf, *feature.edges]
        labels = [f"below {feature.edges[0]:.3g}" if start == 0 else f"{edges[start]:.3g}" for start in starts]
        reference = np.add.reduceat(reference, starts)
        seen = np.add.reduceat(seen, starts)
        assert len(ends) == len(reference)
    else:
        labels = [*map(str, feature.categories), "unseen"]
        if len(labels) > PARTS:
            order = np.argsort(-reference[:-1], kind="stable")[: PARTS - 2]
            rest = np.setdiff1d(np.arange(len(labels) - 1), order)
            labels = [*(labels[at] for at in order), f"{len(rest)} others", "unseen"]
            reference = np.array([*reference[order], reference[rest].sum(), reference[-1]])
            seen = np.array([*seen[order], seen[rest].sum(), seen[-1]])
    shares = reference / reference.sum(), seen / max(1.0, seen.sum())
    return [(label, float(one), float(other)) for label, one, other in zip(labels, *shares, strict=True)]
