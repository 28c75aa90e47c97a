"""Carries a rollout out: deploys stage by stage, watches, asks the gates, goes on, pauses or rolls back.

Every step is in the journal before the device is touched and after it answered. A host that dies anywhere leaves a
journal from which `carry_out` goes on: a device that was being deployed is deployed again, which costs nothing where it
had succeeded, and a device in the middle of a rollback is asked what it has. Devices never depend on the host: each
switch is theirs, atomic, and proven there.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from edgekit.deploy import rollback, status
from edgekit.errors import (
    AuthenticationError,
    ConnectionLostError,
    DeviceBusyError,
    EdgeKitError,
    HostKeyError,
    NothingToRollBackError,
    RemoteTimeoutError,
    RolloutError,
    UnreachableDeviceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.deploy.rollout import Journal, Stage, State
    from edgekit.workflows.rollout_gates import Fleet, Gate

ABSENT = (
    UnreachableDeviceError,
    ConnectionLostError,
    RemoteTimeoutError,
    DeviceBusyError,
    HostKeyError,
    AuthenticationError,
)
"""What says nothing of the artifact: the device is off, busy, or not the one that was expected."""
ATTEMPTS = 3
"""Tries a device gets within a stage while it is absent."""


def carry_out(
    journal: Journal,
    fleet: Fleet,
    gates: Sequence[Gate] = (),
    *,
    on_change: Callable[[State], None] = lambda _state: None,
    stop: threading.Event | None = None,
) -> State:
    """Goes on with a rollout, until it has finished, paused or been rolled back.

    Args:
        journal: its journal; this program becomes the one that carries it out.
        fleet: its devices.
        gates: asked after every stage.
        on_change: told the state whenever it changes, from any thread.
        stop: set it to pause; devices that are being deployed come to their end.

    Raises:
        RolloutRunningError: another program carries it out.
        StorageError: the journal cannot be written; nothing is done that cannot be written down.
    """
    driver = _Driver(journal, fleet, gates, on_change, stop or threading.Event())
    with journal.carrying_out():
        if journal.state.phase == "rolling-back":
            return driver.roll_back()
        if journal.state.phase == "running":
            return driver.run()
        return journal.state


def resume(journal: Journal) -> None:
    """Lets a paused rollout go on, or a finished one ask again those that were absent.

    Raises:
        RolloutError: it is rolled back, or was never stopped.
    """
    if journal.state.phase == "finished" and not journal.state.names("absent", "failed"):
        raise RolloutError(f"The rollout {journal.plan.id} has finished on every device.", remedy="Begin another one.")
    with journal.carrying_out():
        journal.write("resumed")


def begin_rollback(journal: Journal, why: str) -> None:
    """Turns a rollout round: `carry_out` then takes every device back, or asks again those that were absent then."""
    with journal.carrying_out():
        if journal.state.phase != "rolling-back":
            journal.write("rollback-started", why=why)


class _Driver:
    def __init__(
        self,
        journal: Journal,
        fleet: Fleet,
        gates: Sequence[Gate],
        on_change: Callable[[State], None],
        stop: threading.Event,
    ) -> None:
        self._journal = journal
        self._plan = journal.plan
        self._fleet = fleet
        self._gates = gates
        self._on_change = on_change
        self._stop = stop

    @property
    def _state(self) -> State:
        return self._journal.state

    def _write(self, kind: str, *, device: str = "", stage: str = "", why: str = "") -> None:
        self._on_change(self._journal.write(kind, device=device, stage=stage, why=why))

    def run(self) -> State:
        for number, stage in enumerate(self._plan.stages):
            if number < self._state.stage and not self._state.count(stage, "waiting", "deploying"):
                continue  # it was passed before
            why = self._deploy_stage(stage) or self._judge(stage)
            if self._stop.is_set() and why is None:
                self._write("paused", stage=stage.name, why="it was asked to")
                return self._state
            if why is not None:
                return self._stopped(stage, why)
            if number >= self._state.stage and number < len(self._plan.stages) - 1:
                self._write("stage-passed", stage=stage.name)
        absent, failed = len(self._state.names("absent")), len(self._state.names("failed"))
        left = [f"{count} {what}" for count, what in ((absent, "absent"), (failed, "failed")) if count]
        self._write("finished", why=f"on all devices but {' and '.join(left)}" if left else "on every device")
        return self._state

    def _stopped(self, stage: Stage, why: str) -> State:
        if self._plan.on_error == "pause":
            self._write("paused", stage=stage.name, why=why)
            return self._state
        self._write("rollback-started", stage=stage.name, why=why)
        return self.roll_back()

    def _deploy_stage(self, stage: Stage) -> str | None:
        """Deploys what waits in a stage. Gives why the rollout must stop, if it must."""
        for attempt in range(ATTEMPTS):
            states = ("waiting", "deploying") if attempt == 0 else ("absent",)
            todo = [name for name in stage.devices if self._state.devices[name] in states]
            if not todo:
                break
            if attempt and self._stop.wait(self._fleet.retry_s):
                break
            self._each(todo, self._deploy_one, lambda: self._stop.is_set() or self._failed_too_often(stage) is not None)
            if (why := self._failed_too_often(stage)) is not None:
                return why
        return None

    def _failed_too_often(self, stage: Stage) -> str | None:
        failed = [name for name in stage.devices if self._state.devices[name] == "failed"]
        if len(failed) <= self._plan.allowed_failures(stage):
            return None
        return (
            f"{len(failed)} of the {len(stage.devices)} devices of stage {stage.name} failed; {failed[0]}: "
            f"{self._state.reasons.get(failed[0], 'no reason given')}"
        )

    def _judge(self, stage: Stage) -> str | None:
        """The thresholds and the gates, after the soak."""
        if self._stop.is_set():
            return None
        done = self._state.count(stage, "done")
        reached = done + self._state.count(stage, "failed")
        if reached and done < self._plan.success * reached:
            return f"{done} of the {reached} reached devices of stage {stage.name} succeeded, fewer than asked for"
        if not reached and self._state.count(stage, "absent"):
            return f"no device of stage {stage.name} could be reached"
        if self._plan.soak_s and self._stop.wait(self._plan.soak_s):
            return None
        names = [name for name in stage.devices if self._state.devices[name] == "done"]
        for gate in self._gates:
            if names and (why := gate.judge(names)) is not None:
                return why
        return None

    def _deploy_one(self, name: str) -> None:
        self._write("device-started", device=name)
        try:
            with self._fleet.connect(name) as device:
                self._fleet.deploy(device)
        except ABSENT as error:
            self._write("device-absent", device=name, why=error.what)
        except EdgeKitError as error:
            self._write("device-failed", device=name, why=error.what)
        else:
            self._write("device-done", device=name)

    def roll_back(self) -> State:
        """Takes back every device that was touched, the last first; an absent one may have been, before it was cut off.

        Ends when each was asked. Those that could not be stay absent, and are asked again by another rollback.
        """
        for attempt in range(ATTEMPTS):
            todo = self._state.names("absent")
            if attempt == 0:
                todo = self._state.names("deploying", "done", "failed", "absent", "rolling-back")
            if not todo:
                break
            if attempt:
                time.sleep(self._fleet.retry_s)
            self._each(todo[::-1], self._roll_back_one, lambda: False)
        absent = self._state.names("absent")
        why = self._state.why + (
            f"; {len(absent)} devices could not be asked: {', '.join(absent[:5])}" if absent else ""
        )
        self._write("rolled-back", why=why)
        return self._state

    def _roll_back_one(self, name: str) -> None:
        self._write("device-rolling-back", device=name)
        try:
            with self._fleet.connect(name) as device:
                found = {one.model: one for one in status(device)}.get(self._plan.model)
                if found is not None and found.current_id == self._plan.artifact_id:
                    rollback(device, self._plan.model)
        except NothingToRollBackError as error:
            self._write("device-kept", device=name, why=error.what)
        except EdgeKitError as error:
            self._write("device-absent", device=name, why=error.what)
        else:
            self._write("device-rolled-back", device=name)

    def _each(self, names: Sequence[str], do: Callable[[str], None], enough: Callable[[], bool]) -> None:
        """Does something with devices, some at a time; begins no more once it is enough. What is not ours is raised."""
        waiting = list(names)
        with ThreadPoolExecutor(max(1, min(self._fleet.workers, len(names)))) as pool:
            running: set[Future[None]] = set()
            while (waiting and not enough()) or running:
                while waiting and len(running) < self._fleet.workers and not enough():
                    running.add(pool.submit(do, waiting.pop(0)))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
