"""`edgekit rollout` over ten real sshd's: the real program, model, proof and devices; one of them dies on the way."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from edgekit.artifact import open_artifact
from edgekit.devices.throwaway_sshd import ThrowawaySshd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import Answer

pytestmark = [pytest.mark.slow, pytest.mark.device]


class Fleet:
    """Ten sshd's, each with a root of its own, as targets with labels."""

    def __init__(self, folder: Path, servers: list[ThrowawaySshd]) -> None:
        self.folder = folder
        self.servers = servers
        for number in range(len(servers)):
            self.write_target(number)

    def write_target(self, number: int) -> None:
        """Again after a restart: the port is another then."""
        path = self.folder / "targets" / f"pi{number}.toml"
        self.servers[number].write_target(path, f"pi{number}", str(self.root(number)))
        labels = '["fleet", "canary"]' if number == 0 else '["fleet", "rest"]'
        path.write_text(f"labels = {labels}\n" + path.read_text())

    def root(self, number: int) -> Path:
        return self.folder / f"root{number}"

    def current(self, number: int) -> str | None:
        link = self.root(number) / "models/digits_cnn/current"
        return link.resolve().name if link.is_symlink() else None


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        servers = [stack.enter_context(ThrowawaySshd(tmp_path / f"sshd{number}")) for number in range(10)]
        (tmp_path / "targets").mkdir()
        yield Fleet(tmp_path, servers)


def test_ten_devices_in_stages_with_one_away_and_then_all_the_way_back(
    edgekit: Callable[..., Answer], digits: Path, fleet: Fleet, liar: Path
) -> None:
    where = ("--targets", fleet.folder / "targets", "--rollouts", fleet.folder / "rollouts")
    every = ("--to", "label=fleet", *where)
    first, second = (open_artifact(digits / f"tflite-{precision}").id for precision in ("float32", "int8"))

    begun = edgekit("rollout", "start", digits / "tflite-float32", *every, "--stages", "canary,rest", "--json")
    assert begun.code == 0, begun.err
    assert begun.document["state"]["phase"] == "finished"
    assert {fleet.current(number) for number in range(10)} == {first}

    fleet.servers[7].stop()
    gate = f"{sys.executable} -c 'import os; assert os.environ[\"EDGEKIT_ROLLOUT_DEVICES\"]'"
    stages = ("--stages", "canary,rest", "--gate", gate)
    second_run = edgekit("rollout", "start", digits / "tflite-int8", *every, *stages, "--json")
    assert second_run.code == 4, "one device is away"
    rollout = second_run.document["plan"]["id"]
    assert second_run.document["state"]["devices"]["pi7"] == "absent"
    assert [fleet.current(number) for number in range(10)] == [second] * 7 + [first] + [second] * 2

    fleet.servers[7].start()
    fleet.write_target(7)
    resumed = edgekit("rollout", "resume", rollout, digits / "tflite-int8", *every)
    assert resumed.code == 0, resumed.err
    assert fleet.current(7) == second
    assert "is of digits_cnn tflite:int8" in " ".join(
        edgekit("rollout", "resume", rollout, digits / "tflite-float32", *every).err.split()
    )

    bad = edgekit("rollout", "start", liar, *every, "--stages", "canary,rest")
    assert bad.code == 3
    assert "the 1 devices of stage canary failed; pi0" in " ".join(bad.out.split())
    assert {fleet.current(number) for number in range(10)} == {second}

    taken_back = edgekit("rollout", "rollback", rollout, *every, "--json")
    assert taken_back.code == 0, taken_back.err
    assert {fleet.current(number) for number in range(10)} == {first}
    phases = [one["phase"] for one in edgekit("rollout", "list", *where[2:], "--json").document["rollouts"]]
    assert phases == ["rolled-back", "rolled-back", "finished"]
    shown = edgekit("rollout", "status", rollout, *where[2:])
    assert "rolled-back" in shown.out


def test_mistakes_on_the_command_line(edgekit: Callable[..., Answer], digits: Path, fleet: Fleet) -> None:
    where = ("--targets", fleet.folder / "targets", "--rollouts", fleet.folder / "rollouts")
    for arguments, told in (
        (("--to", "label=nobody"), "has the label 'nobody'"),
        (("--to", "label=fleet", "--stages", "50%,10%"), "do not rise to the whole fleet"),
        (("--to", "label=fleet", "--stages", "canary"), "do not have every device exactly once"),
    ):
        answer = edgekit("rollout", "start", digits / "tflite-int8", *arguments, *where)
        assert answer.code == 1
        assert told in " ".join(answer.err.split())
    assert "There is no rollout" in edgekit("rollout", "status", "none", *where[2:]).err
    assert not (fleet.folder / "rollouts").exists(), "nothing half-written stays behind"
