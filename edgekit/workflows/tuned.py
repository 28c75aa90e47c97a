"""Tuned: what tuning found, arm by arm, who leads, and the file that keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit.artifact import Accuracy
from edgekit.bench.evaluation.result import OnDevice
from edgekit.errors import DataError
from edgekit.files import write_file
from edgekit.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA = 2
READS = (1, 2)
"""1: without `on_device` of arms, which is read as None."""
SUFFIX = ".tune.json"

State = Literal["winner", "front", "beaten", "slower", "over a limit", "failed"]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an artifact may cost: of the metric ("1%"), bytes of payload, bytes of memory there. None: anything."""

    max_drop: str | None = None
    max_size_bytes: int | None = None
    max_memory_bytes: int | None = None


class Arm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recipe with a thread count, and what became of it. What was not measured is None, `because` of something.

    `accuracy` is the manifest's, `on_device` what an evaluation there found.

    state: "winner"; "front": as good in some respect as anything; "slower": not told from the winner by the race, but
    no better in any respect; "beaten" in the race; "over a limit"; "failed".
    """

    recipe: Recipe
    threads: int
    state: State
    artifact: str | None = None
    latency_ns: float | None = None
    blocks: int = 0
    size_bytes: int | None = None
    memory_bytes: int | None = None
    accuracy: Accuracy | None = None
    because: str = ""
    on_device: OnDevice | None = None

    @property
    def lost(self) -> float | None:
        """What the model's metric lost: on the device where that was evaluated, else as the manifest has it."""
        if self.on_device is not None and self.on_device.lost is not None:
            return self.on_device.lost
        return self.accuracy.drop if self.accuracy is not None else None


class Tuned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outcome for a model on a target; arms by latency, those without one last."""

    id: str
    started_at: str
    model: str
    target: str
    limits: Limits
    seed: int
    arms: tuple[Arm, ...]
    schema: int = SCHEMA

    @property
    def winner(self) -> Arm | None:
        """The arm to deploy; None if nothing is inside the limits."""
        return next((arm for arm in self.arms if arm.state == "winner"), None)


def write_tuned(made: Tuned, folder: Path) -> Path:
    """Writes it under `folder/TARGET/` and returns its file.

    Raises:
        StorageError: it cannot be written; then nothing is.
    """
    stamp = made.started_at.replace("-", "").replace(":", "")
    path = folder / made.target / f"{stamp}-{made.model}-{made.id[:6]}{SUFFIX}"
    write_file(path, msgspec.json.encode(made) + b"\n")
    return path


def read_tuned(path: Path) -> Tuned:
    """Reads a file of `write_tuned`.

    Raises:
        DataError: it is none, or of another schema.
    """
    try:
        made = msgspec.json.decode(path.read_bytes(), type=Tuned)
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(f"{path} is not what `edgekit tune` wrote: {error}.", remedy="Tune again.") from error
    if made.schema not in READS:
        raise DataError(f"{path} has schema {made.schema}.", remedy=f"This version reads schemas 1 and {SCHEMA}.")
    return made


def ranked(arms: Sequence[Arm], tolerance: float) -> list[Arm]:
    """Names the winner and the front, and sorts by latency."""
    finalists = [arm for arm in arms if arm.state == "slower"]
    fastest = min((arm.latency_ns or 0.0 for arm in finalists), default=0.0)
    as_fast = [arm for arm in finalists if (arm.latency_ns or 0.0) <= fastest * (1 + tolerance)]
    winner = min(as_fast, key=lambda arm: (arm.size_bytes or 0, arm.latency_ns or 0.0), default=None)
    measured = [arm for arm in arms if arm.state in ("slower", "beaten")]
    named = []
    for arm in arms:
        if arm is winner:
            named.append(msgspec.structs.replace(arm, state="winner"))
        elif arm in measured and not any(_beats(other, arm) for other in measured):
            named.append(msgspec.structs.replace(arm, state="front"))
        else:
            named.append(arm)
    return sorted(named, key=lambda arm: (arm.latency_ns is None, arm.latency_ns or 0.0))


def _beats(a: Arm, b: Arm) -> bool:
    """Whether a is at least as good in every respect, and better in one: latency, size, accuracy where both have it."""
    respects = [(a.latency_ns or 0.0, b.latency_ns or 0.0), (a.size_bytes or 0, b.size_bytes or 0)]
    if a.lost is not None and b.lost is not None:
        respects.append((a.lost, b.lost))
    return all(x <= y for x, y in respects) and any(x < y for x, y in respects)
