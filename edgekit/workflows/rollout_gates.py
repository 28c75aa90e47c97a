"""What judges a stage of a rollout before the next begins: the devices' own word, and any program.

A gate that is a program is how the bench and telemetry take part: `edgekit gate NEW --against OLD --on canary` stops a
rollout at a regression, `edgekit telemetry check` at drift of the outputs, and a team's own script at whatever it
knows.
"""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from edgekit.deploy import status
from edgekit.errors import EXIT_FAILED_CHECK, EXIT_INCONCLUSIVE, EdgeKitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.devices import Device


class Gate(Protocol):
    """Judges a stage after it was deployed and has soaked."""

    def judge(self, devices: Sequence[str]) -> str | None:
        """Why the rollout must stop, as a sentence; None if it may go on. May take its time, with a bound."""
        ...


class Fleet:
    """How a rollout reaches its devices: a function that connects by name, and one that deploys."""

    def __init__(
        self,
        connect: Callable[[str], Device],
        deploy: Callable[[Device], object],
        *,
        workers: int = 8,
        retry_s: float = 5,
    ) -> None:
        self.connect = connect
        self.deploy = deploy
        self.workers = workers
        self.retry_s = retry_s


class HealthGate:
    """Asks the devices themselves: has the artifact failed there since, or was it fallen back from (edgekit-device)?

    Args:
        fleet: how to reach them.
        model, artifact_id: what was rolled out.
        allowed: the share of the asked devices that may report failures.
    """

    def __init__(self, fleet: Fleet, model: str, artifact_id: str, allowed: float) -> None:
        self._fleet = fleet
        self._model = model
        self._artifact_id = artifact_id
        self._allowed = allowed

    def judge(self, devices: Sequence[str]) -> str | None:
        """See `Gate`. A device that cannot be reached now is left out."""
        with ThreadPoolExecutor(self._fleet.workers) as pool:
            told = list(pool.map(self._ask, devices))
        bad = [name for name, healthy in zip(devices, told, strict=True) if healthy is False]
        asked = sum(healthy is not None for healthy in told)
        if asked and len(bad) > self._allowed * asked:
            return (
                f"{len(bad)} of {asked} devices report that it failed or was left there: {', '.join(sorted(bad)[:5])}"
            )
        return None

    def _ask(self, name: str) -> bool | None:
        try:
            with self._fleet.connect(name) as device:
                found = {one.model: one for one in status(device)}.get(self._model)
        except EdgeKitError:
            return None
        return found is not None and found.current_id == self._artifact_id and found.failures == 0


class CommandGate:
    """Runs a program: exit status 0 goes on, 4 (inconclusive) does as `inconclusive_stops` says, others stop.

    It gets EDGEKIT_ROLLOUT_DEVICES, the stage's devices with commas between, in its environment.

    Args:
        argv: the program and its arguments; no shell sees them.
        timeout_s: one that takes longer stops the rollout.
        inconclusive_stops: whether not knowing is a reason to stop.
    """

    def __init__(self, argv: Sequence[str], *, timeout_s: float = 3600, inconclusive_stops: bool = False) -> None:
        self._argv = list(argv)
        self._timeout_s = timeout_s
        self._inconclusive_stops = inconclusive_stops

    def judge(self, devices: Sequence[str]) -> str | None:
        """See `Gate`."""
        name = " ".join(self._argv)
        environment = {**os.environ, "EDGEKIT_ROLLOUT_DEVICES": ",".join(devices)}
        try:
            done = subprocess.run(
                self._argv, env=environment, capture_output=True, text=True, errors="replace", check=False,
                timeout=self._timeout_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"the gate `{name}` took longer than {self._timeout_s:g} s"
        except OSError as error:
            return f"the gate `{name}` cannot be run: {error.strerror}"
        if done.returncode == 0 or (done.returncode == EXIT_INCONCLUSIVE and not self._inconclusive_stops):
            return None
        said = (done.stderr.strip() or done.stdout.strip())[-300:] or "it said nothing"
        found = "found a regression" if done.returncode == EXIT_FAILED_CHECK else f"ended with {done.returncode}"
        return f"the gate `{name}` {found}: {said}"
