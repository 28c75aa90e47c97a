"""The evaluation store's values: times in which a model saw something else, and how good it turned out to be then.

`edgekit.telemetry.collector.flagged` keeps them; the command line and the web page show them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Movement:
    """How far a feature of a flagged window went, at its worst.

    Attributes:
        feature, rule, told: as in `edgekit.telemetry.store.Finding`; the rule that it broke by most.
        value, limit: its distance and its threshold, or what the rule found and allows; None where neither is known.
    """

    feature: str
    rule: str
    told: str
    value: float | None
    limit: float | None


@dataclass(frozen=True)
class LabelledResult:
    """How good the model turned out to be in a flagged window.

    Attributes:
        metric, value: such as accuracy, 0.83.
        expected: the same of ordinary data, if it was told.
        samples: how many were labelled, if that is known.
        source: the file that it was computed from, or what people noted.
        given_s: when it came.
    """

    metric: str
    value: float
    expected: float | None
    samples: int | None
    source: str
    given_s: int


@dataclass(frozen=True)
class FlaggedWindow:
    """A time in which a check found drift, to collect data of and to label: one entry as long as the drift lasts.

    Attributes:
        id: number of the entry.
        model, reference, cohort: what was checked; cohort as in `edgekit.telemetry.store.Finding`.
        artifacts: ids of the artifacts that ran in it.
        start_s, end_s: since when the drift is known, and the end of the last window that had it.
        movements: the features that moved, the farthest beyond its limit first.
        opened_s, last_found_s, times_found: when checks found it, and how often.
        ended_s: when a check found it gone; None while it lasts.
        done_s: when somebody was done with it; None: it is still to be evaluated.
        note: what somebody noted.
        results: of labelled data, by metric.
    """

    id: int
    model: str
    reference: str
    cohort: str
    artifacts: tuple[str, ...]
    start_s: int
    end_s: int
    movements: tuple[Movement, ...]
    opened_s: int
    last_found_s: int
    times_found: int
    ended_s: int | None
    done_s: int | None
    note: str
    results: tuple[LabelledResult, ...] = ()
