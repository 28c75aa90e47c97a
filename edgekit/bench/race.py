"""Many arms, one winner: what is clearly beaten is measured no further.

Rounds of blocks, twice as many each time; the arms still in the race are measured in a random order within a round, so
that none always follows a hot one. After a round an arm leaves when the interval of its ratio to the fastest lies
wholly above 1 + tolerance (Welch's t on log block medians, at a level that all comparisons of the race share, by
Bonferroni). So an arm that is as good as the best leaves by mistake in at most 5 of 100 races. It is successive halving
(Jamieson and Talwalkar 2016) with the half replaced by a test: nothing is dropped for being second.

Speed alone beats nobody: whoever would drop others for being faster is first asked whether it may lead. One that may
not leaves, and the next one leads.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from edgekit.bench.compare import middle
from edgekit.bench.effect import MIN_BLOCKS, unpaired

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

K = TypeVar("K")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rules:
    """How a race is run.

    first: blocks of each arm in the first round. rounds: how many at the most, each with twice the blocks of the last.
    """

    first: int = MIN_BLOCKS
    rounds: int = 3
    tolerance: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.first < MIN_BLOCKS or self.rounds < 1:
            raise ValueError(f"a race has a round or more, of {MIN_BLOCKS} blocks or more")


@dataclass(frozen=True)
class Race(Generic[K]):
    """What was measured, block medians in ns by arm; who was beaten in which round; who might not lead; the rest, the
    fastest first."""

    medians_ns: Mapping[K, Sequence[float]]
    beaten: Mapping[K, int]
    finalists: Sequence[K]
    refused: Sequence[K] = ()


def race(
    arms: Sequence[K],
    block: Callable[[K], float | None],
    *,
    rules: Rules,
    on_round: Callable[[int, Sequence[K]], None] = lambda _number, _arms: None,
    may_lead: Callable[[K, float], bool] = lambda _arm, _median_ns: True,
) -> Race[K]:
    """Runs the race.

    Args:
        arms: who takes part; at least one.
        block: measures one block of an arm and returns its median in ns, or None to take the arm out: it failed.
        rules: rounds, blocks, tolerance, the seed of the order.
        on_round: called with each round's number from 1 and the arms that run in it.
        may_lead: asked once of an arm that is the fastest after a round, with its median in ns.
    """
    draw = random.Random(rules.seed)  # noqa: S311 - an order of measurement, not a secret
    medians: dict[K, list[float]] = {arm: [] for arm in arms}
    running, beaten, failed = list(arms), dict[K, int](), set[K]()
    leads: dict[K, bool] = {}
    for number in range(1, rules.rounds + 1):
        on_round(number, tuple(running))
        for _ in range(rules.first * 2 ** (number - 1)):
            order = [arm for arm in running if arm not in failed]
            draw.shuffle(order)
            for arm in order:
                found = block(arm)
                if found is None:
                    failed.add(arm)
                else:
                    medians[arm].append(found)
        running = [arm for arm in running if arm not in failed]
        while running:
            best = min(running, key=lambda arm: middle(medians[arm]))
            if leads.setdefault(best, False) or may_lead(best, middle(medians[best])):
                leads[best] = True
                break
            running.remove(best)
        slower = _clearly_slower(running, medians, rules, comparisons=max(1, len(arms) - 1) * rules.rounds)
        beaten.update(dict.fromkeys(slower, number))
        running = [arm for arm in running if arm not in beaten]
        if len(running) <= 1:
            break
    return Race(
        {arm: tuple(found) for arm, found in medians.items() if arm not in failed},
        beaten,
        sorted(running, key=lambda arm: middle(medians[arm])),
        [arm for arm, allowed in leads.items() if not allowed],
    )


def _clearly_slower(
    running: Sequence[K], medians: Mapping[K, Sequence[float]], rules: Rules, *, comparisons: int
) -> list[K]:
    if len(running) < 2:
        return []
    best = min(running, key=lambda arm: middle(list(medians[arm])))
    level = 1 - (1 - CONFIDENCE) / comparisons
    return [
        arm
        for arm in running
        if arm != best and unpaired(medians[best], medians[arm]).interval(level).low > 1 + rules.tolerance
    ]
