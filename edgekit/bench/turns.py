"""Two artifacts measured at once: two fresh processes on the device, of which one works at a time.

What turns are, and why, is in `edgekit.runner.turns`; here is the host's side. A pair is one request, and what disturbs
it disturbs both: it is measured again, or given up, as a whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgekit.bench.reading import check_answers, read_block
from edgekit.bench.sense import rebooted_meanwhile, sensible
from edgekit.bench.undisturbed import Measured, undisturbed
from edgekit.devices.runner_client import run_request
from edgekit.errors import ConnectionLostError
from edgekit.runner import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.bench.measure import Prepared
    from edgekit.devices import RunnerDevice

NS = 1_000_000_000
KINDS = ("python", "native")
"""Runners that can: a browser has no two pages that could hand a turn over without the network."""

Event = dict[str, Any]


def can_take_turns(device: RunnerDevice, a: Prepared, b: Prepared) -> bool:
    """Whether the target wants it (`bench.turn_s`), and one runner carries out both."""
    return (
        device.target.bench.turn_s > 0
        and a.runner.kind in KINDS
        and (a.runner.kind, a.runner.sha256) == (b.runner.kind, b.runner.sha256)
    )


def measure_in_turns(
    device: RunnerDevice, first: Prepared, second: Prepared, on_event: Callable[[int, Event], None]
) -> tuple[Measured, Measured]:
    """Measures a block of each, within the target's limits, again if something disturbs them.

    Args:
        device: the caller holds its lock.
        first, second: in the order of their turns.
        on_event: called with (0 for the first, 1 for the second, runner event).

    Raises:
        GaveUpError: the device did not come within its limits, or was disturbed every time.
        WrongAnswerError: the golden inputs of one gave other outputs than on the host: nothing was timed.
        RebootedError: it started anew since the first block of this connection.
        RuntimeMissingError, RunnerError, ConnectionLostError, ...: see `run_request`.
    """

    def tell(outside: str) -> None:
        on_event(0, {"event": "waiting", "because": outside})

    def attempt() -> list[Measured]:
        return _attempt(device, (first, second), on_event)

    a, b = undisturbed(device, first.patience, attempt, tell, count=2)
    return a, b


def _attempt(
    device: RunnerDevice, sides: tuple[Prepared, Prepared], on_event: Callable[[int, Event], None]
) -> list[Measured]:
    titles = " and ".join(dict.fromkeys(side.artifact.title for side in sides))
    step = f"measuring {titles}"
    said: tuple[list[Event], list[Event]] = ([], [])

    def listen(event: Event) -> None:
        side = event.pop("side", None)
        if side in (0, 1):
            said[side].append(event)
            on_event(side, event)

    request = {"do": "turns", "requests": [json.dumps(_request(device, side)) for side in sides]}
    try:
        run_request(
            device, request, idle_timeout_s=device.target.bench.idle_timeout_s, on_event=listen,
            runtime=sides[0].artifact.manifest.runtime,
        )  # fmt: skip
    except ConnectionLostError as error:
        raise rebooted_meanwhile(device, step) or error from error
    with sensible(device):  # the one that is wrong ended the other one half-way
        for side, events in zip(sides, said, strict=True):
            check_answers(device, side.artifact, {event["event"]: event for event in events})
    return [read_block(device, side.artifact, events, step) for side, events in zip(sides, said, strict=True)]


def _request(device: RunnerDevice, side: Prepared) -> Event:
    """What the runner asks one of its two processes for."""
    turn_ns = int(device.target.bench.turn_s * NS)
    return {"schema": SCHEMA, **side.request, "turn_ns": turn_ns, "cores": side.threads, **side.runner.fields}
