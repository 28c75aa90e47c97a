"""The order of measurement: balanced, random, and the same for a seed."""

from __future__ import annotations

from itertools import islice

from edgekit.bench.order import pairs


def test_every_four_blocks_are_abba_or_baab() -> None:
    drawn = list(islice(pairs(1), 200))
    fours = {(*first, *second) for first, second in zip(drawn[::2], drawn[1::2], strict=True)}
    a, b = "baseline", "candidate"
    assert fours == {(a, b, b, a), (b, a, a, b)}


def test_a_steady_drift_weighs_on_both_alike() -> None:
    order = [side for pair in islice(pairs(3), 10) for side in pair]
    where = {side: sum(k for k, s in enumerate(order) if s == side) for side in set(order)}
    assert where["baseline"] == where["candidate"]


def test_the_seed_decides() -> None:
    assert list(islice(pairs(5), 20)) == list(islice(pairs(5), 20))
    assert any(list(islice(pairs(5), 20)) != list(islice(pairs(seed), 20)) for seed in range(6, 10))
