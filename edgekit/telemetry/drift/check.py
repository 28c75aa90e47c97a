"""The check of what devices reported: one span of a store, its cohorts and its history, to one verdict.

The span is an exact sum of what the store keeps per hour. The whole is judged first, then each cohort with enough
devices, then the steps of the time before tell the kind of each drift and since when. What has no reference from
conversion (latency), and everything under `phase`, is judged against the time before the span.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgekit.errors import DataError
from edgekit.telemetry.drift.baseline import baseline
from edgekit.telemetry.drift.joint import joints, judge_joint, plain
from edgekit.telemetry.drift.judge import judge
from edgekit.telemetry.drift.layout import Layout
from edgekit.telemetry.drift.model_rules import model_rules, waiting_windows
from edgekit.telemetry.drift.shapes import course_of
from edgekit.telemetry.drift.steps import DAY_S, coarse_enough, counts_in, grouped, merged, when
from edgekit.telemetry.drift.summing import by_severity, outcome_of, outputs_moved, place_of
from edgekit.telemetry.drift.verdict import Broken, CohortVerdict, DriftVerdict, FeatureVerdict, Outcome
from edgekit.telemetry.reporter.distance import N_MIN, THETA
from edgekit.telemetry.reporter.reference import LATENCY as LATENCY_FEATURE
from edgekit.telemetry.store import HOUR_S, LATENCY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgekit.telemetry.reporter.reference import Feature, Reference
    from edgekit.telemetry.store import ModelRow, Store, Totals

HISTORY_SPANS = 14
K_DEVICES = 5
"""A cohort of fewer devices is not told apart: its counts would say what few people did."""
LATENCY_THETA = 0.1


@dataclass(frozen=True)
class Question:
    """What is asked of a store.

    Attributes:
        span_s: how long the judged span is, in seconds; it ends at `now`.
        history_s: how far back the kind of a drift, volumes and baselines look.
        cohort: only these devices; None for all.
        phase: "hour-of-day" or "day-of-week" compares with the same phases of the history; None: with the reference.
        theta, n_min, kl: see `edgekit.telemetry.drift.judge`.
        k_devices: see `K_DEVICES`.
    """

    span_s: int = DAY_S
    history_s: int = HISTORY_SPANS * DAY_S
    cohort: str | None = None
    phase: str | None = None
    theta: float = THETA
    n_min: int = N_MIN
    kl: bool = False
    k_devices: int = K_DEVICES


def check(
    store: Store, model: str, now: int, question: Question | None = None, *, reference: str | None = None
) -> DriftVerdict:
    """Judges what devices reported of a model in the span that ends now.

    Args:
        store: where the counts are.
        model: its name.
        now: seconds since 1970; the span in progress counts with what it has.
        question: what is asked; the defaults judge the last 24 hours against the reference.
        reference: the id of one of the model's references; without it the one that reported last.

    Raises:
        DataError: nothing is known of that model or reference.
        StoreUnavailableError: the store does not answer.
    """
    question = question or Question()
    row, ours = _model_row(store, model, reference)
    known = store.references(model).get(row.reference)
    if known is None:
        return _unknown_reference(row, now, question)
    return _Check(store, known, row, ours, now, question).verdict()


def _model_row(store: Store, model: str, reference: str | None) -> tuple[ModelRow, list[ModelRow]]:
    ours = [row for row in store.models() if row.model == model]
    wanted = [row for row in ours if reference is None or row.reference.startswith(reference)]
    if not wanted:
        known = sorted({row.model for row in store.models()})
        has = f" Its references are {', '.join(row.reference[:12] for row in ours)}." if ours else ""
        raise DataError(
            f"The store has no window of the model {model!r}{f' and reference {reference}' if reference else ''}.{has}",
            remedy=f"Known models: {', '.join(known)}." if known else "No device has reported yet.",
        )
    registered = [row for row in wanted if row.known and not row.bootstrapped]
    return max(registered or wanted, key=lambda row: row.last_s), ours


class _Check:
    """One question to one store about one reference."""

    def __init__(
        self, store: Store, reference: Reference, row: ModelRow, ours: list[ModelRow], now: int, question: Question
    ) -> None:
        self._store, self._reference, self._row, self._ours = store, reference, row, ours
        self._q = question
        span = store.span_s
        self._until = -(-now // span) * span
        self._since = self._until - max(span, question.span_s // span * span)
        self._before = self._since - question.history_s
        names = {feature.name for feature in reference.features}
        self._features: tuple[Feature, ...] = plain(reference.features)
        if LATENCY not in names:
            self._features = (*self._features, LATENCY_FEATURE._replace(name=LATENCY))
        self._history: list[Totals] = []

    def verdict(self) -> DriftVerdict:
        """The whole of it."""
        q = self._q
        whole = self._totals(self._since, self._until, q.cohort)
        if q.cohort and 0 < whole.devices < q.k_devices:
            raise DataError(
                f"The cohort {q.cohort!r} has fewer than {q.k_devices} devices in this span: nothing is told of it.",
                remedy="Take a longer span, or a larger cohort.",
            )
        self._history = self._series(self._before, self._since, self._step())
        layouts = self._layout(whole)
        judged = self._judge(layouts, whole)
        judged = [self._with_course(verdict, whole) if verdict.outcome == "drift" else verdict for verdict in judged]
        broken = model_rules(
            whole, self._history, self._since, self._since - self._before, self._until - self._since, q.n_min
        )
        broken += waiting_windows(self._ours)
        ordered = by_severity(judged)
        outcome, because = outcome_of(ordered, broken, whole.inferences, q.n_min, unit="inferences")
        worst = next((v for v in ordered if v.outcome == "drift"), None)
        return DriftVerdict(
            model=self._reference.model,
            reference=self._reference.id,
            outcome=outcome,
            because=because,
            start=when(self._since),
            end=when(self._until),
            n=whole.inferences,
            devices=whole.devices,
            against=self._against(),
            cohort=q.cohort,
            phase=q.phase,
            shape=worst.shape if worst else None,
            began=worst.began if worst else None,
            outputs_moved=outputs_moved(judged),
            broken=broken,
            features=ordered,
            cohorts=self._cohorts(layouts) if q.cohort is None else (),
            theta=q.theta,
            n_min=q.n_min,
        )

    def _against(self) -> str:
        if self._q.phase:
            return (
                f"the same {'hours' if self._q.phase == 'hour-of-day' else 'days'} of {_span(self._q.history_s)} before"
            )
        return self._reference.data or "the reference"

    def _totals(self, since: int, until: int, cohort: str | None) -> Totals:
        return self._store.totals(self._reference.model, self._reference.id, since, until, cohort=cohort)

    def _series(self, since: int, until: int, step_s: int) -> list[Totals]:
        return self._store.series(
            self._reference.model, self._reference.id, since, until, step_s=step_s, cohort=self._q.cohort
        )

    def _step(self) -> int:
        """Steps of the history: days for days of the week, else hours, or spans where those are longer."""
        return max(self._store.span_s, DAY_S if self._q.phase == "day-of-week" else HOUR_S)

    def _layout(self, whole: Totals) -> Layout:
        """What to judge against: the reference, or the history by phase; latency by its history either way."""
        if self._q.phase is None:
            by_phase = {0: self._history}
            return Layout([self._from_history(f, whole, by_phase) if f.name == LATENCY else f for f in self._features])
        by_phase = grouped(self._history, self._phase_of)
        return Layout([self._from_history(f, whole, by_phase) for f in self._features])

    def _from_history(self, feature: Feature, whole: Totals, by_phase: Mapping[int, Sequence[Totals]]) -> Feature:
        if self._q.phase is None:
            judged = {0: counts_in(whole, feature)}
        else:
            now = grouped(self._series(self._since, self._until, self._step()), self._phase_of)
            judged = {phase: merged([counts_in(t, feature) for t in totals]) for phase, totals in now.items()}
        history = {phase: [counts_in(totals, feature) for totals in by_phase.get(phase, ())] for phase in judged}
        made = baseline(feature, judged, history, len(self._features))
        return made or feature._replace(cells=(0,) * feature.size, missing=0, floors=())

    def _phase_of(self, start_s: int) -> int:
        return start_s // HOUR_S % 24 if self._q.phase == "hour-of-day" else (start_s // DAY_S + 3) % 7

    def _judge(self, layout: Layout, totals: Totals) -> list[FeatureVerdict]:
        windows = [counts_in(totals, feature) for feature in layout.features]
        q = self._q
        judged = judge(layout, windows, theta=q.theta, n_min=q.n_min, kl=q.kl)
        return [
            msgspec.structs.replace(v, outcome="quiet", told="")
            if v.feature == LATENCY and v.outcome == "drift" and not v.broken and v.distance <= LATENCY_THETA
            else v
            for v in judged
        ] + self._judge_joints(totals, judged)

    def _judge_joints(self, totals: Totals, judged: list[FeatureVerdict]) -> list[FeatureVerdict]:
        """How features go together has the reference to be compared with, and no history by phases."""
        q = self._q
        return [
            judge_joint(feature, counts_in(totals, feature), judged, theta=q.theta, n_min=q.n_min)
            for feature in joints(self._reference.features if q.phase is None else ())
        ]

    def _with_course(self, verdict: FeatureVerdict, whole: Totals) -> FeatureVerdict:
        """The verdict with the kind of its drift and its beginning, from steps of history and span."""
        feature = next((f for f in self._features if f.name == verdict.feature), None)
        if feature is None or not feature.n:  # a joint has no place in a distribution to follow
            return verdict
        steps = self._store.series(
            self._reference.model, self._reference.id, self._before, self._until, step_s=self._step(),
            cohort=self._q.cohort, features=[feature.name],
        )  # fmt: skip
        step_s, counts = coarse_enough(steps, feature, self._step(), self._q.n_min)
        place = place_of(feature, counts_in(whole, feature).cells)
        deviations = np.array([place(of.cells) for _, of in counts])
        one = Layout([feature])
        floors = [one.thresholds(np.array([float(of.n)]), 0.0)[0] for _, of in counts]
        thresholds = np.maximum(np.array(floors), min(self._q.theta, verdict.threshold))
        periods = [p // step_s for p in (DAY_S, 7 * DAY_S) if p // step_s > 1]
        whole_days = len(counts) > 1 and all(b[0] - a[0] == step_s for a, b in itertools.pairwise(counts))
        shape, began = course_of(deviations, thresholds, periods if whole_days else ())
        return msgspec.structs.replace(verdict, shape=shape, began=None if began is None else when(counts[began][0]))

    def _cohorts(self, layout: Layout) -> tuple[CohortVerdict, ...]:
        named = [cohort for cohort in self._row.cohorts if cohort]
        if not named:
            return ()
        rows = []
        for cohort in self._row.cohorts:
            totals = self._totals(self._since, self._until, cohort)
            if not totals.windows:
                continue
            if totals.devices < self._q.k_devices:
                rows.append(CohortVerdict(cohort, "too few", None, None))
                continue
            judged = [v for v in self._judge(layout, totals) if v.feature != LATENCY]
            drifted = tuple(v.feature for v in by_severity(judged) if v.outcome == "drift")
            few = not drifted and not any(v.outcome == "quiet" for v in judged)
            outcome: Outcome = "drift" if drifted else "too few" if few else "quiet"
            rows.append(CohortVerdict(cohort, outcome, totals.devices, totals.inferences, drifted))
        return tuple(rows)


def _unknown_reference(row: ModelRow, now: int, question: Question) -> DriftVerdict:
    told = f"the reference {row.reference[:12]} of its windows is not registered"
    unknown = waiting_windows([row]) or (Broken("reference", float(row.windows), 0.0, told),)
    return DriftVerdict(
        model=row.model,
        reference=row.reference,
        outcome="inconclusive",
        because=f"{unknown[0].told}, so there is nothing to compare them with",
        start=when(now - question.span_s),
        end=when(now),
        n=0,
        devices=None,
        against="nothing",
        cohort=question.cohort,
        phase=question.phase,
        shape=None,
        began=None,
        outputs_moved=None,
        broken=unknown,
        features=(),
        cohorts=(),
        theta=question.theta,
        n_min=question.n_min,
    )


def _span(seconds: int) -> str:
    days, rest = divmod(seconds, DAY_S)
    return f"{days} days" if days and not rest else f"{seconds // HOUR_S} hours"
