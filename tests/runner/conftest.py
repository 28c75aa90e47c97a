"""The runner as a device gets it: a folder of its own, in which tests may put runtimes that misbehave."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = Path(__file__).parents[2] / "edgekit" / "runner"

DOUBLING = """
import os, time
NAME = "fake"
PACKAGES = ("fake",)


def probe():
    {probe}
    return {{"package": "fake", "version": "1"}}


def load(path, threads, bindings):
    with open(path, "rb") as file:
        if file.read() != b"payload":
            raise ValueError("this is no payload")
    return Session()


class Session:
    def __init__(self):
        tensor = {{"name": "x", "shape": [1, 3], "dtype": "float32", "scale": None, "zero_point": None}}
        self.inputs, self.outputs = [tensor], [tensor]

    def set_input(self, i, array):
        self.x = array

    def invoke(self):
        {invoke}
        self.y = 2 * self.x

    def get_output(self, i):
        return self.y
"""
"""A runtime that doubles its input."""


@dataclass
class Answer:
    """What one call of the runner gave."""

    status: int
    events: list[dict[str, Any]]
    stderr: str

    def named(self, event: str) -> dict[str, Any]:
        """The one event of that name."""
        (found,) = [e for e in self.events if e["event"] == event]
        return found

    @property
    def order(self) -> list[str]:
        """The events' names, without the signs of life."""
        return [e["event"] for e in self.events if e["event"] != "progress"]


@dataclass
class Pushed:
    """A copy of the runner in `folder`."""

    folder: Path

    def runtime(self, name: str = "fake", *, probe: str = "pass", invoke: str = "pass") -> None:
        """Adds a runtime that doubles; `probe` and `invoke` are statements put into it."""
        code = DOUBLING.format(probe=probe, invoke=invoke)
        (self.folder / "runner" / "runtimes" / f"{name}.py").write_text(code)

    def command(self, request: dict[str, Any] | str, python: str = sys.executable) -> list[str]:
        """The argv that carries out a request."""
        return [python, "-m", "runner", request if isinstance(request, str) else json.dumps(request)]

    def __call__(self, request: dict[str, Any] | str, python: str = sys.executable) -> Answer:
        done = subprocess.run(
            self.command(request, python), cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        return Answer(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)


@pytest.fixture
def pushed(tmp_path: Path) -> Pushed:
    """The runner, alone: `edgekit` is not beside it."""
    shutil.copytree(PACKAGE, tmp_path / "device" / "runner", ignore=shutil.ignore_patterns("__pycache__"))
    return Pushed(tmp_path / "device")


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A request over a payload whose golden outputs are twice the inputs."""

    def write(do: str, *, factor: float = 2.0, payload: bytes = b"payload", **more: Any) -> dict[str, Any]:
        folder = tmp_path / "artifact"
        folder.mkdir(exist_ok=True)
        inputs = np.random.default_rng(0).standard_normal((4, 1, 3)).astype("float32")
        np.save(folder / "in.npy", inputs)
        np.save(folder / "out.npy", inputs * np.float32(factor))
        (folder / "model").write_bytes(payload)
        return {
            "schema": 1,
            "do": do,
            "artifact": str(folder),
            "payload": "model",
            "runtime": "fake",
            "threads": 1,
            "bindings": {"inputs": ["x"], "outputs": ["y"]},
            "golden": {"inputs": ["in.npy"], "outputs": ["out.npy"], "min_snr_db": 60.0},
            "max_warmup_ns": 200_000_000,
            "min_samples": 30,
            "min_ns": 10_000_000,
            "max_ns": 300_000_000,
            **more,
        }

    return write
