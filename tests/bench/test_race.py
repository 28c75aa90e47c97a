"""The race: the beaten leave early, the good stay, a failure costs one arm."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from edgekit.bench.race import Race, Rules, race


def run(truth: dict[str, float], *, spread: float = 0.01, seed: int = 1, rules: Rules | None = None) -> Race[str]:
    draw = random.Random(seed)
    return race(list(truth), lambda arm: 1e6 * truth[arm] * draw.gauss(1, spread), rules=rules or Rules(seed=seed))


def test_the_clearly_beaten_leave_after_the_first_round() -> None:
    done = run({"a": 1.0, "b": 1.02, "c": 3.0, "d": 10.0}, spread=0.005)
    assert done.beaten["c"] == done.beaten["d"] == 1
    assert len(done.medians_ns["d"]) == 3
    assert len(done.medians_ns["a"]) > 3
    assert done.finalists[0] == "a"


def test_it_ends_when_one_is_left() -> None:
    rounds: list[tuple[int, int]] = []
    draw = random.Random(2)
    race(
        ["a", "b"], lambda arm: 1e6 * (2 if arm == "b" else 1) * draw.gauss(1, 0.001), rules=Rules(rounds=5),
        on_round=lambda number, arms: rounds.append((number, len(arms))),
    )  # fmt: skip
    assert rounds == [(1, 2)]


def test_equals_all_reach_the_end_with_twice_the_blocks_each_round() -> None:
    done = run({"a": 1.0, "b": 1.0, "c": 1.0})
    assert set(done.finalists) == {"a", "b", "c"}
    assert {len(found) for found in done.medians_ns.values()} == {3 + 6 + 12}


def test_the_best_is_seldom_lost() -> None:
    lost = sum("best" not in run({"best": 1.0, "x": 1.0, "y": 1.0, "z": 1.005}, spread=0.05, seed=s).finalists
               for s in range(150))  # fmt: skip
    assert lost <= 12  # 5 of 100 at the most, and three standard errors


def test_an_arm_that_fails_is_out_and_the_others_go_on() -> None:
    tries: Counter[str] = Counter()

    def block(arm: str) -> float | None:
        tries[arm] += 1
        return None if arm == "broken" or (arm == "late" and tries[arm] == 3) else 1e6 + tries[arm]

    done = race(["broken", "late", "fine"], block, rules=Rules(rounds=2))
    assert tries["broken"] == 1
    assert tries["late"] == 3
    assert list(done.finalists) == ["fine"]
    assert "broken" not in done.medians_ns


def test_all_fail() -> None:
    done = race(["a", "b"], lambda _arm: None, rules=Rules())
    assert done.finalists == []
    assert done.medians_ns == {}


def test_the_order_changes_and_the_seed_repeats_it() -> None:
    def order(seed: int) -> str:
        seen: list[str] = []
        race(list("abc"), lambda arm: seen.append(arm) or 1e6, rules=Rules(rounds=1, seed=seed))  # type: ignore[func-returns-value]
        return "".join(seen)

    assert order(1) == order(1)
    assert len({order(seed) for seed in range(5)}) > 1
    assert all(sorted(order(1)[k : k + 3]) == list("abc") for k in (0, 3, 6))


@pytest.mark.parametrize("bad", [{"first": 2}, {"rounds": 0}])
def test_rules_that_cannot_be(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="race"):
        Rules(**bad)


def test_who_may_not_lead_beats_nobody_and_is_asked_once() -> None:
    asked = []

    def may_lead(arm: str, median_ns: float) -> bool:
        asked.append((arm, round(median_ns)))
        return arm != "wrong"

    speed = {"wrong": 10.0, "right": 100.0, "slow": 200.0}
    draw = random.Random(0)
    done = race(list(speed), lambda arm: speed[arm] * draw.gauss(1, 0.001), rules=Rules(rounds=2), may_lead=may_lead)
    assert [arm for arm, _ in asked] == ["wrong", "right"]
    assert done.refused == ["wrong"]
    assert done.finalists == ["right"]
    assert list(done.beaten) == ["slow"]
    assert len(done.medians_ns["wrong"]) == 3
