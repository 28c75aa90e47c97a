"""What the checker and the web page read through: counts by model, reference, cohort and time, and who sent them.

`Store` is a Protocol with two implementations in `edgekit.telemetry.collector` (SQLite and PostgreSQL); `open_store`
there makes one from a URL. Counts are kept per *span*, a fixed slice of wall-clock time (an hour unless the collector
was told otherwise), and every answer is the exact sum of spans: totals over any time, series of any step, one hour of
the day. Times are in whole seconds since 1970, UTC; `since` is inclusive, `until` exclusive, and both are widened to
whole spans. `cohort` None means all of them together, "" the devices that belong to none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgekit.telemetry.evaluations import FlaggedWindow
    from edgekit.telemetry.reporter.reference import Reference
    from edgekit.telemetry.reporter.window import FeatureCounts

LATENCY = "latency_ns"
"""Name under which a window's latencies appear among the features."""

HOUR_S = 3600


class Phase(NamedTuple):
    """One part of a cycle, so that like is compared with like: 13 of hour-of-day is 13:00 to 14:00 UTC of every day.

    Attributes:
        cycle: "hour-of-day" (0 to 23) or "day-of-week" (0 is Monday).
        part: which of them.
    """

    cycle: Literal["hour-of-day", "day-of-week"]
    part: int

    def holds(self, span_start_s: int) -> bool:
        """Whether a span that begins then belongs to this part."""
        if self.cycle == "hour-of-day":
            return span_start_s // HOUR_S % 24 == self.part
        return (span_start_s // (24 * HOUR_S) + 3) % 7 == self.part  # 1970 began on a Thursday


@dataclass(frozen=True)
class Totals:
    """What all windows of a question saw together.

    Attributes:
        start_s, end_s: from the first span with data to the end of the last; equal where there was none.
        windows: how many windows are in it (one that a device coalesced is one).
        devices: different devices, counted by whole days; what k-anonymity looks at.
        inferences, errors, dropped: summed over the windows (see `Window`).
        features: counts by feature, in the reference's order, then `LATENCY`. A lazy mapping: a feature that nobody
            looks at is not unpacked.
    """

    start_s: int
    end_s: int
    windows: int
    devices: int
    inferences: int
    errors: int
    dropped: int
    features: Mapping[str, FeatureCounts]


@dataclass(frozen=True)
class DeviceRow:
    """A device that was enrolled or has reported.

    Attributes:
        device: its id.
        cohort: the one that it was enrolled into; "" for none.
        enrolled_s: when; None for one that only reported.
        last_seen_s: when its last accepted window arrived, by the collector's clock; None if it never did.
        silent_s: seconds since then.
        models: names of the models that it reported for.
        skewed: whether the clock of its last window was off, so that the collector placed the window itself.
        clock_off_s: how far the device's clock was behind the collector's at its last delivery.
        active_keys: how many of its keys are not revoked.
    """

    device: str
    cohort: str
    enrolled_s: int | None
    last_seen_s: int | None
    silent_s: int | None
    models: tuple[str, ...]
    skewed: bool
    clock_off_s: int
    active_keys: int


@dataclass(frozen=True)
class ModelRow:
    """A model and a reference that windows came in for.

    Attributes:
        model: its name.
        reference: the reference's id.
        known: whether that reference was registered, so that its windows are in the totals.
        bootstrapped: whether devices cut the cells themselves.
        cohorts: those that windows belong to, sorted; "" stands for none.
        first_s, last_s: start of the first span and end of the last one.
        windows: accepted, also those that are not merged yet.
        pending: those of them that wait for the reference.
        artifacts: ids of the artifacts that the windows of the retained time name.
    """

    model: str
    reference: str
    known: bool
    bootstrapped: bool
    cohorts: tuple[str, ...]
    first_s: int
    last_s: int
    windows: int
    pending: int
    artifacts: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Finding:
    """Something that a check found wrong now. The first five fields name it: found again, it is the same alert.

    Attributes:
        model, reference: what was checked.
        cohort: "" for all devices together or for those without one.
        feature: which one; "" where it concerns the whole model or a device.
        rule: what was found, as a short word: `ks`, `missing`, `stuck`, `silent`.
        summary: one sentence for people: what moved, by how much, since when.
        details: numbers for programs, as JSON holds them.
    """

    model: str
    reference: str
    cohort: str
    feature: str
    rule: str
    summary: str
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    """What a check says about one model, reference and cohort.

    Attributes:
        model, reference, cohort: what was checked; cohort as in `Finding`.
        findings: what is wrong; nothing, if all is well.
        conclusive: False if there was too little data to tell: then no alert of it recovers.
        since_s, until_s: the time that was judged; 0 where that is not known.
    """

    model: str
    reference: str
    cohort: str
    findings: tuple[Finding, ...] = ()
    conclusive: bool = True
    since_s: int = 0
    until_s: int = 0


@dataclass(frozen=True)
class AlertRow:
    """A finding over time.

    Attributes:
        id: number of the alert.
        finding: as it was found last.
        state: "open"; "recovered" once checks no longer find it.
        opened_s, last_found_s, recovered_s: when; recovered_s is None while it is open.
        times_found: how many checks in a row have found it.
        notified_s: when a notice of it was last delivered; None if none was.
    """

    id: int
    finding: Finding
    state: Literal["open", "recovered"]
    opened_s: int
    last_found_s: int
    recovered_s: int | None
    times_found: int
    notified_s: int | None


class Store(Protocol):
    """How counts are read. Every method may raise `StoreUnavailableError`: database locked, gone or full."""

    span_s: int

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
        """The exact sum over all spans of the question; counts of 0 where there are none.

        Raises:
            UnknownReferenceError: the reference is not registered.
        """
        ...

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
        """The same per step of time, oldest first; steps without data are left out.

        Args:
            step_s: length of a step, a multiple of `span_s`; steps begin at multiples of it since 1970.
            features: unpack only these (faster); None for all.

        Raises:
            UnknownReferenceError: as `totals`.
            ValueError: `step_s` is no multiple of `span_s`.
        """
        ...

    def devices(self, *, silent_for_s: int = 0, limit: int = 10_000) -> list[DeviceRow]:
        """Devices by name; with `silent_for_s` only those that sent nothing for that long."""
        ...

    def models(self) -> list[ModelRow]:
        """Every (model, reference) that windows came in for, by name, the latest first."""
        ...

    def references(self, model: str | None = None) -> dict[str, Reference]:
        """Registered references by id, of one model or of all."""
        ...

    def register(self, reference: Reference) -> int:
        """Registers a reference, and merges the windows that waited for it; tells how many. Again: changes nothing."""
        ...

    def alerts(self, *, model: str | None = None, open_only: bool = False, limit: int = 1000) -> list[AlertRow]:
        """The alert log, the latest first."""
        ...

    def flagged(self, *, model: str | None = None, to_do: bool = False, limit: int = 1000) -> list[FlaggedWindow]:
        """Flagged windows, the latest first; with `to_do` only those that nobody is done with."""
        ...
