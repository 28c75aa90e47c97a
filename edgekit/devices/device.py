"""Device: a connected target with a shell. It knows its root folder, runs constant scripts there, and has a lock.

`connect` reaches one. What only measures takes whatever runs the runner (`RunnerDevice`), by `connect_runner`: a
registered transport is a `Transport`, or a class of its own kind of device, with a `connect`.
"""

from __future__ import annotations

import json
import posixpath
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgekit import plugins
from edgekit.devices.conditions import ask_conditions
from edgekit.devices.fitting import check_fits
from edgekit.devices.lock import LEASE_S, Ask, Holder, Lock, holder, locked
from edgekit.devices.runners import runner_for
from edgekit.devices.scripts.files import DIAGNOSE, RESOLVE_ROOT
from edgekit.devices.store import Store
from edgekit.devices.transport import FEED_IDLE_S, Transport
from edgekit.errors import NoShellError, RemoteCommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from edgekit.artifact import Artifact, FileEntry
    from edgekit.devices.conditions import Conditions
    from edgekit.devices.process import Completed, LineStream
    from edgekit.devices.progress import Progress
    from edgekit.devices.runner_device import RunnerDevice
    from edgekit.devices.runners import Runner
    from edgekit.devices.target import Target
    from edgekit.errors import DeviceError

_FULL_KIB = 64
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def connect(target: Target) -> Device:
    """Connects to a target and finds its root folder. Use it in a `with` block, or close it.

    Raises:
        PluginError: the target's transport is not known here.
        NoShellError: the target has neither shell nor store.
        UnreachableDeviceError, HostKeyError, AuthenticationError: see `Transport.connect`.
        DeviceStorageError: the root folder cannot be made.
    """
    way = plugins.load("transport", target.transport)
    if not issubclass(way, Transport):
        raise NoShellError(
            f"The target {target.name!r} ({target.transport}) has no shell and keeps no files.",
            remedy=way.INSTEAD,
        )
    transport: Transport = way(target)
    transport.connect()
    try:
        return Device(target, transport)
    except BaseException:  # Ctrl-C too: no connection stays open; it is raised again
        transport.close()
        raise


def connect_runner(target: Target) -> RunnerDevice:
    """Connects to a target that is only measured on, whether it has a shell or not; likewise in a `with` block.

    Raises:
        DeviceError: as `connect`.
    """
    way = plugins.load("transport", target.transport)
    if issubclass(way, Transport):
        return connect(target)
    device: RunnerDevice = way.connect(target)
    return device


class Device:
    """A connected target: `root` is the absolute path of the folder there in which EdgeKit keeps everything."""

    def __init__(self, target: Target, transport: Transport) -> None:
        self.target = target
        self.transport = transport
        self.boot_id: str | None = None
        """Which start of the device was measured on first, by its own word (`edgekit.bench`)."""
        self.runners: dict[str, Runner] = {}
        """Which runner it gets for a runtime, once that was found out (`edgekit.devices.runners`)."""
        self._lock: Lock | None = None
        answer = self.script(RESOLVE_ROOT, target.root, step=f"making its root folder {target.root}")
        self.root = answer.decode("utf-8", "surrogateescape").removesuffix("\n")
        if not posixpath.isabs(self.root) or "\n" in self.root:
            raise RemoteCommandError(
                f"{self.name} did not tell its root folder, but: {self.root[:200]!r}.",
                remedy="Its shell start-up files must not print anything when no terminal is there.",
            )

    @property
    def name(self) -> str:
        """The device as errors begin: `The device 'pi' (ssh pi@192.168.1.7:22)`."""
        return self.transport.name

    @property
    def describe(self) -> str:
        """The way to it: `ssh pi@192.168.1.7:22`."""
        return self.transport.describe

    @property
    def invitation(self) -> str | None:
        """Nobody need do anything before it answers."""
        return None

    def __enter__(self) -> Device:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self.transport.close()

    def path(self, *parts: str) -> str:
        """An absolute path below the root."""
        return posixpath.join(self.root, *parts)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30, step: str) -> Completed:
        """Runs a command to its end; see `Transport.run`."""
        return self.transport.run(argv, stdin=stdin, timeout_s=timeout_s, step=step)

    def stream(self, argv: Sequence[str], *, idle_timeout_s: float, step: str) -> LineStream:
        """Starts a command whose lines are read while it runs; see `Transport.stream`."""
        return self.transport.stream(argv, idle_timeout_s=idle_timeout_s, step=step)

    def script(self, script: str, *arguments: str, stdin: bytes = b"", step: str, timeout_s: float = 30) -> bytes:
        """Runs one of `scripts` and gives its stdout.

        Raises:
            DeviceStorageError: it failed because of a full, read-only or closed file system.
            RemoteCommandError: it failed otherwise.
            DeviceError: see `Transport.run`.
        """
        done = self.run(["sh", "-c", script, "edgekit", *arguments], stdin=stdin, timeout_s=timeout_s, step=step)
        return self._stdout(done, step)

    def feed(
        self, script: str, *arguments: str, stdin: Iterable[bytes], step: str, idle_timeout_s: float = FEED_IDLE_S
    ) -> bytes:
        """Runs one of `scripts` that reads its stdin to the end, and gives its stdout; see `Transport.feed`.

        Raises:
            DeviceError: as `script`.
        """
        argv = ["sh", "-c", script, "edgekit", *arguments]
        return self._stdout(self.transport.feed(argv, stdin, idle_timeout_s=idle_timeout_s, step=step), step)

    def _stdout(self, done: Completed, step: str) -> bytes:
        if done.code == 0:
            return done.stdout
        said = done.stderr.decode("utf-8", "replace").strip()
        trouble = self.transport.storage_trouble(step, said) or self._why_not_written(step, said)
        raise trouble or RemoteCommandError(
            f"{self.name} failed while {step} (exit status {done.code}): {said[-500:] or 'it said nothing'}.",
            remedy="EdgeKit needs a POSIX shell with coreutils or busybox there.",
        )

    def _why_not_written(self, step: str, said: str) -> DeviceError | None:
        """A shell's own printf says "I/O error" of a full disk: asks again by way of df and an open."""
        if not any(words in said.lower() for words in ("i/o error", "write error", "input/output error")):
            return None
        asked = self.run(["sh", "-c", DIAGNOSE, "edgekit", self.root], step=f"asking why {step} failed")
        free = asked.stdout.decode("ascii", "replace").strip()
        if free.isdigit() and int(free) < _FULL_KIB:
            return self.transport.storage_trouble(step, f"No space left on device ({free} KiB free)")
        return self.transport.storage_trouble(step, asked.stderr.decode("utf-8", "replace"))

    @contextmanager
    def lock(
        self,
        purpose: str,
        wait_s: float = 0,
        *,
        lease_s: int = LEASE_S,
        on_wait: Callable[[Holder], None] | None = None,
        ask: Ask | None = None,
    ) -> Iterator[Lock]:
        """Holds the device's lock during a block; within it, asking again gives the same lock.

        Args:
            purpose: told to others who find it busy, such as "bench crepe_tiny".
            wait_s: how long to wait for somebody else.
            lease_s: how long it stays locked should the link go down.
            on_wait: told who holds it before the first wait, when that changes, and once a minute.
            ask: asks for it in a round trip that does more. Not called if it is ours already.

        Raises:
            DeviceBusyError: somebody else holds it.
            Exception: what `ask` raises.
        """
        if self._lock is not None:
            yield self._lock
            return
        with locked(self, purpose, wait_s, lease_s, on_wait, ask) as lock:
            self._lock = lock
            try:
                yield lock
            finally:
                self._lock = None

    def keep_lock(self) -> None:
        """Renews the lock's lease if there is one and it is time to."""
        if self._lock is not None:
            self._lock.keep()

    def holder(self) -> Holder | None:
        """Who has its lock now."""
        return holder(self)

    def runner(self, runtime: str = "") -> Runner:
        """Its runner for a runtime; see `runner_for`."""
        return runner_for(self, runtime)

    def check_fits(self, artifact: Artifact) -> None:
        """Refuses a payload for another processor; see `edgekit.devices.fitting`."""
        check_fits(self, artifact)

    def place(self, artifact: Artifact, progress: Progress | None = None) -> str:
        """Brings an artifact to its store, unless it is there; see `Store.push`."""
        store = Store(self)
        store.push(artifact, progress)
        return store.artifact_path(artifact.id)

    def place_samples(self, name: str, sources: Sequence[tuple[Path, FileEntry]], *, keeping: Sequence[str]) -> str:
        """Brings samples to its store; see `Store.put_data`."""
        return Store(self).put_data(name, sources, keeping=keeping)

    def keep_samples(self, names: Sequence[str]) -> None:
        """Removes all samples but those of these names; see `Store.keep_data`."""
        Store(self).keep_data(names)

    def start(self, runner: Runner, request: dict[str, Any], *, idle_timeout_s: float, step: str) -> LineStream:
        """Brings the runner there, unless it is there, and starts it in a process of its own."""
        path = Store(self).put_file(runner.path, runner.sha256)
        return self.stream(runner.command(self, path, json.dumps(request)), idle_timeout_s=idle_timeout_s, step=step)

    def conditions(self, *, watch_s: int = 1) -> Conditions:
        """Its load, clocks and temperatures; see `ask_conditions`."""
        return ask_conditions(self, watch_s=watch_s)

    def ask_boot_id(self) -> str:
        """Linux's, or nothing."""
        asked = self.run(["cat", _BOOT_ID], timeout_s=10, step="asking for its boot id")
        return asked.stdout.decode("utf-8", "replace").strip() if asked.code == 0 else ""
