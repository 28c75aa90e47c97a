"""The plan of a rollout: its devices in order, its stages, and what makes it stop. Written once, never changed.

Success and error thresholds are hawkBit's idea: a stage is left for the next when enough of its devices succeeded, and
stopped at once when too many failed. A device that cannot be reached is neither: a phone in a drawer says nothing of
the model. It is asked again at the end of each stage and by every later `resume`.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit.errors import RolloutError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = 1


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step of a rollout: these devices, after those of all stages before."""

    name: str
    devices: tuple[str, ...]


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that was decided before the first device was touched.

    `success`: the share of a stage's reached devices that must succeed before the next stage begins. `error`: the share
    of a stage's devices (all of them, at least one device) whose failure stops the rollout, which then pauses or rolls
    back by itself (`on_error`). `soak_s`: how long a stage is watched before it is judged.
    """

    id: str
    model: str
    artifact_id: str
    title: str
    created: str
    stages: tuple[Stage, ...]
    success: float
    error: float
    on_error: Literal["pause", "rollback"]
    soak_s: float
    seed: int
    schema: int = SCHEMA

    @property
    def devices(self) -> tuple[str, ...]:
        """All devices, in the order in which their turn comes."""
        return tuple(name for stage in self.stages for name in stage.devices)

    def allowed_failures(self, stage: Stage) -> int:
        """How many devices of a stage may fail without stopping the rollout."""
        return max(0, math.ceil(self.error * len(stage.devices)) - 1)


def make_plan(
    rollout_id: str,
    *,
    model: str,
    artifact_id: str,
    title: str,
    created: str,
    devices: Sequence[str],
    shares: Sequence[float] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
    success: float = 0.95,
    error: float = 0.1,
    on_error: Literal["pause", "rollback"] = "rollback",
    soak_s: float = 0,
    seed: int = 0,
) -> Plan:
    """A plan by shares or by groups.

    Args:
        rollout_id, model, artifact_id, title, created: what is rolled out, when it was planned.
        devices: names of the targets, each once.
        shares: cumulative shares of the fleet, rising to 1, such as (0.01, 0.1, 0.5, 1). The devices are shuffled by
            `seed`, so that a stage is a sample of the fleet; each stage has at least one device.
        groups: instead of shares: stages by name, in this order; together they are `devices`.
        success, error, on_error, soak_s, seed: see `Plan`.

    Raises:
        RolloutError: no devices, a name twice, shares that do not rise to 1, or thresholds that make no sense.
    """
    if not devices or len(set(devices)) != len(devices):
        raise RolloutError("A rollout needs devices, each of them once.", remedy="Check the targets that are named.")
    if not (0 < success <= 1 and 0 < error <= 1 and soak_s >= 0):
        raise RolloutError(
            f"Thresholds of success {success:g} and error {error:g} make no sense.",
            remedy="Use shares above 0, up to 1.",
        )
    if groups is not None:
        stages = tuple(Stage(name, tuple(names)) for name, names in groups.items() if names)
        if sorted(name for stage in stages for name in stage.devices) != sorted(devices):
            raise RolloutError(
                "The groups do not have every device exactly once.", remedy="Give each target one of the labels."
            )
    else:
        stages = _by_shares(devices, shares or (0.01, 0.1, 0.5, 1.0), seed)
    return Plan(rollout_id, model, artifact_id, title, created, stages, success, error, on_error, soak_s, seed)


def _by_shares(devices: Sequence[str], shares: Sequence[float], seed: int) -> tuple[Stage, ...]:
    if list(shares) != sorted(set(shares)) or not shares[0] > 0 or shares[-1] != 1:
        raise RolloutError(
            f"Stages of {', '.join(f'{share:g}' for share in shares)} do not rise to the whole fleet.",
            remedy="Name rising shares that end with 100%, such as 1%,10%,50%,100%.",
        )
    order = list(devices)
    random.Random(seed).shuffle(order)  # noqa: S311 - a sample, not a secret
    stages, begin = [], 0
    for share in shares:
        end = max(math.ceil(share * len(order)), begin)
        if end > begin:
            stages.append(Stage(f"{share * 100:g}%", tuple(order[begin:end])))
        begin = end
    return tuple(stages)
