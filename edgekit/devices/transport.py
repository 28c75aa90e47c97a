"""Transport: moves bytes to a device and runs commands there. It knows nothing of models, stores or locks.

A transport writes four hooks that may raise anything (`_connect`, `_disconnect`, `_start`, `_put`). The public methods
around them check their arguments, bound time and memory, and turn every failure into an error that names the device,
the step and the remedy. Commands are lists of arguments; where a protocol knows only strings, the transport quotes
them, once. `step` says what is being done, as a phrase such as "uploading the artifact".

`_put` gets a `Source`: the bytes of one file, of a part of it, or of several. It writes them to a new file or, with
`append`, at the end of one that is there (over ADB, whose sync protocol cannot append: `cat >> FILE` fed by a shell).
A client that only takes file names asks `source.whole_file`, which is None for everything but one whole file.
"""

from __future__ import annotations

import errno
import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from edgekit.devices.process import Completed, LineStream, OutputTooLargeError, Process, collect
from edgekit.devices.source import Source, whole
from edgekit.errors import (
    ConnectionLostError,
    DeviceError,
    DeviceStorageError,
    EdgeKitError,
    RemoteCommandError,
    RemoteTimeoutError,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from edgekit.devices.target import Target

_STORAGE_TROUBLE = (
    (("no space left", "disk quota exceeded"), "has no space left", "Free some space there"),
    (("read-only file system",), "has a read-only file system", "Mount it writable, or set another `root`"),
    (
        ("permission denied", "operation not permitted", "not a directory", "file exists"),
        "does not let us write",
        "Set a `root` in the target that this user may write",
    ),
)
_STORAGE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENOENT}


FEED_IDLE_S = 60
"""How long a command that is fed may take nothing."""


class Transport(ABC):
    """The way to one device. Connect before use, close after; neither is needed more than once."""

    link_errors: ClassVar[tuple[type[BaseException], ...]] = (OSError, EOFError)
    """What a hook raises when the link is down."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @property
    @abstractmethod
    def describe(self) -> str:
        """The way, for messages: `ssh pi@192.168.1.7:22`."""

    @abstractmethod
    def _connect(self) -> None:
        """Reaches the device within the target's bound. Raises our errors for what it can tell apart."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Frees the connection. Never raises."""

    @abstractmethod
    def _start(self, argv: Sequence[str], *, feeds: bool) -> Process:
        """Starts a command; `feeds` says whether its stdin will be fed. It ends when `Process.end` is called."""

    @abstractmethod
    def _put(self, source: Source, remote: str, *, append: bool, on_bytes: Callable[[int], None]) -> None:
        """Writes the source's bytes to a path: a new file (whatever was there goes), or with `append` at its end.

        Calls `on_bytes` with the number of bytes that went out since. Returns when the device has answered for all.
        """

    def foresee_put(self) -> None:  # noqa: B027 - most have nothing to prepare
        """Hears that `put` will be called soon: a transport may prepare for it meanwhile. Never raises or waits."""

    def can_overlap(self) -> bool:
        """Whether a command can run while a `put` is under way."""
        return True

    def connect(self) -> None:
        """Reaches the device.

        Raises:
            UnreachableDeviceError: no answer within the bound.
            HostKeyError: an unknown or changed host key.
            AuthenticationError: our keys are refused.
        """
        with self.guard("connecting"):
            self._connect()

    def close(self) -> None:
        """Closes the connection; harmless when there is none."""
        self._disconnect()

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30, step: str) -> Completed:
        """Runs a command to its end. Its exit status is the caller's business.

        Raises:
            RemoteTimeoutError: it did not end within `timeout_s`; it was ended.
            RemoteCommandError: it printed more than 16 MiB.
            ConnectionLostError: the link went down.
        """
        with self.guard(step):
            process = self._start(_checked(argv), feeds=bool(stdin))
        deadline = time.monotonic() + timeout_s
        try:
            if stdin:
                threading.Thread(target=process.feed, args=((stdin,),), daemon=True).start()
            with self.guard(step):
                completed = collect(process, lambda: deadline)
        finally:
            process.end()
        if completed is None:
            raise self._timed_out(step, f"did not finish within {timeout_s:g} s")
        return completed

    def stream(self, argv: Sequence[str], *, idle_timeout_s: float, step: str) -> LineStream:
        """Starts a command and gives its stdout line by line: use it in a `with` block, which ends the command.

        Raises:
            ConnectionLostError: the link is down.
        """
        with self.guard(step):
            process = self._start(_checked(argv), feeds=False)
        return LineStream(
            process,
            guard=lambda: self.guard(step),
            timeout=lambda: self._timed_out(step, f"said nothing for {idle_timeout_s:g} s"),
            idle_timeout_s=idle_timeout_s,
        )

    def feed(
        self,
        argv: Sequence[str],
        stdin: Iterable[bytes],
        *,
        idle_timeout_s: float = FEED_IDLE_S,
        step: str,
    ) -> Completed:
        """Runs a command to its end and writes pieces to its stdin meanwhile. Its exit status is the caller's business.

        Args:
            argv: the command. It ends when its stdin does: nothing else ends it on the device when the link is lost.
            stdin: the pieces, taken one by one, in another thread, as the command reads them.
            idle_timeout_s: how long it may take no piece, print nothing and not end.
            step: what this is part of, for errors.

        Raises:
            RemoteTimeoutError: nothing happened for `idle_timeout_s`; the command was ended.
            RemoteCommandError: it printed more than 16 MiB.
            ConnectionLostError: the link went down.
            Exception: what `stdin` raised.
        """
        moved = [time.monotonic()]
        failed: list[BaseException] = []

        def pieces() -> Iterator[bytes]:
            try:
                for piece in stdin:
                    moved[0] = time.monotonic()
                    yield piece
            except Exception as error:  # the caller's own: the command's stdin ends, and it is raised again below
                failed.append(error)
            moved[0] = time.monotonic()

        with self.guard(step):
            process = self._start(_checked(argv), feeds=True)
            moved[0] = time.monotonic()
        feeder = threading.Thread(target=process.feed, args=(pieces(),), daemon=True)
        feeder.start()
        try:
            with self.guard(step):
                completed = collect(process, lambda: moved[0] + idle_timeout_s)
        finally:
            process.end()
        if failed:
            raise failed[0]
        if completed is None:
            raise self._timed_out(step, f"took and said nothing for {idle_timeout_s:g} s")
        return completed

    def put(
        self,
        source: Path | Source,
        remote: str,
        *,
        append: bool = False,
        on_bytes: Callable[[int], None] | None = None,
        step: str,
    ) -> None:
        """Copies bytes to a path on the device, in place: who must not see half a file puts it under another name.

        Args:
            source: a file here, or parts of files.
            remote: the absolute path there; its folder exists.
            append: write at the end of the file that is there, instead of a new one.
            on_bytes: told how many bytes went out since it was last told.
            step: what this is part of, for errors.

        Raises:
            DeviceStorageError: disk full, read-only, no permission. The partial file is removed, unless `append`.
            ConnectionLostError: the link went down; a partial file stays.
            StorageError: a file here cannot be read.
        """
        if not remote.startswith("/") or "\0" in remote:
            raise ValueError(f"not an absolute path: {remote!r}")
        paths = [source] if not isinstance(source, Source) else [range_.path for range_ in source.ranges]
        for path in dict.fromkeys(paths):
            try:
                path.open("rb").close()
            except OSError as error:  # noqa: PERF203 - one file or two
                raise StorageError(f"{path} cannot be read: {error.strerror}.", remedy="Check the file.") from error
        content = source if isinstance(source, Source) else whole(source)
        with self.guard(step):
            self._put(content, remote, append=append, on_bytes=on_bytes or (lambda _: None))

    @contextmanager
    def guard(self, step: str) -> Iterator[None]:
        """Turns what a hook raises into an error that names device, step and remedy."""
        try:
            yield
        except EdgeKitError:
            raise
        except OutputTooLargeError as error:
            raise RemoteCommandError(
                f"{self.name} printed {error} while {step}.",
                remedy="Check what runs there in its place, and what its shell start-up files print.",
            ) from error
        except self.link_errors as error:
            raise self.connection_lost(step, str(error) or type(error).__name__) from error

    @property
    def name(self) -> str:
        """The device as errors begin: `The device 'pi' (ssh pi@192.168.1.7:22)`."""
        return f"The device {self.target.name!r} ({self.describe})"

    def connection_lost(self, step: str, why: str) -> ConnectionLostError:
        """The error for a link that went down."""
        return ConnectionLostError(
            f"The connection to the device {self.target.name!r} ({self.describe}) was lost while {step}: "
            f"{why.rstrip('.')}.",
            remedy="Nothing was activated. Check its power and network, and run it again.",
        )

    def storage_trouble(self, step: str, text: str) -> DeviceError | None:
        """The error for a system message such as "No space left on device"; None if it speaks of something else."""
        for phrases, what, remedy in _STORAGE_TROUBLE:
            if any(phrase in text.lower() for phrase in phrases):
                return DeviceStorageError(
                    f"{self.name} {what} while {step}: {text.strip()[-300:].rstrip('.')}.",
                    remedy=f"{remedy}, and run it again.",
                )
        return None

    def storage_error(self, step: str, error: OSError) -> DeviceError | None:
        """Like `storage_trouble`, from an `OSError` with an errno; None if it is not about storage."""
        if error.errno not in _STORAGE_ERRNOS:
            return None
        return self.storage_trouble(step, str(error)) or DeviceStorageError(
            f"{self.name} cannot write while {step}: {error}.",
            remedy="Check the `root` in the target, and run it again.",
        )

    def _timed_out(self, step: str, what: str) -> RemoteTimeoutError:
        return RemoteTimeoutError(
            f"{self.name} {what} while {step}.",
            remedy="The command was ended. Check whether the device is overloaded, and run it again.",
        )


def _checked(argv: Sequence[str]) -> list[str]:
    if isinstance(argv, str) or not argv or any("\0" in argument for argument in argv):
        raise ValueError(f"not a list of arguments: {argv!r}")
    return list(argv)
