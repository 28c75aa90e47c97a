"""A table against a reference: what users try first, and what proves a reference before devices report.

Rows are windows here: the whole table is judged, and blocks of its rows tell the kind of a drift and where it begins.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgekit.telemetry.drift.joint import joints, judge_joint, plain
from edgekit.telemetry.drift.judge import judge
from edgekit.telemetry.drift.layout import Layout
from edgekit.telemetry.drift.shapes import course_of
from edgekit.telemetry.drift.summing import by_severity, outcome_of, outputs_moved, place_of
from edgekit.telemetry.drift.verdict import Broken, DriftVerdict, FeatureVerdict
from edgekit.telemetry.references.columns import counts_of
from edgekit.telemetry.references.joint import joint_counts_of
from edgekit.telemetry.reporter.distance import N_MIN, THETA
from edgekit.telemetry.reporter.reference import INPUT

if TYPE_CHECKING:
    from edgekit.telemetry.references.columns import Column
    from edgekit.telemetry.references.tables import Table
    from edgekit.telemetry.reporter.reference import Reference

MOST_BLOCKS = 50


def check_data(
    reference: Reference,
    table: Table,
    *,
    theta: float = THETA,
    n_min: int = N_MIN,
    kl: bool = False,
    rows: slice | None = None,
) -> DriftVerdict:
    """Judges a table's rows against a reference.

    Args:
        reference: what was normal.
        table: its columns are named like the reference's features.
        theta, n_min, kl: see `judge`.
        rows: which rows; all without it.

    Returns:
        The verdict. Input features that the table does not have break the rule `schema`; outputs may be absent.
    """
    first, last, _ = (rows or slice(None)).indices(table.rows)
    last = max(first, last)
    columns = {column.name: column for column in table.columns}
    features = [feature for feature in reference.features if feature.name in columns]
    absent = [f.name for f in plain(reference.features) if f.name not in columns and f.role == INPUT]
    broken = []
    if absent:
        told = f"the data have no {', '.join(absent)}"
        broken.append(Broken("schema", float(len(absent)), 0.0, told))
    judged: list[FeatureVerdict] = []
    if features:
        layout = Layout(features)
        windows = [counts_of(feature, columns[feature.name].values[first:last]) for feature in features]
        judged = judge(layout, windows, theta=theta, n_min=n_min, kl=kl)
        judged = [
            _with_course(layout, f, verdict, columns[verdict.feature], table, first, last, n_min)
            if verdict.outcome == "drift"
            else verdict
            for f, verdict in enumerate(judged)
        ]
    values = {name: column.values[first:last] for name, column in columns.items()}
    for joint in joints(reference.features):
        if joint.joint is not None and set(joint.joint.members) <= set(values):
            counts = joint_counts_of(joint, features, values)
            judged.append(judge_joint(joint, counts, judged, theta=theta, n_min=n_min))
    ordered = by_severity(judged)
    outcome, because = outcome_of(ordered, broken, last - first, n_min, unit="rows")
    worst = next((v for v in ordered if v.outcome == "drift"), None)
    return DriftVerdict(
        model=reference.model,
        reference=reference.id,
        outcome=outcome,
        because=because,
        start=_label(table, first),
        end=_label(table, max(first, last - 1)),
        n=last - first,
        devices=None,
        against=reference.data or "the reference",
        cohort=None,
        phase=None,
        shape=worst.shape if worst else None,
        began=worst.began if worst else None,
        outputs_moved=outputs_moved(judged),
        broken=tuple(broken),
        features=ordered,
        cohorts=(),
        theta=theta,
        n_min=n_min,
    )


def _with_course(
    layout: Layout, f: int, verdict: FeatureVerdict, column: Column, table: Table, first: int, last: int, n_min: int
) -> FeatureVerdict:
    """The verdict with the kind of its drift, from blocks of rows of at least `n_min`."""
    blocks = min(MOST_BLOCKS, (last - first) // n_min)
    if blocks < 2:
        return verdict
    feature = layout.features[f]
    ends = np.linspace(first, last, blocks + 1).astype(int)
    whole = counts_of(feature, column.values[first:last]).cells
    parts = [counts_of(feature, column.values[a:b]).cells for a, b in itertools.pairwise(ends)]
    place = place_of(feature, whole)
    deviations = np.array([place(part) for part in parts])
    n = np.array([float(sum(part)) for part in parts])
    one = Layout([feature])
    thresholds = np.array([one.thresholds(np.array([size]), 0.0)[0] for size in n])
    shape, began = course_of(deviations, thresholds)
    label = None if began is None else _label(table, int(ends[began]))
    return msgspec.structs.replace(verdict, shape=shape, began=label)


def _label(table: Table, row: int) -> str:
    if table.times is None or row >= len(table.times):
        return f"row {row}"
    return datetime.fromtimestamp(float(table.times[row]), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
