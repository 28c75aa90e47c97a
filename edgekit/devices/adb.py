"""The `adb` transport: an Android phone, an emulator or any board with an adbd, through this machine's adb server.

Commands are streams of the `shell,v2,raw` service: exit status, separate outputs, stdin with an end, no terminal in
between. It needs Android 7 or newer; whether a device has it is asked, not guessed. Closing the stream closes the
command's stdin, at which `scripts.WATCH` ends it: no process stays on the device after a cut or a Ctrl-C.

New files of up to 32 MiB go through the sync service, as by `adb push`. When that is cut, adbd removes the half file.
So of larger ones a first part is sent that way; if the whole takes less than a second at its rate, it goes likewise.
Else, and for whatever is appended, the rest goes through the shell into `cat`: that costs two more copies, which a link
of that rate does not notice, and a cut upload goes on where it was (benchmarks/adb_throughput.py).

No wait is unbounded: adb's own have no bounds at all, and a frozen adbd goes on being listed as `device` for hours.
"""

from __future__ import annotations

import os
import shlex
import time
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, NoReturn

from edgekit.devices.adb_server import (
    MAX_REQUEST_BYTES,
    AdbRefusedError,
    Attached,
    ask,
    attached,
    explained,
    open_service,
)
from edgekit.devices.adb_streams import DEAD_LINK_S, AdbProcess, SyncRefusedError, send_file
from edgekit.devices.scripts.files import RECEIVE, RECEIVE_MORE
from edgekit.devices.scripts.running import WATCH
from edgekit.devices.transport import Transport
from edgekit.errors import (
    AuthenticationError,
    DeviceError,
    DeviceStorageError,
    RemoteCommandError,
    TargetError,
    UnreachableDeviceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.devices.settings import AdbSettings
    from edgekit.devices.source import Source
    from edgekit.devices.target import Target

__all__ = ["AdbTransport", "Attached", "attached"]

_SYNC_BYTES = 32 << 20
_SYNC_S = 1.0
"""How much of an upload may be lost by a cut: a moment."""
_PROBE_BYTES = 4 << 20
_SYNC_PATH_BYTES = 1000
"""adbd takes 1024 for a path and a mode."""
_DRAINED_S = 120
"""How long the last bytes may be on their way: a few megabytes wait in the buffers of sockets."""
_POLL_S = 0.1
_TRANSIENT = ("offline", "connecting", "authorizing", "host")


class AdbTransport(Transport):
    """One device of the adb server; every command is a connection to that server."""

    link_errors: ClassVar[tuple[type[BaseException], ...]] = (OSError, EOFError, AdbRefusedError)

    def __init__(self, target: Target) -> None:
        from edgekit.devices.settings import AdbSettings

        super().__init__(target)
        self._adb: AdbSettings = target.adb or AdbSettings()
        if self._adb.host is not None and self._adb.serial is not None:
            raise TargetError(
                f"The target {target.name!r} has both a `serial` and a `host` in its [adb] table.",
                remedy="Keep `serial` for a device on USB, or `host` (and `port`) for one on the network.",
            )
        self._serial = self._adb.serial
        if self._adb.host is not None:
            host = f"[{self._adb.host}]" if ":" in self._adb.host else self._adb.host
            self._serial = f"{host}:{self._adb.port}"

    @property
    def describe(self) -> str:
        return f"adb {self._serial}" if self._serial else "adb"

    def _connect(self) -> None:
        deadline = time.monotonic() + self._adb.connect_timeout_s
        if self._serial is None:
            self._serial = os.environ.get("ANDROID_SERIAL") or self._only_one()
        if self._adb.host is not None:
            self._dial_device(deadline)
        self._await_ready(deadline)
        with explained(f"asking what {self._serial} can do", self._adb.connect_timeout_s):
            features = ask(f"host-serial:{self._serial}:features", self._adb.connect_timeout_s).split(",")
        if "shell_v2" not in features:
            raise UnreachableDeviceError(
                f"{self.name} is too old for EdgeKit: its adbd cannot tell a command's exit status (no shell_v2).",
                remedy="EdgeKit needs Android 7 or newer there.",
            )
        self._greet(max(1.0, deadline - time.monotonic()))

    def _disconnect(self) -> None:
        """Nothing is open between commands; a device that was connected over TCP stays connected, as with `adb`."""

    def _only_one(self) -> str:
        """The serial of the only device that is ready."""
        found = attached(self._adb.connect_timeout_s)
        ready = [one.serial for one in found if one.state == "device"] or [one.serial for one in found]
        if len(ready) == 1:
            return ready[0]
        if not ready:
            raise UnreachableDeviceError(
                f"{self.name} was not found while connecting: adb sees no device.",
                remedy="Plug it in, switch USB debugging on, and see `adb devices`; "
                "for one on the network give `host` in [adb].",
            )
        raise TargetError(
            f"The target {self.target.name!r} does not say which device it is, and {len(ready)} are attached: "
            f"{', '.join(f'{one.serial} ({one.description or one.state})' for one in found)}.",
            remedy='Name one: serial = "..." in the [adb] table, or ANDROID_SERIAL in the environment.',
        )

    def _dial_device(self, deadline: float) -> None:
        """`adb connect`, whose answer is a text: it is OKAY, and adb's exit status is 0, even if it failed."""
        bound = max(0.1, deadline - time.monotonic())
        for attempt in ("first", "again"):
            try:
                said = ask(f"host:connect:{self._serial}", bound).strip()
            except TimeoutError as error:
                raise self._silent("no answer") from error
            except (OSError, EOFError, AdbRefusedError) as error:
                raise self._silent(str(error)) from error
            if said.startswith("failed to authenticate"):
                self._refuse("unauthorized")
            if not said.startswith(("connected to", "already connected to")):
                raise self._silent(said)
            if attempt == "again" or self._state() != "offline":
                return
            with suppress(OSError, EOFError, AdbRefusedError):  # a dead connection that adb still keeps
                ask(f"host:disconnect:{self._serial}", bound)

    def _silent(self, why: str) -> UnreachableDeviceError:
        return UnreachableDeviceError(
            f"{self.name} did not answer while connecting: {why.rstrip('.')} "
            f"(bound: {self._adb.connect_timeout_s:g} s).",
            remedy="Check its power and network, that debugging over TCP is on there (`adb tcpip 5555`), and the "
            "`host` and `port` of the target.",
        )

    def _state(self) -> str:
        return next((one.state for one in attached(DEAD_LINK_S) if one.serial == self._serial), "not found")

    def _await_ready(self, deadline: float) -> None:
        while (state := self._state()) != "device":
            if state == "not found" and self._adb.host is not None and time.monotonic() < deadline:
                time.sleep(_POLL_S)  # a link that was cut while it was made: adb said "connected", and forgot it
                self._dial_device(deadline)
                continue
            if state not in _TRANSIENT or time.monotonic() > deadline:
                self._refuse(state)
            time.sleep(_POLL_S)

    def _refuse(self, state: str) -> NoReturn:
        """The error for a device that adb lists, or does not list, and that cannot be used."""
        if state == "unauthorized":
            raise AuthenticationError(
                f"{self.name} has not allowed this machine to debug it: while connecting, adb calls it 'unauthorized'.",
                remedy="Unlock its screen and allow USB debugging for this computer; if nothing asks there, revoke the "
                "authorizations in its developer options, and plug it in again.",
            )
        if state == "no permissions":
            raise AuthenticationError(
                f"{self.name} may not be opened by this user: while connecting, adb has 'no permissions'.",
                remedy="Install the udev rules (Debian: apt install android-sdk-platform-tools-common), join the group "
                "plugdev, log in again, and plug it in again.",
            )
        if state == "not found":
            known = ", ".join(one.serial for one in attached(DEAD_LINK_S)) or "no device"
            raise UnreachableDeviceError(
                f"{self.name} was not found while connecting: adb sees {known}.",
                remedy="Plug it in and switch USB debugging on, or correct `serial` in the [adb] table.",
            )
        raise UnreachableDeviceError(
            f"{self.name} was not ready while connecting: adb calls it {state!r}.",
            remedy="Unlock it, plug it in again or restart it, and see `adb devices`.",
        )

    def _greet(self, bound_s: float) -> None:
        """Whether it really answers: the server goes on listing a frozen adbd as `device`."""
        try:
            with open_service(str(self._serial), "shell,v2,raw:exit 0", bound_s) as sock:
                sock.settimeout(bound_s)
                if sock.recv(1):
                    return
                why = "it hung up"
        except (OSError, EOFError, AdbRefusedError) as error:
            why = f"no answer within {bound_s:.0f} s" if isinstance(error, TimeoutError) else str(error)
        raise UnreachableDeviceError(
            f"{self.name} is listed as ready but starts no command: {why.rstrip('.')} while connecting.",
            remedy="Restart it, or plug it in again; a frozen adbd stays listed until then.",
        )

    def _start(self, argv: Sequence[str], *, feeds: bool) -> AdbProcess:
        command = shlex.join(argv if feeds else ["sh", "-c", WATCH, "edgekit", *argv])
        service = f"shell,v2,raw:{command}"
        if len(service.encode("utf-8", "surrogateescape")) > MAX_REQUEST_BYTES:
            raise RemoteCommandError(
                f"{self.name} cannot be given a command of {len(service)} characters: adb takes 65535.",
                remedy="The artifact has too many files for this transport, or their names are too long.",
            )
        return AdbProcess(open_service(str(self._serial), service, DEAD_LINK_S))

    def _put(self, source: Source, remote: str, *, append: bool, on_bytes: Callable[[int], None]) -> None:
        if append or len(remote.encode("utf-8", "surrogateescape")) > _SYNC_PATH_BYTES:
            self._feed(source, remote, append=append, on_bytes=on_bytes)
        elif source.total_bytes <= _SYNC_BYTES:
            self._sync(source, remote, on_bytes)
        else:
            self._put_large(source, remote, on_bytes)

    def _put_large(self, source: Source, remote: str, on_bytes: Callable[[int], None]) -> None:
        """A first part tells whether a cut would cost more than a moment."""
        probe = min(_PROBE_BYTES, source.total_bytes)
        began = time.monotonic()
        self._sync(source.part(0, probe), remote, on_bytes)
        rate = probe / max(1e-6, time.monotonic() - began)
        if source.total_bytes / rate > _SYNC_S:
            try:
                self._feed(source.part(probe), remote, append=True, on_bytes=on_bytes)
            except DeviceStorageError:
                self._remove(remote)
                raise
            return
        told = 0

        def beyond_the_probe(count: int) -> None:
            nonlocal told
            told += count
            if told > probe:
                on_bytes(min(count, told - probe))

        self._sync(source, remote, beyond_the_probe)

    def _sync(self, source: Source, remote: str, on_bytes: Callable[[int], None]) -> None:
        with open_service(str(self._serial), "sync:", DEAD_LINK_S) as sock:
            try:
                send_file(sock, source, remote, on_bytes=on_bytes, drained_s=_DRAINED_S)
            except SyncRefusedError as error:
                self._remove(remote)
                raise self._cannot_write(remote, str(error)) from error

    def _remove(self, remote: str) -> None:
        with suppress(DeviceError):
            self.run(["rm", "-f", "--", remote], timeout_s=DEAD_LINK_S, step="removing the partial file")

    def _feed(self, source: Source, remote: str, *, append: bool, on_bytes: Callable[[int], None]) -> None:
        process = self._start(["sh", "-c", RECEIVE_MORE if append else RECEIVE, "edgekit", remote], feeds=True)
        try:
            process.send(source, on_bytes)
            code = process.code(_DRAINED_S)
            if code is None:
                raise TimeoutError("the last bytes did not arrive")
        finally:
            process.end()
        if code != 0:
            raise self._cannot_write(remote, process.complaint.decode("utf-8", "replace").strip())

    def _cannot_write(self, remote: str, said: str) -> DeviceError:
        step = f"writing {remote}"
        return self.storage_trouble(step, said) or DeviceStorageError(
            f"{self.name} cannot write while {step}: {said[-300:].rstrip('.') or 'it said nothing'}.",
            remedy="Check the `root` in the target, and run it again.",
        )
