"""A pair of a gate whose two processes take turns, through a real sshd: what it records, and what ends it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edgekit.bench import read_run, write_run
from edgekit.bench.comparable import differences
from edgekit.bench.gate import Plan, gate
from edgekit.bench.measure import bench
from edgekit.errors import RemoteTimeoutError, RunnerError, WrongAnswerError
from tests.bench.doubling import doubling

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.artifact import Artifact
    from edgekit.devices import Device

pytestmark = pytest.mark.device
PLAN = Plan(pairs=3, max_pairs=3, seed=1, tolerance=0.5)


@pytest.fixture
def other(tmp_path: Path) -> Artifact:
    """Another artifact that doubles."""
    return doubling(tmp_path / "artifacts", model="other")


class Pids:
    """Hears a gate, notes its processes, and acts once both sides of its first pair are warm."""

    def __init__(self, act: Callable[[dict[str, int]], object]) -> None:
        self.by_side: dict[str, int] = {}
        self._act, self._warm = act, 0

    def __call__(self, side: str, _number: int, event: dict[str, Any]) -> None:
        if event["event"] == "hello":
            self.by_side[side] = event["pid"]
        self._warm += event["event"] == "warmup"
        if self._warm == 2 and event["event"] == "warmup":
            self._act(self.by_side)

    def gone(self) -> bool:
        """Whether all of them have ended, within ten seconds."""
        end = time.monotonic() + 10
        while any(Path(f"/proc/{pid}").exists() for pid in self.by_side.values()) and time.monotonic() < end:
            time.sleep(0.05)
        return not any(Path(f"/proc/{pid}").exists() for pid in self.by_side.values())


def changed(device: Device, **bench_settings: object) -> Device:
    """The same device, with other settings of its target."""
    settings = msgspec.structs.replace(device.target.bench, **bench_settings)
    device.target = msgspec.structs.replace(device.target, bench=settings)
    return device


def test_a_gate_in_turns_and_what_it_keeps(board: Any, twice: Artifact, other: Artifact, tmp_path: Path) -> None:
    device = board()
    found = gate(device, twice, other, plan=PLAN, threads=1)
    assert found.comparison.verdict.outcome == "equivalent"
    for run in (found.baseline, found.candidate):
        assert run.context.execution == "process, in turns"
        for block in run.blocks:
            assert sum(block.turns) == block.samples.n >= device.target.bench.min_samples
            assert block.stop == "turns"
            assert len(block.before.values["affinity"]) == 1
        assert read_run(write_run(run, tmp_path / "runs")) == run
    turns = [[len(block.turns) for block in run.blocks] for run in (found.baseline, found.candidate)]
    assert turns[0] == turns[1]
    alone = bench(device, twice, threads=1, blocks=1)
    assert alone.blocks[0].turns == ()
    assert "execution" in [difference.field for difference in differences(alone, found.baseline)]


def test_without_turns_blocks_follow_each_other(board: Any, twice: Artifact, other: Artifact) -> None:
    order: list[str] = []

    def on_block(side: str, _number: int, event: dict[str, Any]) -> None:
        if event["event"] in ("hello", "done"):
            order.append(f"{side} {event['event']}")

    found = gate(changed(board(), turn_s=0.0), twice, other, plan=PLAN, threads=1, on_block=on_block)
    assert found.baseline.context.execution == "process"
    assert all(a.split()[0] == b.split()[0] for a, b in zip(order[::2], order[1::2], strict=True))


def test_a_wrong_answer_of_one_side_is_that_sides(board: Any, twice: Artifact, tmp_path: Path) -> None:
    wrong = doubling(tmp_path / "artifacts", model="tripling", factor=3.0)
    with pytest.raises(WrongAnswerError, match="tripling"):
        gate(board(), twice, wrong, plan=PLAN, threads=1)


def test_a_side_that_is_killed_for_memory(board: Any, twice: Artifact, other: Artifact) -> None:
    pids = Pids(lambda by_side: os.kill(by_side["candidate"], signal.SIGKILL))
    device = changed(board(), min_s=20.0, max_s=20.0)
    with pytest.raises(RunnerError, match="137") as caught:
        gate(device, twice, other, plan=PLAN, threads=1, on_block=pids)
    assert "turn_s = 0" in caught.value.remedy
    assert pids.gone()
    assert gate(changed(device, min_s=0.02), twice, other, plan=PLAN, threads=1).baseline.steady


@pytest.mark.parametrize("stopped", ["baseline", "candidate"])
def test_a_side_that_hangs_is_noticed_though_the_other_one_lives(
    board: Any, twice: Artifact, other: Artifact, stopped: str
) -> None:
    pids = Pids(lambda by_side: os.kill(by_side[stopped], signal.SIGSTOP))
    device = changed(board(), min_s=60.0, max_s=60.0, idle_timeout_s=2.0)
    began = time.monotonic()
    with pytest.raises(RemoteTimeoutError, match="said nothing for 2 s"):
        gate(device, twice, other, plan=PLAN, threads=1, on_block=pids)
    assert time.monotonic() - began < 30
    assert pids.gone()
