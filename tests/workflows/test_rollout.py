"""Staged rollouts: stages, thresholds, pauses, rollback, and a host that dies anywhere. Stores are real."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.deploy.rollout import Event, Journal, Plan, fold, make_plan
from edgekit.deploy.rollout.events import KINDS, after, begin
from edgekit.errors import RolloutError, RolloutRunningError
from edgekit.workflows.rollout import begin_rollback, carry_out, resume
from edgekit.workflows.rollout_gates import CommandGate, HealthGate
from tests.workflows.fleet import Script, ScriptedFleet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.artifact import Artifact

pytestmark = pytest.mark.device


def plan(artifact: Artifact, count: int = 10, **settings: Any) -> Plan:
    named = [f"d{number:03}" for number in range(count)]
    return make_plan(
        "r1", model=artifact.manifest.model, artifact_id=artifact.id, title=artifact.title, created="now",
        **{"devices": named, "shares": (0.1, 0.5, 1.0), **settings},
    )  # fmt: skip


@pytest.fixture
def old(make_artifact: Callable[..., Artifact]) -> Artifact:
    return make_artifact(payload=b"old" * 100)


@pytest.fixture
def new(make_artifact: Callable[..., Artifact]) -> Artifact:
    return make_artifact(payload=b"new" * 100)


@pytest.fixture
def fleet(tmp_path: Path, old: Artifact, new: Artifact) -> ScriptedFleet:
    """Ten devices that all have the old artifact."""
    ready = ScriptedFleet(tmp_path / "fleet", old)
    with ready.connect("d000") as device:
        ready.fleet.deploy(device)
    for number in range(1, 10):
        shutil.copytree(tmp_path / "fleet/d000", tmp_path / f"fleet/d{number:03}", symlinks=True)
    return ScriptedFleet(tmp_path / "fleet", new)


def journal(tmp_path: Path, made: Plan) -> Journal:
    return Journal.create(tmp_path / "rollouts" / made.id, made)


def test_every_device_gets_it_stage_by_stage(tmp_path: Path, fleet: ScriptedFleet, new: Artifact) -> None:
    made = journal(tmp_path, plan(new))
    seen: list[list[str]] = []

    class Watching:
        def judge(self, devices: Sequence[str]) -> None:
            seen.append([name for name in made.plan.devices if fleet.current(name) == new.id])

    state = carry_out(made, fleet.fleet, [Watching(), HealthGate(fleet.fleet, "tiny", new.id, 0.1)])
    assert (state.phase, state.why) == ("finished", "on every device")
    assert [len(names) for names in seen] == [1, 5, 10], "a stage is whole before the next begins"
    assert {fleet.current(name) for name in made.plan.devices} == {new.id}
    assert 1 < fleet.concurrent <= 4
    assert Journal.open(made.folder).state == state
    with pytest.raises(RolloutError, match="has finished on every device"):
        resume(made)


def test_stages_are_a_seeded_sample_or_labels_in_order(new: Artifact) -> None:
    first, again, other = plan(new), plan(new), plan(new, seed=1)
    assert first == again
    assert first.devices != other.devices
    assert [len(stage.devices) for stage in first.stages] == [1, 4, 5]
    assert [len(stage.devices) for stage in plan(new, 3, shares=(0.01, 0.1, 0.5, 1.0)).stages] == [1, 1, 1]
    groups = {"canary": ["d002"], "rest": ["d000", "d001"]}
    assert plan(new, 3, groups=groups).devices == ("d002", "d000", "d001")
    for wrong in (
        {"shares": (0.5, 0.1)},
        {"shares": (0.1, 0.5)},
        {"success": 0},
        {"devices": ["a", "a"]},
        {"devices": []},
        {"groups": {"canary": ["d002"]}},
    ):
        with pytest.raises(RolloutError):
            plan(new, 3, **wrong)


def test_a_refused_canary_stops_it_and_takes_it_back(
    tmp_path: Path, fleet: ScriptedFleet, old: Artifact, new: Artifact
) -> None:
    made = journal(tmp_path, plan(new))
    fleet.script.refuses = {made.plan.stages[0].devices[0]}
    state = carry_out(made, fleet.fleet)
    assert state.phase == "rolled-back"
    assert "1 of the 1 devices of stage 10% failed" in state.why
    assert "answers otherwise" in state.why
    assert len(fleet.deployed) == 1, "nobody else was touched"
    assert {fleet.current(name) for name in made.plan.devices} == {old.id}


def test_failures_in_a_later_stage_take_back_all_that_had_it(
    tmp_path: Path, fleet: ScriptedFleet, old: Artifact, new: Artifact
) -> None:
    made = journal(tmp_path, plan(new))
    fleet.script.refuses = set(made.plan.stages[2].devices[:2])
    state = carry_out(made, fleet.fleet)
    assert state.phase == "rolled-back"
    assert {fleet.current(name) for name in made.plan.devices} == {old.id}
    assert state.names("done", "deploying") == []


def test_a_pause_keeps_what_is_there_and_resume_tries_the_failed_again(
    tmp_path: Path, fleet: ScriptedFleet, new: Artifact
) -> None:
    made = journal(tmp_path, plan(new, on_error="pause"))
    bad = made.plan.stages[1].devices[0]
    fleet.script.refuses = {bad}
    state = carry_out(made, fleet.fleet)
    assert (state.phase, state.devices[bad]) == ("paused", "failed")
    assert fleet.current(made.plan.stages[0].devices[0]) == new.id
    assert carry_out(made, fleet.fleet) == state, "a pause holds until somebody ends it"
    fleet.script.refuses = set()
    resume(made)
    assert carry_out(made, fleet.fleet).phase == "finished"
    assert {fleet.current(name) for name in made.plan.devices} == {new.id}


def test_devices_that_are_away_stop_nothing_and_are_asked_again(
    tmp_path: Path, fleet: ScriptedFleet, old: Artifact, new: Artifact
) -> None:
    made = journal(tmp_path, plan(new))
    asleep, away = made.plan.stages[1].devices[:2]
    fleet.script.away = {asleep: 2, away: -1}
    state = carry_out(made, fleet.fleet)
    assert (state.phase, state.why) == ("finished", "on all devices but 1 absent")
    assert (fleet.current(asleep), fleet.current(away)) == (new.id, old.id)
    assert "does not answer" in state.reasons[away]
    fleet.script.away = {}
    resume(made)
    assert carry_out(made, fleet.fleet).why == "on every device"
    assert fleet.current(away) == new.id


def test_a_stage_of_which_nobody_answers_is_not_passed(tmp_path: Path, fleet: ScriptedFleet, new: Artifact) -> None:
    made = journal(tmp_path, plan(new, on_error="pause"))
    fleet.script.away = dict.fromkeys(made.plan.stages[0].devices, -1)
    state = carry_out(made, fleet.fleet)
    assert (state.phase, state.why) == ("paused", "no device of stage 10% could be reached")
    assert fleet.deployed == []


@pytest.mark.parametrize("commands", [0, 3, 8, 13, 16])
def test_a_link_that_is_cut_during_a_deployment(
    tmp_path: Path, fleet: ScriptedFleet, new: Artifact, commands: int
) -> None:
    """After so many commands; the next attempt in the same stage goes on."""
    made = journal(tmp_path, plan(new))
    fleet.script.cut = dict.fromkeys(made.plan.devices[:6], commands)
    assert carry_out(made, fleet.fleet).phase == "finished"
    assert {fleet.current(name) for name in made.plan.devices} == {new.id}


def test_a_device_that_was_cut_off_is_taken_back_as_well(
    tmp_path: Path, fleet: ScriptedFleet, old: Artifact, new: Artifact
) -> None:
    """It may have switched before its answer was lost; and one that sleeps during the rollback is asked by the next."""
    made = journal(tmp_path, plan(new, on_error="pause", shares=(1.0,)))
    carry_out(made, fleet.fleet)
    sleeping = made.plan.devices[0]
    fleet.script.away = {sleeping: -1}
    begin_rollback(made, "it was asked to")
    state = carry_out(made, fleet.fleet)
    assert state.phase == "rolled-back"
    assert "1 devices could not be asked" in state.why
    assert fleet.current(sleeping) == new.id
    fleet.script.away = {}
    begin_rollback(made, "once more")
    assert carry_out(made, fleet.fleet).names("absent") == []
    assert {fleet.current(name) for name in made.plan.devices} == {old.id}


def test_a_device_that_had_nothing_before_keeps_it(tmp_path: Path, new: Artifact) -> None:
    fleet = ScriptedFleet(tmp_path / "empty", new)
    made = journal(tmp_path, plan(new, 3, shares=(1.0,)))
    carry_out(made, fleet.fleet)
    begin_rollback(made, "it was asked to")
    state = carry_out(made, fleet.fleet)
    assert state.names("kept") == list(made.plan.devices)
    assert "is the only one" in state.reasons[made.plan.devices[0]]


def test_what_devices_report_stops_it(tmp_path: Path, fleet: ScriptedFleet, old: Artifact, new: Artifact) -> None:
    """The application on the canary fails while the stage soaks; edgekit-device there wrote it down."""
    made = journal(tmp_path, plan(new))
    canary = made.plan.stages[0].devices[0]

    class Crashing:
        def judge(self, devices: Sequence[str]) -> None:
            from edgekit.deploy.on_device import open_model

            open_model("tiny", str(fleet.folder / canary)).failed("exit status 139")

    state = carry_out(made, fleet.fleet, [Crashing(), HealthGate(fleet.fleet, "tiny", new.id, 0.1)])
    assert state.phase == "rolled-back"
    assert f"1 of 1 devices report that it failed or was left there: {canary}" in state.why
    assert {fleet.current(name) for name in made.plan.devices} == {old.id}


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import os; assert os.environ['EDGEKIT_ROLLOUT_DEVICES']", None),
        ("import sys; sys.exit(4)", None),
        ("import sys; print('p50 8 % slower', file=sys.stderr); sys.exit(3)", "found a regression: p50 8 % slower"),
        ("import sys; sys.exit(1)", "ended with 1: it said nothing"),
        ("import time; time.sleep(60)", "took longer than"),
    ],
)
def test_any_program_is_a_gate(program: str, why: str | None) -> None:
    said = CommandGate([sys.executable, "-c", program], timeout_s=2).judge(["a", "b"])
    assert (said is None) == (why is None)
    assert why is None or why in str(said)
    assert "cannot be run" in str(CommandGate(["/no/such/program"]).judge(["a"]))
    assert CommandGate([sys.executable, "-c", "raise SystemExit(4)"], inconclusive_stops=True).judge(["a"]) is not None


def test_asked_to_stop_it_pauses_and_goes_on(tmp_path: Path, fleet: ScriptedFleet, new: Artifact) -> None:
    made = journal(tmp_path, plan(new))
    stop = threading.Event()
    state = carry_out(made, fleet.fleet, on_change=lambda now: stop.set() if now.names("done") else None, stop=stop)
    assert (state.phase, state.why) == ("paused", "it was asked to")
    assert 0 < len(state.names("done")) < 10
    assert state.names("deploying") == [], "what was under way came to its end"
    resume(made)
    assert carry_out(made, fleet.fleet).phase == "finished"


def test_only_one_program_carries_it_out(tmp_path: Path, fleet: ScriptedFleet, new: Artifact) -> None:
    made = journal(tmp_path, plan(new))
    with made.carrying_out(), pytest.raises(RolloutRunningError):
        carry_out(Journal.open(made.folder), fleet.fleet)


def test_a_journal_that_was_torn_or_forged(tmp_path: Path, fleet: ScriptedFleet, new: Artifact) -> None:
    made = journal(tmp_path, plan(new))
    made.write("device-started", device="d001")
    with (made.folder / "events.jsonl").open("ab") as file:
        file.write(b'{"kind":"device-do')
    assert Journal.open(made.folder).state.devices["d001"] == "deploying"
    assert carry_out(Journal.open(made.folder), fleet.fleet).phase == "finished"
    with (made.folder / "events.jsonl").open("ab") as file:
        file.write(b'{"kind":"device-done","at":1,"device":"d001"}\n')
    with pytest.raises(RolloutError, match="cannot happen then"):
        Journal.open(made.folder)
    (made.folder / "events.jsonl").write_bytes(b"nonsense\n")
    with pytest.raises(RolloutError, match="cannot be read"):
        Journal.open(made.folder)
    with pytest.raises(RolloutError, match="There is no rollout"):
        Journal.open(tmp_path / "rollouts/none")


HOST = """
import sys
from pathlib import Path
from edgekit.artifact import open_artifact
from edgekit.deploy.rollout import Journal
from edgekit.workflows.rollout import carry_out
from tests.workflows.fleet import ScriptedFleet
journal = Journal.open(Path(sys.argv[1]))
fleet = ScriptedFleet(Path(sys.argv[2]), open_artifact(Path(sys.argv[3])))
carry_out(journal, fleet.fleet, on_change=lambda _: print(".", flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("turns_round", [False, True])
def test_a_host_that_is_killed_at_random_points(
    tmp_path: Path, fleet: ScriptedFleet, old: Artifact, new: Artifact, turns_round: bool
) -> None:
    """kill -9, again and again: after each, every device has the old or the new one; at the end all are alike."""
    made = journal(tmp_path, plan(new))
    rng = random.Random(7)
    argv = [sys.executable, "-c", HOST, str(made.folder), str(fleet.folder), str(new.path)]
    kills, found = 0, Counter[str]()
    for _ in range(60):
        host = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        assert host.stdout is not None
        for _ in range(rng.randint(1, 12)):  # events; a slow machine gets on as well
            if not host.stdout.readline():
                break
        else:
            time.sleep(rng.uniform(0, 0.02))
            host.send_signal(signal.SIGKILL)
            kills += 1
        host.stdout.close()
        host.wait()
        for name in made.plan.devices:
            assert fleet.current(name) in (old.id, new.id)
        state = Journal.open(made.folder).state
        found[f"{state.phase}, {len(state.names('deploying', 'rolling-back'))} devices under way"] += 1
        if turns_round and state.phase == "running" and len(state.names("done")) >= 4:
            begin_rollback(Journal.open(made.folder), "the test turns it round")
        if state.phase in ("finished", "rolled-back"):
            break
    assert kills >= 2
    print(f"rollout: {kills} kills; found {dict(found)}")  # noqa: T201 - the figures of the docs: pytest -s
    wanted = ("rolled-back", old.id) if turns_round else ("finished", new.id)
    assert {(state.phase, fleet.current(name)) for name in made.plan.devices} == {wanted}
    with fleet.connect(made.plan.devices[0]) as device:
        from edgekit.deploy import status

        assert [one.whole for one in status(device)] == [True]


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(["", "a", "b", "c", "x"])), max_size=40))
def test_no_sequence_of_events_leaves_the_state_machine(events: list[tuple[str, str]]) -> None:
    """Whatever is tried: what cannot happen is refused, and what happened folds to the same state again."""
    made = make_plan(
        "r", model="m", artifact_id="0" * 64, title="m", created="now", devices=["a", "b", "c"], shares=(0.5, 1.0)
    )
    state, happened = begin(made), []
    for kind, device in events:
        event = Event(kind, 0.0, device if kind.startswith("device-") else "")
        try:
            state = after(made, state, event)
        except RolloutError:
            continue
        happened.append(event)
    assert fold(made, happened) == state
    assert set(state.devices) == {"a", "b", "c"}
    assert 0 <= state.stage < len(made.stages)


@pytest.mark.slow
def test_a_thousand_devices(tmp_path: Path, new: Artifact) -> None:
    """With scripted failures: 5 % are away, three refuse; it finishes on all others."""
    rng = random.Random(3)
    made = journal(tmp_path, plan(new, 1000, shares=(0.01, 0.1, 0.5, 1.0), success=0.9, error=0.05))
    away = rng.sample(made.plan.devices, 50)
    script = Script(away=dict.fromkeys(away, -1), refuses=set(rng.sample(made.plan.stages[3].devices, 3)))
    fleet = ScriptedFleet(tmp_path / "fleet", new, script)
    state = carry_out(made, fleet.fleet)
    assert state.phase == "finished"
    assert len(state.names("done")) == 1000 - len(state.names("absent")) - len(state.names("failed"))
    assert set(state.names("absent")) == set(away)
