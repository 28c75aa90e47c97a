"""Two artifacts measured in turn on one device, for a verdict that CI can trust.

Each pair is a block of the one and a block of the other, next to each other in time; `order` draws who is first. When
the planned pairs leave it open, the gate goes on once, by as many pairs as their spread asks for and a limit allows.
Looking twice would raise the error rate, so the two looks share it: each is judged at half of the 5 % (Bonferroni).

The device is locked for all of it. A block that never settles is measured again, a few times in all; a device that
cannot be measured is inconclusive, never a regression.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec

from edgekit.bench.comparable import differences, told
from edgekit.bench.compare import Comparison, interleaved, unsteady
from edgekit.bench.effect import MIN_BLOCKS, paired
from edgekit.bench.measure import assemble, measure, prepare
from edgekit.bench.order import pairs
from edgekit.bench.run import Run
from edgekit.bench.verdict import CONFIDENCE, TOLERANCE, Verdict, blocks_needed, incomparable, inconclusive, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edgekit.artifact import Artifact
    from edgekit.bench.measure import Event, Measured, Prepared
    from edgekit.bench.order import Pair, Side
    from edgekit.devices import Device

LOOKS = 2
RETRIES = 3
"""Blocks of one gate that may be measured again because they never settled."""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was decided before anything was measured.

    pairs: measured in any case. max_pairs: the most after an extension; equal to `pairs` for none.
    seed: of the order of measurement.
    """

    pairs: int = 10
    max_pairs: int = 30
    tolerance: float = TOLERANCE
    seed: int = msgspec.field(default_factory=lambda: secrets.randbits(32))

    def __post_init__(self) -> None:
        if not MIN_BLOCKS <= self.pairs <= self.max_pairs:
            raise ValueError(f"a gate needs {MIN_BLOCKS} pairs or more, and no fewer at the most than at the least")


class Gated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A gate's outcome: the comparison, the plan, how many pairs the extension added, and both runs."""

    comparison: Comparison
    plan: Plan
    added_pairs: int
    baseline: Run
    candidate: Run


class _Turns:
    """Measures blocks in turn, and keeps them side by side."""

    def __init__(
        self, device: Device, sides: Mapping[Side, Prepared], on_block: Callable[[Side, int, Event], None]
    ) -> None:
        self._device = device
        self._sides = sides
        self._on_block = on_block
        self._retries = RETRIES
        self.measured: dict[Side, list[Measured]] = {"baseline": [], "candidate": []}

    def add(self, order: Iterator[Pair], count: int) -> None:
        """Measures that many pairs more."""
        for _ in range(count):
            for side in next(order):
                self.measured[side].append(self._settled(side))

    def _settled(self, side: Side) -> Measured:
        number = len(self.measured[side])
        while True:
            found = measure(self._device, self._sides[side], lambda event: self._on_block(side, number, event))
            if found.block.steady or not self._retries:
                return found
            self._retries -= 1

    def medians(self, side: Side) -> list[float]:
        """The block medians of a side, in ns, in the order of its pairs."""
        return [one.block.median_ns for one in self.measured[side]]

    def run(self, side: Side) -> Run:
        """The Run of a side so far."""
        return assemble(self._device, self._sides[side], self.measured[side])


def gate(
    device: Device,
    baseline: Artifact,
    candidate: Artifact,
    *,
    plan: Plan,
    threads: int,
    on_block: Callable[[Side, int, Event], None] = lambda _side, _number, _event: None,
    on_bytes: Callable[[int], None] | None = None,
    on_extend: Callable[[int], None] = lambda _pairs: None,
) -> Gated:
    """Measures two artifacts in turn and judges the candidate; the caller holds the device's lock.

    Args:
        device: connected.
        baseline, candidate: pushed into the device's store first, unless they are there; not activated.
        plan: pairs, tolerance, seed.
        threads: for both runtimes.
        on_block: called with (side, its block's number from 0, runner event).
        on_bytes: called with the number of bytes each time some were sent.
        on_extend: called with the number of pairs, once, if it goes on.

    Raises:
        WrongAnswerError: one of them gives wrong answers there: nothing was judged.
        RuntimeMissingError, RunnerError, ConnectionLostError, ...: see `edgekit.devices`.
    """
    sides: dict[Side, Prepared] = {
        "baseline": prepare(device, baseline, threads=threads, on_bytes=on_bytes),
        "candidate": prepare(device, candidate, threads=threads, on_bytes=on_bytes),
    }
    turns, order = _Turns(device, sides, on_block), pairs(plan.seed)
    turns.add(order, plan.pairs)
    verdict, added = _judge(turns, plan), 0
    if verdict.outcome == "inconclusive" and verdict.interval is not None and plan.max_pairs > plan.pairs:
        effect = paired(turns.medians("baseline"), turns.medians("candidate"))
        wanted = blocks_needed(effect, plan.tolerance, verdict.interval.confidence)
        added = min(max(wanted, plan.pairs + 1), plan.max_pairs) - plan.pairs
        on_extend(added)
        turns.add(order, added)
        verdict = _judge(turns, plan)
    a, b = turns.run("baseline"), turns.run("candidate")
    return Gated(interleaved(a, b, verdict), plan, added, a, b)


def _judge(turns: _Turns, plan: Plan) -> Verdict:
    a, b = turns.run("baseline"), turns.run("candidate")
    if restless := unsteady(a, b):
        return inconclusive(restless, blocks=len(a.blocks), tolerance=plan.tolerance)
    differing = [found for found in differences(a, b) if found.field not in ("runtime", "package", "version")]
    if differing:
        return incomparable(told(differing), blocks=len(a.blocks), tolerance=plan.tolerance)
    looks = LOOKS if plan.max_pairs > plan.pairs else 1
    effect = paired(turns.medians("baseline"), turns.medians("candidate"))
    return judge([effect], plan.tolerance, 1 - (1 - CONFIDENCE) / looks)[0]
