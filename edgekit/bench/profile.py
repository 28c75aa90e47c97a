"""A profile: what each operator of a model costs, by the runtime's own profiler.

It is an extra run, never mixed with the timed one: profiling slows a model of microseconds down many times over, and
one of milliseconds by a few percent. That is measured as well (`overhead`), and so is what the operators do not account
for (`accounted`): the runtime's own work between them, copies, and what its clock does not resolve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.bench.sense import sensible
from edgekit.devices.runner_client import run_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.bench.measure import Prepared
    from edgekit.devices import RunnerDevice

NS = 1_000_000_000
MAX_S = 20.0
"""How long the profiled invokes may take, about."""
TOP = 10


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operator, in the order of execution. ns: a call, on average; calls: an inference; share: of all operators."""

    name: str
    type: str
    calls: float
    ns: float
    share: float

    @property
    def total_ns(self) -> float:
        """What it takes of one inference."""
        return self.calls * self.ns


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operators of one inference cost; or `because` of what there is nothing.

    tool: who measured, and what it leaves out. plain_ns, profiled_ns: the median inference without and with profiling.
    mean_ns: the mean one with profiling, to which the operators add up as far as they do.
    """

    operators: tuple[Operator, ...]
    tool: str = ""
    invokes: int = 0
    plain_ns: float | None = None
    profiled_ns: float | None = None
    mean_ns: float | None = None
    because: str | None = None

    @property
    def sum_ns(self) -> float:
        """All operators of one inference."""
        return sum(operator.total_ns for operator in self.operators)

    @property
    def overhead(self) -> float | None:
        """How much longer an inference takes with profiling, as a share."""
        if self.plain_ns is None or self.profiled_ns is None or not self.plain_ns:
            return None
        return self.profiled_ns / self.plain_ns - 1

    @property
    def accounted(self) -> float | None:
        """The share of a profiled inference that the operators add up to."""
        return self.sum_ns / self.mean_ns if self.mean_ns else None

    def top(self, count: int = TOP) -> tuple[list[Operator], list[Operator]]:
        """The operators that take most, and the rest."""
        ordered = sorted(self.operators, key=lambda operator: -operator.total_ns)
        return ordered[:count], ordered[count:]


def profile(
    device: RunnerDevice, prepared: Prepared, on_event: Callable[[dict[str, Any]], None] = lambda _event: None
) -> Profile:
    """Profiles an artifact that lies on a device, in a process of its own; the caller holds the device's lock.

    Returns:
        The profile; a runtime that has no profiler gives one without operators, and the reason.

    Raises:
        RuntimeMissingError, RunnerError, ConnectionLostError, ...: see `run_request`.
    """
    request = {**prepared.request, "do": "profile", "max_ns": int(MAX_S * NS)}
    request.pop("delegate", None)
    events = run_request(device, request, idle_timeout_s=device.target.bench.idle_timeout_s, on_event=on_event)
    by_name = {event["event"]: event for event in events}
    with sensible(device):
        return read_profile(by_name.get("profile"), by_name.get("no-profile"))


def read_profile(found: dict[str, Any] | None, refused: dict[str, Any] | None) -> Profile:
    """From the runner's events.

    Raises:
        KeyError, TypeError, ValueError, msgspec.ValidationError: they make no sense.
    """
    if found is None:
        return Profile((), because=str(refused["reason"]) if refused else "the runner said nothing")
    invokes = int(found["invokes"])
    rows = [
        (str(name), str(kind), calls / invokes, float(ns))
        for name, kind, calls, ns in zip(found["names"], found["types"], found["calls"], found["ns"], strict=True)
    ]
    whole = sum(calls * ns for _, _, calls, ns in rows)
    if whole < 0 or any(calls < 0 or ns < 0 for _, _, calls, ns in rows):
        raise ValueError("an operator takes less than no time")
    operators = tuple(
        Operator(name, kind, calls, ns, calls * ns / whole if whole else 0.0) for name, kind, calls, ns in rows
    )
    plain, profiled, mean = (float(found[name]) for name in ("plain_ns", "profiled_ns", "mean_ns"))
    return Profile(operators, str(found["tool"]), invokes, plain, profiled, mean)
