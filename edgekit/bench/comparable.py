"""Whether two runs were measured alike: same device, system, runtime, threads and way of running.

What differs is named, never averaged away: a run under another governor or another runtime measures something else.
A fact that neither device tells is equal; one that only one of them tells differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.bench.run import Run

FREE = frozenset({"runner_sha256"})
"""Fields of a context that may differ: a new version of EdgeKit does not make a device's past worthless."""
FACTS = (
    "cpu_model", "machine", "cores", "affinity", "os", "kernel", "governor", "browser", "cross_origin_isolated",
)  # fmt: skip
"""What a device says of itself that must not differ between two runs."""


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field in which two runs differ."""

    field: str
    baseline: Any
    candidate: Any

    def __str__(self) -> str:
        return f"{self.field} ({_told(self.baseline)} against {_told(self.candidate)})"


def differences(baseline: Run, candidate: Run) -> list[Difference]:
    """The fields in which two runs were not measured alike; none where they can be compared."""
    names = [name for name in baseline.context.__struct_fields__ if name not in FREE]
    pairs = [(name, getattr(baseline.context, name), getattr(candidate.context, name)) for name in names]
    pairs += [(name, _fact(baseline, name), _fact(candidate, name)) for name in FACTS]
    taken = _delegates(baseline), _delegates(candidate)
    if baseline.artifact == candidate.artifact and None not in taken:
        pairs.append(("delegates", *taken))
    return [Difference(name, a, b) for name, a, b in pairs if a != b]


def _delegates(run: Run) -> list[str] | None:
    """What executed an artifact, where that is known: without its delegate it is another program."""
    found = run.delegation
    return None if found is None or found.operators is None else [f"{b.name} {b.operators}" for b in found.backends]


def told(found: Sequence[Difference]) -> str:
    """Differences as one phrase."""
    return "they differ in " + ", ".join(str(difference) for difference in found)


def _fact(run: Run, name: str) -> Any:
    return run.blocks[0].before.values.get(name) if run.blocks else None


def _told(value: Any) -> str:
    if value is None:
        return "not told"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
