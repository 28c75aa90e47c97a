"""What can happen in a rollout, and the state that follows from it: a fold over events, without clocks or devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit.errors import RolloutError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgekit.deploy.rollout.plan import Plan, Stage

Phase = Literal["running", "paused", "rolling-back", "rolled-back", "finished"]
DeviceState = Literal["waiting", "deploying", "done", "failed", "absent", "rolling-back", "rolled-back", "kept"]

KINDS: dict[str, tuple[Phase, ...]] = {
    "device-started": ("running",),
    "device-done": ("running",),
    "device-failed": ("running",),
    "device-absent": ("running", "rolling-back"),
    "stage-passed": ("running",),
    "finished": ("running",),
    "paused": ("running",),
    "resumed": ("paused", "finished"),
    "rollback-started": ("running", "paused", "finished", "rolled-back"),
    "device-rolling-back": ("rolling-back",),
    "device-rolled-back": ("rolling-back",),
    "device-kept": ("rolling-back",),
    "rolled-back": ("rolling-back",),
}
"""By kind of event, the phases in which it may happen: the arrows of the state machine."""
_DEVICE: dict[str, DeviceState] = {
    "device-started": "deploying",
    "device-done": "done",
    "device-failed": "failed",
    "device-absent": "absent",
    "device-rolling-back": "rolling-back",
    "device-rolled-back": "rolled-back",
    "device-kept": "kept",
}
_PHASE: dict[str, Phase] = {
    "finished": "finished",
    "paused": "paused",
    "resumed": "running",
    "rollback-started": "rolling-back",
    "rolled-back": "rolled-back",
}


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing that happened. `at` in seconds since 1970 by the host's clock; `why` for people."""

    kind: str
    at: float
    device: str = ""
    stage: str = ""
    why: str = ""


class State(msgspec.Struct, frozen=True):
    """Where a rollout is. `stage` is the number of the one that is under way (of the last, after the end)."""

    phase: Phase
    stage: int
    devices: dict[str, DeviceState]
    why: str
    reasons: dict[str, str]
    """By device, the newest reason of a failure or absence."""

    def names(self, *states: DeviceState) -> list[str]:
        """The devices in one of these states, in the plan's order."""
        return [name for name, state in self.devices.items() if state in states]

    def count(self, stage: Stage, *states: DeviceState) -> int:
        """How many devices of a stage are in one of these states."""
        return sum(self.devices[name] in states for name in stage.devices)


def begin(plan: Plan) -> State:
    """The state before anything happened."""
    return State("running", 0, dict.fromkeys(plan.devices, "waiting"), "", {})


def fold(plan: Plan, events: Iterable[Event]) -> State:
    """The state after these events.

    Raises:
        RolloutError: an event cannot happen in the state before it: the journal was not written by EdgeKit.
    """
    state = begin(plan)
    for event in events:
        state = after(plan, state, event)
    return state


def after(plan: Plan, state: State, event: Event) -> State:
    """The state after one more event. Raises RolloutError if it cannot happen then."""
    if state.phase not in KINDS.get(event.kind, ()) or (event.kind in _DEVICE and event.device not in state.devices):
        raise RolloutError(
            f"The rollout {plan.id} is {state.phase}; {event.kind!r} {event.device} cannot happen then.",
            remedy="Look at it with `edgekit rollout status`.",
        )
    devices, reasons, stage = state.devices, state.reasons, state.stage
    if event.kind in _DEVICE:
        devices = {**devices, event.device: _DEVICE[event.kind]}
        if event.why:
            reasons = {**reasons, event.device: event.why}
    if event.kind == "stage-passed":
        stage = min(stage + 1, len(plan.stages) - 1)
    if event.kind == "resumed":  # what failed gets another chance
        devices = {name: "waiting" if one in ("failed", "absent") else one for name, one in devices.items()}
    phase = _PHASE.get(event.kind, state.phase)
    why = event.why if event.kind in _PHASE else state.why
    return State(phase, stage, devices, why, reasons)
