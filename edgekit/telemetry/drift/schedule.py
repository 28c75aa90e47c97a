"""The check that the collector runs: every model that reported, and every cohort of it that can be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.telemetry.drift.check import Question, check
from edgekit.telemetry.drift.steps import seconds_of
from edgekit.telemetry.store import Checked, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.telemetry.drift.verdict import CohortVerdict, DriftVerdict
    from edgekit.telemetry.store import Store


def check_all(store: Store, now: int, question: Question | None = None) -> Iterator[Checked]:
    """Checks each model and reference that reported within the history, one after another.

    Models whose cells a device cut itself have nothing to be compared with and are left out.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    question = question or Question()
    for row in store.models():
        if row.bootstrapped or row.last_s < now - question.history_s:
            continue
        yield from checked(check(store, row.model, now, question, reference=row.reference))


def checked(verdict: DriftVerdict) -> Iterator[Checked]:
    """What a verdict says of all devices together, and of each cohort."""
    conclusive = verdict.outcome != "inconclusive"
    named = (verdict.model, verdict.reference, verdict.cohort or "")
    yield Checked(*named, verdict.findings(), conclusive, seconds_of(verdict.start), seconds_of(verdict.end))
    for cohort in verdict.cohorts:
        if cohort.cohort:
            yield _of_cohort(verdict, cohort)


def _of_cohort(verdict: DriftVerdict, cohort: CohortVerdict) -> Checked:
    """What a cohort has beyond what all devices together have."""
    known = {feature.feature for feature in verdict.drifted}
    findings = tuple(
        Finding(verdict.model, verdict.reference, cohort.cohort, name, "cohort",
                f"{name} drifted in the cohort {cohort.cohort}, and not in all devices together",
                {"devices": cohort.devices, "n": cohort.n, "start": verdict.start, "end": verdict.end})
        for name in cohort.drifted
        if name not in known
    )  # fmt: skip
    conclusive = cohort.outcome in ("drift", "quiet")
    named = (verdict.model, verdict.reference, cohort.cohort)
    return Checked(*named, findings, conclusive, seconds_of(verdict.start), seconds_of(verdict.end))
