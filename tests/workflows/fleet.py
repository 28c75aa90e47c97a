"""A fleet for tests: each device is a folder of its own, run by real shells; what fails, and when, is scripted.

Only the transport is a fake, and it fakes one thing: that a device is away, or cut off after so many commands. All
else, from the store to the links, is the real thing on real files.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgekit.deploy import Proof, deploy
from edgekit.devices import Device, Target
from edgekit.devices.local import LocalTransport
from edgekit.errors import ActivationRefusedError, ConnectionLostError, UnreachableDeviceError
from edgekit.workflows.rollout_gates import Fleet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgekit.artifact import Artifact
    from edgekit.devices.process import Process


@dataclass
class Script:
    """What is wrong with which device. `away` counts refused connections (-1: always), `cut` commands until the cut."""

    away: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)


class ScriptedTransport(LocalTransport):
    """This machine's shell, until the script says otherwise."""

    def __init__(self, target: Target, script: Script) -> None:
        super().__init__(target)
        self._script = script

    def _connect(self) -> None:
        left = self._script.away.get(self.target.name, 0)
        if left:
            self._script.away[self.target.name] = left - 1
            raise UnreachableDeviceError(f"{self.name} does not answer.", remedy="Switch it on.")

    def _start(self, argv: Sequence[str], *, feeds: bool) -> Process:
        left = self._script.cut.get(self.target.name)
        if left is not None:
            self._script.cut[self.target.name] = left - 1
            if left <= 0:
                del self._script.cut[self.target.name]
                raise ConnectionLostError(f"The link to {self.name} was cut.", remedy="Try again.")
        return super()._start(argv, feeds=feeds)


class ScriptedFleet:
    """Devices by name, below one folder. `concurrent` is the most that were deployed to at the same time."""

    def __init__(self, folder: Path, artifact: Artifact, script: Script | None = None, workers: int = 4) -> None:
        self.folder = folder
        self.artifact = artifact
        self.script = script or Script()
        self.fleet = Fleet(self.connect, self._deploy, workers=workers, retry_s=0.01)
        self.concurrent = 0
        self.deployed: list[str] = []
        self._now = 0
        self._guard = threading.Lock()

    def connect(self, name: str) -> Device:
        target = Target(name=name, transport="local", root=str(self.folder / name))
        transport = ScriptedTransport(target, self.script)
        transport.connect()
        return Device(target, transport)

    def current(self, name: str) -> str | None:
        link = self.folder / name / "models" / self.artifact.manifest.model / "current"
        return link.resolve().name if link.is_symlink() else None

    def _deploy(self, device: Device) -> None:
        with self._guard:
            self._now += 1
            self.concurrent = max(self.concurrent, self._now)
            self.deployed.append(device.target.name)
        try:
            deploy(device, self.artifact, prove=self._prove, with_program=False)
        finally:
            with self._guard:
                self._now -= 1

    def _prove(self, device: Device, artifact: Artifact, path: str) -> Proof:
        if device.target.name in self.script.refuses:
            raise ActivationRefusedError(f"{artifact.title} answers otherwise on {device.target.name}.", remedy="Look.")
        return Proof("scripted", None, None)
