"""Recorder: what was observed since it was last asked, in memory. No disk, no network, no thread.

`observe` raises what does not fit, having counted nothing; the reporter around it counts that as dropped.
"""

from __future__ import annotations

from .counting import counter_of
from .records import TYPE_CHECKING, NamedTuple
from .reference import INFERENCE, INPUT, LATENCY, OUTPUT
from .sources import Prepared, Role
from .window import FeatureCounts

if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

    from .reference import Reference
    from .window import Window

_NOTHING = Prepared(0, [])


class Observed(NamedTuple):
    """Counts of a stretch of time; they add up like windows'."""

    inferences: int
    errors: int
    dropped: int
    latency: FeatureCounts
    features: tuple[FeatureCounts, ...]

    def merge(self, other: Observed) -> Observed:
        """Both together."""
        return Observed(
            self.inferences + other.inferences,
            self.errors + other.errors,
            self.dropped + other.dropped,
            self.latency.merge(other.latency),
            tuple([a.merge(b) for a, b in zip(self.features, other.features)]),
        )

    def put(self, window: Window) -> Window:
        """A window with these counts."""
        return window._replace(**self._asdict())


class Recorder:
    """Counts calls over one reference's cells."""

    def __init__(self, reference: Reference, way: str | None = None) -> None:
        self.reference = reference
        self.errors = self.dropped = 0
        self.others = 0
        """Inferences that are not among `straight`'s rows."""
        self._inputs = Role(reference, INPUT, way)
        self._outputs = Role(reference, OUTPUT, way)
        self.straight = self._inputs.straight
        """The counter that takes inputs as they are, if that is all there is to do: its `tick` needs no lock."""
        self._latency = counter_of([LATENCY], way=way)
        own = [(i, feature) for i, feature in enumerate(reference.features) if feature.role == INFERENCE]
        self._own = [(i, counter_of([feature], way=way)) for i, feature in own if feature.summary == LATENCY.summary]

    @property
    def inferences(self) -> int:
        """Calls since the last `take`."""
        return self.others + (self.straight.rows if self.straight is not None else 0)

    def observe(self, inputs: Any, outputs: Any, latency_ns: float | None, error: Any) -> int:
        """Counts one call; see `Reporter.observe`. Tells how many inferences it was.

        Raises:
            Exception: whatever the values do that do not fit; nothing was counted.
        """
        answer = _NOTHING if outputs is None else self._outputs.prepare(outputs)
        latency = None if latency_ns is None else float(latency_ns)
        if self.straight is not None and inputs is not None and not hasattr(inputs, "keys"):
            samples = int(self.straight.add(inputs))
        elif inputs is None:
            samples = answer.samples or 1
            self.others += samples
        else:
            seen = self._inputs.prepare(inputs)
            before = self.inferences
            seen.commit()
            samples = seen.samples
            self.others += samples - (self.inferences - before)
        answer.commit()
        if latency is not None:
            self._latency.add([latency])
            for _, counter in self._own:
                counter.add([latency])
        if error is not None and error is not False:
            self.errors += samples
        return samples

    def count_rows(self, rows: Mapping[tuple[str, str], Sequence[Sequence[Any]]]) -> None:
        """Counts summaries that were made before: for (role, tensor) the rows, in the order of its features."""
        self._inputs.count_rows(INPUT, rows)
        self._outputs.count_rows(OUTPUT, rows)

    def take(self) -> Observed:
        """The counts since the last time; begins anew."""
        if self.straight is not None:
            self.straight.settle()
        inferences = self.inferences
        features = [FeatureCounts.empty(feature.size) for feature in self.reference.features]
        self._inputs.take(features)
        self._outputs.take(features)
        for i, counter in self._own:
            features[i] = counter.take()[0]
        observed = Observed(inferences, self.errors, self.dropped, self._latency.take()[0], tuple(features))
        self.others = self.errors = self.dropped = 0
        return observed
