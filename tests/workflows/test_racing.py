"""Tune's race on this machine: against a yardstick in turns, one by one where that fails, alone where nobody can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.bench.race import Rules
from edgekit.devices import connect
from edgekit.errors import RunnerError
from edgekit.workflows import racing as module
from edgekit.workflows.racing import Racing
from edgekit.workflows.tuned import Limits
from tests.bench.doubling import brief, doubling, with_doubling

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.devices import Target
    from edgekit.workflows.tuned import Arm

RULES = Rules(first=3, rounds=1)


def raced(target: Target, folder: Path, turn_s: float, *models: str) -> list[Arm]:
    """The arms of models that all take half a millisecond."""
    quick = brief(target)
    settings = msgspec.structs.replace(quick.bench, turn_s=turn_s)
    artifacts = [doubling(folder / "artifacts", model=model) for model in models]
    with connect(msgspec.structs.replace(quick, bench=settings)) as device:
        with_doubling(device, folder)
        racing = Racing(device, artifacts, [1], Limits(), lambda _arm: None, lambda _n, _arms: None, None)
        return racing.run(RULES)


def test_blocks_are_pairs_with_the_yardstick(local_target: Target, tmp_path: Path) -> None:
    arms = raced(local_target, tmp_path, 0.005, "a", "b")
    assert sorted(arm.blocks for arm in arms) == [3, 1 + 3]  # the yardstick: its first look, and once in each pair
    assert all(0.4e6 < (arm.latency_ns or 0) < 2e6 for arm in arms)


@pytest.mark.parametrize(("turn_s", "models"), [(0.0, ("a", "b")), (0.005, ("a",))])
def test_without_turns_or_others_blocks_are_measured_alone(
    local_target: Target, tmp_path: Path, turn_s: float, models: tuple[str, ...]
) -> None:
    assert [arm.blocks for arm in raced(local_target, tmp_path, turn_s, *models)] == [3] * len(models)


def test_two_that_are_too_much_at_once_are_measured_one_by_one(
    local_target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_: Any) -> None:
        raise RunnerError("Both were killed.", remedy="Free some memory.")

    monkeypatch.setattr(module, "measure_in_turns", too_much)
    arms = raced(local_target, tmp_path, 0.005, "a", "b")
    assert sorted(arm.blocks for arm in arms) == [3, 1 + 3]
    assert "failed" not in {arm.state for arm in arms}
