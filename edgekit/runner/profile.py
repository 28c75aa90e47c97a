"""What each operator costs, by the runtime's own profiler; always a run of its own, because profiling slows down.

A runtime that has a profiler defines `load_profiled(path, threads, bindings)`: a session with two methods more,
`profile_begin()` and `profile_end() -> (tool, [(key, name, type, ns), ...])`: every call, those of one operator by one
key. One that has
none may say why in `NO_PROFILE`. The same payload is loaded without profiling too, and runs before and after, so that
what profiling costs is known.

Of each operator, and of the whole, the slowest `LEFT_OUT` of its calls are left out of the mean: a process that was
interrupted once in some operator would else be the story of that operator.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .measure import median, timed
from .session import set_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

MOST = 200
"""Invokes that are profiled; fewer where they would take longer than the request allows."""
LEFT_OUT = 0.05
WARM = 5
OPERATORS = 4000
"""Of a profile that is sent: an event has its bounds, and nobody reads on."""


def reason(runtime: ModuleType) -> str | None:
    """Why a runtime cannot tell what its operators cost; None if it can."""
    if hasattr(runtime, "load_profiled"):
        return None
    return str(getattr(runtime, "NO_PROFILE", "the runtime %s has no profiler" % runtime.NAME))


def profile(
    runtime: ModuleType,
    path: str,
    threads: int,
    bindings: Mapping[str, Sequence[str]],
    sample: Sequence[Any],
    max_ns: int,
    heartbeat: Callable[[], object],
) -> dict[str, Any]:
    """The `profile` event's fields.

    Raises:
        LookupError: the runtime's version on this device cannot tell; with the reason.
    """
    sessions = [runtime.load(path, threads, bindings), runtime.load_profiled(path, threads, bindings)]
    for session in sessions:
        set_sample(session, sample)
        timed(session.invoke, WARM)
        heartbeat()
    slowest = max(1, min(timed(sessions[0].invoke, 3)))
    count = int(max(2, min(MOST, max_ns // (2 * slowest))))
    plain = _timed(sessions[0].invoke, count // 2, heartbeat)
    sessions[1].profile_begin()
    profiled = _timed(sessions[1].invoke, count, heartbeat)
    tool, events = sessions[1].profile_end()
    plain += _timed(sessions[0].invoke, count // 2, heartbeat)
    operators = added_up(events)
    return {
        "tool": tool,
        "invokes": count,
        "plain_ns": int(median(sorted(plain))),
        "profiled_ns": int(median(sorted(profiled))),
        "mean_ns": mean(profiled),
        "names": [str(name)[:200] for name, _, _, _ in operators[:OPERATORS]],
        "types": [str(kind)[:100] for _, kind, _, _ in operators[:OPERATORS]],
        "calls": [int(calls) for _, _, calls, _ in operators[:OPERATORS]],
        "ns": [float(ns) for _, _, _, ns in operators[:OPERATORS]],
    }


def added_up(events: Sequence[tuple[Any, str, str, float]]) -> list[tuple[str, str, int, float]]:
    """`(name, type, calls, ns a call)` from `(key, name, type, ns)`: those of one key are calls of one operator.

    In the order of their first calls.
    """
    found = {}  # type: dict[Any, tuple[str, str, list[float]]]
    for key, name, kind, ns in events:
        found.setdefault(key, (name, kind, []))[2].append(ns)
    return [(name, kind, len(calls), mean(calls)) for name, kind, calls in found.values()]


def mean(values: Sequence[float]) -> float:
    """The mean without the slowest `LEFT_OUT`."""
    kept = sorted(values)[: max(1, math.ceil(len(values) * (1 - LEFT_OUT)))]
    return sum(kept) / len(kept)


def _timed(invoke: Callable[[], object], count: int, heartbeat: Callable[[], object]) -> list[int]:
    samples = []
    for _ in range(count):
        samples += timed(invoke, 1)
        heartbeat()
    return samples
