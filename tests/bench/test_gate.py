"""The gate's plan: turns, one extension, blocks measured again. Latencies are scripted, so that the outcome is known.

What a real device answers is in tests/cli/test_gate.py.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.bench import gate as module
from edgekit.bench.gate import Plan, gate
from edgekit.bench.undisturbed import Measured
from edgekit.devices import connect
from tests.bench.runs import make_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.artifact import Artifact
    from edgekit.bench.run import Block
    from edgekit.devices import Device, Target

RUNTIME = {"name": "litert", "package": "ai_edge_litert", "version": "2.3.0"}


@pytest.fixture
def here(local_target: Target) -> Iterator[Device]:
    one_after_the_other = msgspec.structs.replace(local_target.bench, turn_s=0)
    with connect(msgspec.structs.replace(local_target, bench=one_after_the_other)) as device:
        yield device


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, int], Block]], list[str]]:
    """Replaces the measurement of a block: `block_of(model, k)` for the k-th block of an artifact's model."""

    def install(block_of: Callable[[str, int], Block]) -> list[str]:
        order: list[str] = []

        def measure(_device: object, prepared: Any, _on_event: object) -> Measured:
            model = prepared.artifact.manifest.model
            order.append(model)
            return Measured(block_of(model, order.count(model) - 1), RUNTIME)

        monkeypatch.setattr(module, "measure", measure)
        return order

    return install


def around(ns: float, draw: random.Random, spread: float) -> Block:
    return make_block(round(ns * draw.gauss(1, spread)))


def judged(device: Device, make_artifact: Callable[..., Artifact], plan: Plan) -> Any:
    extended: list[int] = []
    a, b = make_artifact(model="old"), make_artifact(model="new", payload=b"other")
    found = gate(device, a, b, plan=plan, threads=1, on_extend=extended.append)
    assert extended == ([found.added_pairs] if found.added_pairs else [])
    assert len(found.baseline.blocks) == len(found.candidate.blocks) == plan.pairs + found.added_pairs
    return found


def test_a_clear_slow_down_needs_no_extension(here: Device, make_artifact: Any, script: Any) -> None:
    draw = random.Random(1)
    order = script(lambda model, _: around(1e6 if model == "old" else 1.1e6, draw, 0.005))
    found = judged(here, make_artifact, Plan(pairs=8, max_pairs=30, seed=3))
    assert found.comparison.verdict.outcome == "regressed"
    assert found.added_pairs == 0
    assert found.comparison.verdict.interval.confidence == 0.975  # two looks share the 5 %
    fours = {tuple(order[k : k + 4]) for k in range(0, 16, 4)}
    assert fours <= {("old", "new", "new", "old"), ("new", "old", "old", "new")}


def test_what_is_open_goes_on_once_and_within_its_limit(here: Device, make_artifact: Any, script: Any) -> None:
    draw = random.Random(2)
    script(lambda model, _: around(1e6 if model == "old" else 1.028e6, draw, 0.02))
    found = judged(here, make_artifact, Plan(pairs=6, max_pairs=14, seed=3))
    assert 1 <= found.added_pairs <= 8
    assert found.comparison.verdict.blocks == 6 + found.added_pairs


def test_an_extension_asks_for_no_more_than_it_needs(here: Device, make_artifact: Any, script: Any) -> None:
    draw = random.Random(4)
    script(lambda model, _: around(1e6 if model == "old" else 1.05e6, draw, 0.02))
    found = judged(here, make_artifact, Plan(pairs=5, max_pairs=500, seed=3))
    assert found.added_pairs < 200
    assert found.comparison.verdict.outcome == "regressed"


def test_without_an_extension_the_whole_5_percent_are_spent_at_once(
    here: Device, make_artifact: Any, script: Any
) -> None:
    draw = random.Random(5)
    script(lambda _model, _: around(1e6, draw, 0.002))
    found = judged(here, make_artifact, Plan(pairs=5, max_pairs=5, seed=3))
    assert found.comparison.verdict.outcome == "equivalent"
    assert found.comparison.verdict.interval.confidence == 0.95


def test_a_block_that_never_settles_is_measured_again(here: Device, make_artifact: Any, script: Any) -> None:
    draw = random.Random(6)

    def block_of(model: str, k: int) -> Block:
        made = around(1e6, draw, 0.002)
        return msgspec.structs.replace(made, steady=not (model == "old" and k in (1, 2)))

    order = script(block_of)
    found = judged(here, make_artifact, Plan(pairs=5, max_pairs=5, seed=3))
    assert order.count("old") == 7
    assert found.baseline.steady
    assert found.comparison.verdict.outcome == "equivalent"


def test_a_device_that_never_settles_is_inconclusive_and_not_measured_for_ever(
    here: Device, make_artifact: Any, script: Any
) -> None:
    draw = random.Random(7)
    order = script(lambda _model, _: msgspec.structs.replace(around(1e6, draw, 0.002), steady=False))
    found = judged(here, make_artifact, Plan(pairs=5, max_pairs=30, seed=3))
    assert found.comparison.verdict.outcome == "inconclusive"
    assert "never settled" in found.comparison.verdict.because
    assert len(order) == 2 * 5 + module.RETRIES


def test_a_governor_that_differs_between_the_two_is_told(here: Device, make_artifact: Any, script: Any) -> None:
    script(lambda model, _: make_block(1000, 1001, governor=["powersave" if model == "old" else "performance"]))
    found = judged(here, make_artifact, Plan(pairs=5, max_pairs=5, seed=3))
    assert found.comparison.verdict.outcome == "incomparable"
    assert "governor (powersave against performance)" in found.comparison.verdict.because


@pytest.mark.parametrize(("pairs", "most"), [(2, 10), (10, 9)])
def test_a_plan_that_cannot_be(pairs: int, most: int) -> None:
    with pytest.raises(ValueError, match="pairs"):
        Plan(pairs=pairs, max_pairs=most)
