"""The journal of a rollout: a folder with its plan and its events. Only what is written down has happened.

ROLLOUTS/ID/plan.json       the plan, written once
ROLLOUTS/ID/events.jsonl    one event a line, flushed to disk before the next step; a torn last line is cut off
ROLLOUTS/ID/lock            held by the one program that carries the rollout out
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from edgekit.deploy.rollout.events import Event, State, after, begin
from edgekit.deploy.rollout.plan import SCHEMA, Plan
from edgekit.errors import RolloutError, RolloutRunningError
from edgekit.files import write_file, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Journal:
    """The journal of one rollout; reading needs no lock. Threads of one program may share it."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self.state = begin(plan)
        self._events = folder / "events.jsonl"
        self._guard = threading.Lock()

    @staticmethod
    def create(folder: Path, plan: Plan) -> Journal:
        """Begins a journal in a new folder.

        Raises:
            RolloutError: there is a rollout of that id.
            StorageError: it cannot be written.
        """
        if (folder / "plan.json").exists():
            raise RolloutError(
                f"There is a rollout {plan.id} in {folder.parent}.", remedy="Go on with it: edgekit rollout resume."
            )
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / "plan.json", msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n")
        return Journal(folder, plan)

    @staticmethod
    def open(folder: Path) -> Journal:
        """Reads a journal.

        Raises:
            RolloutError: there is none, or it cannot be read.
        """
        try:
            plan = msgspec.json.decode((folder / "plan.json").read_bytes(), type=Plan)
            if plan.schema != SCHEMA:
                raise RolloutError(
                    f"{folder} is of schema {plan.schema}; this EdgeKit reads {SCHEMA}.", remedy="Update EdgeKit."
                )
            journal = Journal(folder, plan)
            for event in journal.events():
                journal.state = after(plan, journal.state, event)
        except FileNotFoundError as error:
            raise RolloutError(
                f"There is no rollout in {folder}.", remedy="`edgekit rollout list` shows them."
            ) from error
        except (OSError, msgspec.DecodeError) as error:
            raise RolloutError(
                f"The rollout in {folder} cannot be read: {error}.", remedy="Restore the folder."
            ) from error
        return journal

    def events(self) -> list[Event]:
        """All events, oldest first."""
        try:
            content = self._events.read_bytes()
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line, type=Event) for line in content[: content.rfind(b"\n") + 1].splitlines()]

    def write(self, kind: str, *, device: str = "", stage: str = "", why: str = "") -> State:
        """Writes an event down, and gives the state after it.

        Raises:
            RolloutError: it cannot happen now.
            StorageError: the disk is full or read-only.
        """
        event = Event(kind, time.time(), device, stage, why)
        with self._guard:
            state = after(self.plan, self.state, event)
            with writing(self._events):
                handle = os.open(self._events, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                try:
                    os.write(handle, msgspec.json.encode(event) + b"\n")
                    os.fsync(handle)
                finally:
                    os.close(handle)
            self.state = state
            return state

    @contextmanager
    def carrying_out(self) -> Iterator[None]:
        """Makes this program the one that carries the rollout out, and reads what happened since it was opened.

        Raises:
            RolloutRunningError: another program is.
        """
        with writing(self.folder), (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RolloutRunningError(
                    f"Another program is carrying out the rollout {self.plan.id}.",
                    remedy="Watch it with `edgekit rollout status`, or end that program and `resume`.",
                ) from error
            if self._events.exists():
                content = self._events.read_bytes()
                os.truncate(self._events, content.rfind(b"\n") + 1)
            self.state = Journal.open(self.folder).state
            yield
