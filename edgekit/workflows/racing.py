"""The race of tune's arms on the device: pushes, measures, keeps what each arm costs there.

Every arm is measured once alone: that tells what fails, what takes too much memory, and which is about the fastest.
That one is the yardstick of the race (`edgekit.bench.race`): a block of another arm is two fresh processes that take
turns, the arm's and the yardstick's (`edgekit.bench.turns`), and counts by its ratio. So arms that were never measured
at the same time are compared by what they are against the same thing, and a slow minute of the device costs none of
them. Where two cannot take turns, a block has the device to itself and counts by its median.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgekit.bench.compare import middle
from edgekit.bench.measure import Prepared, measure, prepare
from edgekit.bench.pairing import log_ratio
from edgekit.bench.race import Race, Rules, race
from edgekit.bench.turns import can_take_turns, measure_in_turns
from edgekit.errors import RunnerError, RuntimeMissingError, WrongAnswerError
from edgekit.workflows.tuned import Arm, Limits, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.artifact import Artifact
    from edgekit.bench.run import Block
    from edgekit.devices import Device
    from edgekit.workflows.checking import Checking

Key = tuple[str, int]
"""An artifact's id and a thread count."""


class Racing:
    """The arms of one tune."""

    def __init__(
        self,
        device: Device,
        artifacts: Sequence[Artifact],
        threads: Sequence[int],
        limits: Limits,
        on_block: Callable[[str], None],
        on_round: Callable[[int, int], None],
        checking: Checking | None,
    ) -> None:
        self._device, self._limits, self._checking = device, limits, checking
        self._on_block, self._on_round = on_block, on_round
        self._artifacts = {artifact.id: artifact for artifact in artifacts}
        self._keys = [(artifact.id, count) for artifact in artifacts for count in threads]
        self._prepared: dict[Key, Prepared] = {}
        self._memory: dict[Key, int] = {}
        self._lost: dict[Key, tuple[State, str]] = {}
        self._yardstick: Key | None = None
        self._yardstick_ns: list[float] = []

    def run(self, rules: Rules) -> list[Arm]:
        """All arms of the race, with what became of them."""
        alone = {key: found for key in self._keys if (found := self._look(key)) is not None}
        if not alone:
            return [self._arm(key, None) for key in self._keys]
        fastest = min(alone, key=lambda key: alone[key])
        others = [self._prepared[key] for key in alone if key != fastest]
        if others and all(can_take_turns(self._device, self._prepared[fastest], other) for other in others):
            self._yardstick, self._yardstick_ns = fastest, [alone[fastest]]
        done = race(
            list(alone),
            self._block,
            rules=rules,
            on_round=lambda number, arms: self._on_round(number, len(arms)),
            may_lead=self._may_lead,
        )
        return [self._arm(key, done) for key in self._keys]

    def _look(self, key: Key) -> float | None:
        """The median of a first block, alone; None of an arm that is out."""
        artifact, threads = self._artifacts[key[0]], key[1]
        try:
            self._prepared[key] = prepare(self._device, artifact, threads=threads)
        except RuntimeMissingError as error:
            self._lost[key] = ("failed", error.what)
            return None
        return self._alone(key)

    def _alone(self, key: Key) -> float | None:
        self._tell(key)
        try:
            block = measure(self._device, self._prepared[key]).block
        except (WrongAnswerError, RunnerError, RuntimeMissingError) as error:
            self._lost[key] = ("failed", error.what)
            return None
        return block.median_ns if self._within_memory(key, block) else None

    def _block(self, key: Key) -> float | None:
        """What a block of an arm counts by, in ns; None takes the arm out."""
        if self._yardstick is None:
            return self._alone(key)
        first_ns = self._yardstick_ns[0]
        if key == self._yardstick:
            return first_ns
        self._tell(key)
        try:
            mine, its = measure_in_turns(
                self._device, self._prepared[key], self._prepared[self._yardstick], lambda _side, _event: None
            )
        except (WrongAnswerError, RunnerError):  # it may be that both at once are too much: then each is asked alone
            return self._one_by_one(key, self._yardstick)
        self._yardstick_ns.append(its.block.median_ns)
        if not self._within_memory(key, mine.block):
            return None
        return first_ns * math.exp(log_ratio(its.block, mine.block))

    def _one_by_one(self, key: Key, yardstick: Key) -> float | None:
        mine_ns = self._alone(key)
        if mine_ns is None:
            return None
        self._yardstick_ns.append(measure(self._device, self._prepared[yardstick]).block.median_ns)
        return self._yardstick_ns[0] * mine_ns / self._yardstick_ns[-1]

    def _within_memory(self, key: Key, block: Block) -> bool:
        if block.model_rss_bytes is not None:
            self._memory[key] = max(self._memory.get(key, 0), block.model_rss_bytes)
        most = self._limits.max_memory_bytes
        if most is None or self._memory.get(key, 0) <= most:
            return True
        self._lost[key] = ("over a limit", f"it takes more than {most / 1e6:g} MB of memory")
        return False

    def _tell(self, key: Key) -> None:
        self._on_block(f"{self._artifacts[key[0]].manifest.recipe} ×{key[1]}")

    def _may_lead(self, key: Key, median_ns: float) -> bool:
        return self._checking is None or self._checking.found(key, median_ns).out is None

    def _arm(self, key: Key, done: Race[Key] | None) -> Arm:
        manifest = self._artifacts[key[0]].manifest
        medians = done.medians_ns.get(key, ()) if done is not None else ()
        state, because = self._lost.get(key, ("slower", ""))
        if done is not None and key in done.beaten:
            state, because = "beaten", f"clearly slower than the fastest after round {done.beaten[key]}"
        arm = Arm(
            recipe=manifest.recipe,
            threads=key[1],
            state=state,
            artifact=key[0],
            latency_ns=middle(list(medians)) * self._scale if medians else None,
            blocks=len(self._yardstick_ns) if key == self._yardstick else len(medians),
            size_bytes=manifest.payload_bytes,
            memory_bytes=self._memory.get(key),
            accuracy=manifest.accuracy,
            because=because,
        )
        return arm if self._checking is None else self._checking.marked(arm)

    @property
    def _scale(self) -> float:
        """From the yardstick's first block, which all ratios were multiplied by, to the median of all that it has."""
        return middle(self._yardstick_ns) / self._yardstick_ns[0] if self._yardstick_ns else 1.0
