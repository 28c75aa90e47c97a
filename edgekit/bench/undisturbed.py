"""Measuring within a target's limits, again when something disturbs it, and giving up in the end.

What is measured at once, one process or two that take turns, counts at once or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.bench.guards import await_limits, disturbances, guard, violations
from edgekit.bench.run import GivenUp
from edgekit.errors import OutsideLimitsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.bench.guards import Patience
    from edgekit.bench.run import Block
    from edgekit.devices import RunnerDevice


@dataclass(frozen=True)
class Measured:
    """A block, and the runtime that the device measured it with."""

    block: Block
    runtime: dict[str, Any]


class GaveUpError(OutsideLimitsError):
    """What was measured at once was given up; `given_up` has the reason and the figures, one each."""

    def __init__(self, given_up: Sequence[GivenUp], what: str, *, remedy: str) -> None:
        super().__init__(what, remedy=remedy)
        self.given_up = tuple(given_up)


def undisturbed(
    device: RunnerDevice,
    patience: Patience,
    attempt: Callable[[], Sequence[Measured]],
    on_wait: Callable[[str], object],
    *,
    count: int,
) -> list[Measured]:
    """What an attempt measures, within the target's limits, and with what was seen around it.

    Args:
        device: the caller holds its lock.
        patience: how long it may still wait.
        attempt: measures; called again when something disturbed it, `limits.retries` times.
        on_wait: told what is outside of the limits, or disturbed it.
        count: how many blocks an attempt gives.

    Raises:
        GaveUpError: the device did not come within its limits, or was disturbed every time.
        DeviceError, ...: what `attempt` raises.
    """
    target, attempts, last = device.target, 0, list[Measured]()
    while True:
        had_s = patience.left_s
        before, outside = await_limits(device, patience, on_wait)
        if outside:
            raise _gave_up(device, attempts, outside, last, count, waited_s=target.limits.wait_s)
        attempts += 1
        found = attempt()
        after = device.conditions(watch_s=0)
        trouble = "; ".join([*disturbances(before, after), *violations(after, target, before=False)])
        seen = {"guard": guard(before, after, target, had_s - patience.left_s), "attempts": attempts}
        last = [Measured(msgspec.structs.replace(one.block, **seen, disturbed=trouble), one.runtime) for one in found]
        if not trouble:
            return last
        if attempts > target.limits.retries:
            raise _gave_up(device, attempts, trouble, last, count)
        on_wait(trouble)


def _gave_up(
    device: RunnerDevice,
    attempts: int,
    because: str,
    last: Sequence[Measured],
    count: int,
    *,
    waited_s: float | None = None,
) -> GaveUpError:
    how = (
        f"was measured {attempts} times, and each time something disturbed it, at last this"
        if waited_s is None
        else f"is outside of the limits of its target, and EdgeKit has waited for {waited_s:g} s"
    )
    blocks: list[Block | None] = [*(one.block for one in last)] or [None] * count
    return GaveUpError(
        [GivenUp(0, attempts, because, block) for block in blocks],
        f"{device.name} {how}: {because}. Nothing was measured that counts.",
        remedy="Let it cool down, stop what else runs there, or change [limits] in the target.",
    )
