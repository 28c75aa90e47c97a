"""What a pair counts by: turns where there are any, medians else; and what turns are for."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from edgekit.bench.pairing import pairs_of
from tests.bench.runs import make_block

if TYPE_CHECKING:
    from edgekit.bench.run import Block


def in_turns(*turns: list[int]) -> Block:
    """A block of these turns."""
    block = make_block(*(ns for turn in turns for ns in turn))
    return msgspec.structs.replace(block, turns=tuple(len(turn) for turn in turns))


def test_blocks_that_followed_each_other_count_by_their_medians() -> None:
    a, b = make_block(100, 110, 900), make_block(220, 221, 1)
    assert pairs_of([a] * 3, [b] * 3).log_ratios == pytest.approx([math.log(220 / 110)] * 3)


def test_turns_count_by_the_median_of_their_ratios() -> None:
    a = in_turns([100, 100, 101], [150], [100, 102])
    b = in_turns([110], [150, 151, 160], [112])
    ratios = [math.log(110 / 100), math.log(151 / 150), math.log(112 / 101)]
    assert pairs_of([a] * 3, [b] * 3).log_ratios == pytest.approx([sorted(ratios)[1]] * 3)


def test_a_speed_that_changes_within_a_block_moves_its_median_and_not_its_turns() -> None:
    draw = random.Random(3)

    sides: tuple[list[Block], list[Block]] = ([], [])
    speed = 1.0
    for _ in range(10):
        turns: tuple[list[list[int]], list[list[int]]] = ([], [])
        for _ in range(25):
            for side, factor in zip(turns, (1.0, 1.05), strict=True):
                if draw.random() < 0.05:
                    speed = draw.uniform(1.0, 1.45)
                side.append([round(1e6 * speed * factor * draw.gauss(1, 0.02)) for _ in range(20)])
        for blocks, side in zip(sides, turns, strict=True):
            blocks.append(in_turns(*side))
    by_turns = pairs_of(*sides)
    whole = pairs_of(*([msgspec.structs.replace(block, turns=()) for block in side] for side in sides))
    assert by_turns.interval(0.95).low > 1.04
    assert by_turns.interval(0.95).high < 1.06
    assert whole.error > 1.5 * by_turns.error


def test_blocks_that_did_not_take_turns_with_each_other_count_by_their_medians() -> None:
    a, b = in_turns([100], [100]), in_turns([110], [110], [999])
    assert pairs_of([a] * 3, [b] * 3).log_ratios == pytest.approx([math.log(1.1)] * 3)
