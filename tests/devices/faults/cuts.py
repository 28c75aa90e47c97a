"""One seeded cut of the link, in the middle of a push, a rollback or a bench, and what is on the device after it.

    python -m tests.devices.faults.cuts --number 110            over SSH and over ADB, so many each; prints a table

The seed decides the operation, the size of the artifact, the direction that is counted, and after which byte of it the
link is reset: of everything that passes, from the first byte of the connection on. The device is this machine, behind
a real sshd or a real adbd, so its files can be looked at while the link is down. After each cut:

- every artifact in its store is whole: the sha256 that `sha256sum` computes of each of its files is the manifest's;
- `current` leads to one of them, the old one or the new one;
- what was raised is one of our errors about the link, and names the device and the step;
- the next attempt succeeds within its bound, lock and all, and leaves nothing under tmp/.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec

from edgekit.bench import bench
from edgekit.deploy import deploy, rollback, status
from edgekit.devices import adb, assembling, connect, upload
from edgekit.errors import ConnectionLostError, DeviceError, RemoteTimeoutError, UnreachableDeviceError
from tests.artifacts import handmade

if TYPE_CHECKING:
    from cut_proxy import CutProxy

    from edgekit.artifact import Artifact
    from edgekit.devices import Device, Target

OPERATIONS = ("push", "rollback", "bench")
BOUND_S = 60
"""Of an attempt that is cut: no wait without one."""
RETRY_WAIT_S = 75
"""What the next attempt may wait for the lock: a takeover that was cut in the middle counts for a minute."""
_LINK_ERRORS = (ConnectionLostError, UnreachableDeviceError, RemoteTimeoutError)
_ANSWER = {
    "samples": 1, "finite": True, "exact": True, "snr_db": None, "max_abs_error": 0.0, "cosine": 1.0,
    "top1_agreement": None,
}  # fmt: skip
_FACTS = {"values": {"machine": "any", "cores": 1, "boot_id": "one"}, "missing": {}}
EVENTS: list[dict[str, Any]] = [
    {"event": "hello", "schema": 1, "pid": 1, "python": "/stub"},
    {"event": "facts", "when": "before", **_FACTS},
    {"event": "runtime", "name": "litert", "threads": 1, "package": "stub", "version": "1"},
    {"event": "first", "init_ns": 9, "first_ns": 9, "input_ns": 1, "output_ns": 1},
    {"event": "golden", "outputs": [_ANSWER], "min_snr_db": 20.0, "passed": True},
    {"event": "warmup", "samples_ns": [9, 9, 9], "steady": True},
    {"event": "samples", "samples_ns": [8, 8, 9, 8, 8], "stop": "precise", "median_half_width": 0.01},
    {"event": "memory", "peak_rss_bytes": 2, "before_load_bytes": 1, "peak_was_reset": True},
    {"event": "facts", "when": "after", **_FACTS},
    {"event": "done", "status": 0},
]
"""What a runner says of a benchmark of `handmade`, whose payload no runtime would load."""


class Outcome(msgspec.Struct, frozen=True):
    """What one cut did. `raised` is None where the operation was through before the cut."""

    seed: int
    operation: str
    raised: str | None
    step: str
    current: str
    attempt_s: float
    retry_s: float


def stub_runner(folder: Path, events: list[dict[str, Any]] = EVENTS) -> Path:
    """A program that a target may name as its `python`, and that says these events whatever it is asked."""
    said = folder / "events"
    said.write_text("".join(json.dumps(event) + "\n" for event in events))
    path = folder / "stub"
    path.write_text(f"#!/bin/sh\nwhile read -r line; do printf '%s\\n' \"$line\"; sleep .01; done < '{said}'\n")
    path.chmod(0o755)
    return path


class Cutter:
    """Cuts at random points of a link: `target` is reached through `proxy`, and its files are this machine's."""

    def __init__(self, target: Target, proxy: CutProxy, folder: Path) -> None:
        self._proxy = proxy
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._target = msgspec.structs.replace(target, python=str(stub_runner(folder)), runner="python")
        self._here = msgspec.structs.replace(self._target, transport="local", ssh=None, adb=None)
        self._totals: dict[str, tuple[int, int]] = {}

    def cut(self, seed: int) -> Outcome:
        """One cut. What is done differently with large files is done with small ones too, in every second one.

        Raises:
            AssertionError: the device is not as it must be after it.
        """
        with ExitStack() as stack:
            if seed % 2:
                stack.enter_context(mock.patch.multiple(adb, _SYNC_BYTES=0, _SYNC_S=0, _PROBE_BYTES=10_000))
                stack.enter_context(mock.patch.multiple(assembling, MIN_BYTES=0, _MORE_BYTES=50_000))
                stack.enter_context(mock.patch.object(upload, "CUT_LATER_BYTES", 0))
            return self._cut(seed)

    def _cut(self, seed: int) -> Outcome:
        chosen = random.Random(seed)
        operation = chosen.choice(OPERATIONS)
        root = self._folder / f"root-{seed}"
        artifacts = self._folder / f"artifacts-{seed}"
        size = chosen.choice((2_000, 40_000, 400_000))
        old = handmade(artifacts, payload=chosen.randbytes(size))
        new = handmade(artifacts, payload=chosen.randbytes(size))
        self._prepare(operation, root, old, new)
        if operation not in self._totals:
            self._totals[operation] = self._passes(operation, self._folder / f"whole-{operation}", old, new)
        sent, answered = self._totals[operation]
        if chosen.random() < 0.7:
            extra = 0 if operation == "rollback" else size
            self._proxy.cut_after_bytes = self._proxy.passed_bytes + chosen.randrange(sent + extra)
        else:
            self._proxy.cut_after_answered_bytes = self._proxy.answered_bytes + chosen.randrange(answered)
        raised, attempt_s = self._attempt(operation, root, new)
        self._proxy.cut_after_bytes = self._proxy.cut_after_answered_bytes = None
        current = self._look(root, old, new)
        began = time.monotonic()
        with connect(self._at(root)) as device:
            with device.lock("the next attempt", wait_s=RETRY_WAIT_S):
                _run(operation, device, new)
            retry_s = time.monotonic() - began
            (told,) = status(device)  # hashes everything there
        assert told.whole
        after = self._look(root, old, new)
        if operation == "push":
            assert after == "new"
        if operation == "bench":
            assert after == "old"  # it is pushed, and not activated
        assert not list((root / "tmp").glob("*"))
        assert not (root / "lock").exists()
        step = raised.what.partition(" while ")[2].partition(":")[0][:60] if raised else ""
        return Outcome(seed, operation, type(raised).__name__ if raised else None, step, current, attempt_s, retry_s)

    def _at(self, root: Path) -> Target:
        return msgspec.structs.replace(self._target, root=str(root))

    def _prepare(self, operation: str, root: Path, old: Artifact, new: Artifact) -> None:
        with connect(msgspec.structs.replace(self._here, root=str(root))) as device:
            if operation == "rollback":
                deploy(device, new)
            deploy(device, old)

    def _passes(self, operation: str, root: Path, old: Artifact, new: Artifact) -> tuple[int, int]:
        """What passes each way when nothing is cut, without the payload: measured once."""
        self._prepare(operation, root, old, new)
        sent, answered = self._proxy.passed_bytes, self._proxy.answered_bytes
        with connect(self._at(root)) as device:
            _run(operation, device, new)
        size = 0 if operation == "rollback" else new.manifest.payload_bytes
        return max(1000, self._proxy.passed_bytes - sent - size), self._proxy.answered_bytes - answered

    def _attempt(self, operation: str, root: Path, new: Artifact) -> tuple[DeviceError | None, float]:
        began = time.monotonic()
        raised: DeviceError | None = None
        try:
            with connect(self._at(root)) as device:
                _run(operation, device, new)
        except _LINK_ERRORS as error:
            raised = error
        took = time.monotonic() - began
        if raised is not None:
            assert repr(self._target.name) in raised.what, raised
            assert " while " in raised.what, raised
            assert raised.remedy, raised
        assert took < BOUND_S
        return raised, took

    def _look(self, root: Path, old: Artifact, new: Artifact) -> str:
        for folder in (root / "store").iterdir():
            assert folder.name in {old.id, new.id}
            artifact = old if folder.name == old.id else new
            for entry in artifact.shipped_files():
                assert sha256_there(folder / entry.path) == entry.sha256, f"{folder / entry.path} is not whole"
        current = (root / "models/tiny/current").resolve(strict=True)
        assert current.parent == (root / "store").resolve()
        return "old" if current.name == old.id else "new"


def sha256_there(path: Path) -> str:
    """The sha256 of a file as the device's own tool computes it."""
    done = subprocess.run(["sha256sum", "--", path], capture_output=True, text=True, check=True)
    return done.stdout.lstrip("\\")[:64]


def _run(operation: str, device: Device, new: Artifact) -> None:
    if operation == "push":
        deploy(device, new)
    elif operation == "rollback":
        rollback(device, "tiny")
    else:
        with device.lock("bench"):
            bench(device, new, threads=1, blocks=1)


def table(outcomes: dict[str, list[Outcome]]) -> str:
    """The counts, as benchmarks/README.md has them."""
    lines = ["link  operation   cuts  noticed  old stays  new is there  slowest next attempt"]
    for link, found in outcomes.items():
        for operation in OPERATIONS:
            some = [one for one in found if one.operation == operation]
            count = collections.Counter(one.current for one in some)
            noticed = sum(one.raised is not None for one in some)
            slowest = max((one.retry_s for one in some), default=0.0)
            kept = f"{count['old']:10} {count['new']:13}"
            lines.append(f"{link:5} {operation:10} {len(some):5} {noticed:8} {kept} {slowest:19.1f} s")
    return "\n".join(lines)


def main() -> None:
    from adb_network import AdbNetwork
    from cut_proxy import CutProxy

    from edgekit.devices import load_target
    from edgekit.devices.target import AdbSettings
    from edgekit.devices.throwaway_sshd import ThrowawaySshd

    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=110, help="cuts of each link")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--link", choices=("ssh", "adb", "both"), default="both")
    options = parser.parse_args()
    shared_memory = Path("/dev/shm")  # a device with a fast disk: what is measured here is the link
    seeds = range(options.first_seed, options.first_seed + options.number)
    outcomes: dict[str, list[Outcome]] = {}
    with (
        ExitStack() as stack,
        tempfile.TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None) as name,
    ):
        folder = Path(name)
        cutters: dict[str, Cutter] = {}
        if options.link != "adb":
            sshd = stack.enter_context(ThrowawaySshd())
            proxy = stack.enter_context(CutProxy(sshd.port))
            target = load_target(str(sshd.write_target(folder / "far.toml", "far", "/", port=proxy.port)))
            cutters["ssh"] = Cutter(target, proxy, folder / "ssh")
        if options.link != "ssh":
            network = stack.enter_context(AdbNetwork())
            stack.enter_context(network.server())
            adbd = network.adbd(15660)
            proxy = stack.enter_context(CutProxy(adbd.port, namespace=f"/proc/{adbd.pid}/ns/net"))
            settings = AdbSettings(host="127.0.0.1", port=proxy.port)
            cutters["adb"] = Cutter(msgspec.structs.replace(adbd.target("far"), adb=settings), proxy, folder / "adb")
        try:
            for link, cutter in cutters.items():
                outcomes[link] = []
                for seed in seeds:
                    outcomes[link].append(cutter.cut(seed))
        finally:  # what was survived so far is told in any case
            sys.stdout.write(table(outcomes) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
