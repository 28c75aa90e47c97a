"""Device: a connected target. It knows where its root folder is, runs constant scripts there, and has a lock."""

from __future__ import annotations

import posixpath
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgekit import plugins
from edgekit.devices.lock import LEASE_S, Holder, Lock, locked
from edgekit.devices.scripts.files import DIAGNOSE, RESOLVE_ROOT
from edgekit.devices.transport import FEED_IDLE_S
from edgekit.errors import RemoteCommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from edgekit.devices.process import Completed, LineStream
    from edgekit.devices.runners import Runner
    from edgekit.devices.target import Target
    from edgekit.devices.transport import Transport
    from edgekit.errors import DeviceError

_FULL_KIB = 64


def connect(target: Target) -> Device:
    """Connects to a target and finds its root folder. Use it in a `with` block, or close it.

    Raises:
        PluginError: the target's transport is not known here.
        UnreachableDeviceError, HostKeyError, AuthenticationError: see `Transport.connect`.
        DeviceStorageError: the root folder cannot be made.
    """
    transport: Transport = plugins.load("transport", target.transport)(target)
    transport.connect()
    try:
        return Device(target, transport)
    except BaseException:  # Ctrl-C too: no connection stays open; it is raised again
        transport.close()
        raise


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
    ) -> Iterator[Lock]:
        """Holds the device's lock during a block; within it, asking again gives the same lock.

        Args:
            purpose: told to others who find it busy, such as "bench crepe_tiny".
            wait_s: how long to wait for somebody else.
            lease_s: how long it stays locked should the link go down.
            on_wait: told who holds it before the first wait, when that changes, and once a minute.

        Raises:
            DeviceBusyError: somebody else holds it.
        """
        if self._lock is not None:
            yield self._lock
            return
        with locked(self, purpose, wait_s, lease_s, on_wait) as lock:
            self._lock = lock
            try:
                yield lock
            finally:
                self._lock = None

    def keep_lock(self) -> None:
        """Renews the lock's lease if there is one and it is time to."""
        if self._lock is not None:
            self._lock.keep()
