"""Two artifacts measured in turn on one device, for a verdict that CI can trust.

Each pair is a block of the one and a block of the other, together in time: two fresh processes that take turns of a few
milliseconds (`edgekit.bench.turns`), or, where that cannot be, one after the other. `order` draws who is first. When
the planned pairs leave it open, the gate goes on once, by as many pairs as their spread asks for and a limit allows.
Looking twice would raise the error rate, so the two looks share it: each is judged at half of the 5 % (Bonferroni).

The device is locked for all of it. A block that never settles is measured again, a few times in all. One that had to be
given up (`edgekit.bench.guards`) takes the other half of its pair with it: both runs tell, and neither counts. A device
that cannot be measured is inconclusive, never a regression.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec

from edgekit.bench.comparable import differences, told
from edgekit.bench.compare import Comparison, interleaved, lost, unsteady
from edgekit.bench.effect import MIN_BLOCKS
from edgekit.bench.measure import assemble, measure, prepare
from edgekit.bench.order import pairs
from edgekit.bench.pairing import pairs_of
from edgekit.bench.run import GivenUp, Run
from edgekit.bench.turns import can_take_turns, measure_in_turns
from edgekit.bench.undisturbed import GaveUpError
from edgekit.bench.verdict import CONFIDENCE, TOLERANCE, Verdict, blocks_needed, incomparable, inconclusive, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edgekit.artifact import Artifact
    from edgekit.bench.effect import Paired
    from edgekit.bench.measure import Event, Prepared
    from edgekit.bench.order import Pair, Side
    from edgekit.bench.undisturbed import Measured
    from edgekit.devices import RunnerDevice

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
        self, device: RunnerDevice, sides: Mapping[Side, Prepared], on_block: Callable[[Side, int, Event], None]
    ) -> None:
        self._device = device
        self._sides = sides
        self._on_block = on_block
        self._retries = RETRIES
        self._in_turns = can_take_turns(device, sides["baseline"], sides["candidate"])
        self._pairs = 0
        self.measured: dict[Side, list[Measured]] = {"baseline": [], "candidate": []}
        self.given_up: dict[Side, list[GivenUp]] = {"baseline": [], "candidate": []}
        self.trouble: GaveUpError | None = None

    def add(self, order: Iterator[Pair], count: int) -> None:
        """Measures that many pairs more.

        Raises:
            GaveUpError: not one pair counts.
        """
        for _ in range(count):
            self._add_pair(next(order))
            self._pairs += 1
        if self.trouble is not None and not self.measured["baseline"]:
            raise self.trouble

    def _add_pair(self, pair: Pair) -> None:
        add = self._at_once if self._in_turns else self._one_by_one
        found = add(pair)
        for side, one in found.items():
            self.measured[side].append(one)

    def _at_once(self, pair: Pair) -> dict[Side, Measured]:
        """A pair whose processes take turns; nothing, if it was given up."""
        number = len(self.measured["baseline"])
        first, second = (self._sides[side] for side in pair)
        while True:
            try:
                found = measure_in_turns(
                    self._device, first, second, lambda k, event: self._on_block(pair[k], number, event)
                )
            except GaveUpError as error:
                self.trouble = error
                for side, given_up in zip(pair, error.given_up, strict=True):
                    self.given_up[side].append(msgspec.structs.replace(given_up, number=self._pairs))
                return {}
            if all(one.block.steady for one in found) or not self._retries:
                return dict(zip(pair, found, strict=True))
            self._retries -= 1

    def _one_by_one(self, pair: Pair) -> dict[Side, Measured]:
        """A pair of whole blocks; nothing, if one of them was given up."""
        found: dict[Side, Measured] = {}
        for side in pair:
            try:
                found[side] = self._settled(side)
            except GaveUpError as error:  # noqa: PERF203 - seconds are measured here
                self.trouble = error
                (given_up,) = error.given_up
                self.given_up[side].append(msgspec.structs.replace(given_up, number=self._pairs))
                for other, one in found.items():
                    because = f"the {side}'s block of the same pair was given up"
                    self.given_up[other].append(GivenUp(self._pairs, one.block.attempts, because, one.block))
                return {}
        return found

    def _settled(self, side: Side) -> Measured:
        number = len(self.measured[side])
        while True:
            found = measure(self._device, self._sides[side], lambda event: self._on_block(side, number, event))
            if found.block.steady or not self._retries:
                return found
            self._retries -= 1

    @property
    def effect(self) -> Paired:
        """The log ratios of the pairs so far."""
        return pairs_of(*([one.block for one in self.measured[side]] for side in ("baseline", "candidate")))

    def run(self, side: Side) -> Run:
        """The Run of a side so far."""
        return assemble(self._device, self._sides[side], self.measured[side], self.given_up[side])


def gate(
    device: RunnerDevice,
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
        OutsideLimitsError: every pair had to be given up.
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
        wanted = blocks_needed(turns.effect, plan.tolerance, verdict.interval.confidence)
        added = min(max(wanted, plan.pairs + 1), plan.max_pairs) - plan.pairs
        on_extend(added)
        turns.add(order, added)
        verdict = _judge(turns, plan)
    a, b = turns.run("baseline"), turns.run("candidate")
    return Gated(interleaved(a, b, verdict), plan, added, a, b)


def _judge(turns: _Turns, plan: Plan) -> Verdict:
    a, b = turns.run("baseline"), turns.run("candidate")
    if too_few := lost(a, b):
        return inconclusive(too_few, blocks=len(a.blocks), tolerance=plan.tolerance)
    if restless := unsteady(a, b):
        return inconclusive(restless, blocks=len(a.blocks), tolerance=plan.tolerance)
    differing = [found for found in differences(a, b) if found.field not in ("runtime", "package", "version")]
    if differing:
        return incomparable(told(differing), blocks=len(a.blocks), tolerance=plan.tolerance)
    looks = LOOKS if plan.max_pairs > plan.pairs else 1
    return judge([turns.effect], plan.tolerance, 1 - (1 - CONFIDENCE) / looks)[0]
