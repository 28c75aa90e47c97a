"""The adb server of this machine: where it listens, how it is asked, and what it says is attached.

Every user of ADB has this server; `adb` itself is but a client of it. EdgeKit speaks its socket protocol (a request is
its length in four hex digits and its text; the answer OKAY or FAIL and a reason) instead of running `adb` for every
step, because `adb` mixes its own complaints with the device's standard error and its own exit status 1 with the
command's, and because a socket can be bounded in time (docs/decisions). The program `adb` is needed only to start the
server where none runs; one that runs is never restarted, whatever its version.

The server is found as `adb` finds it: by ADB_SERVER_SOCKET, or ANDROID_ADB_SERVER_ADDRESS and ANDROID_ADB_SERVER_PORT,
or else at port 5037 of this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgekit.errors import UnreachableDeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_REQUEST_BYTES = 0xFFFF
_START_S = 20
_BUSY_S = 0.02
_QUOTED = 300
_LOCAL = {"localhost", "127.0.0.1", "::1"}
_INSTALL = (
    "Install the Android platform tools (Debian: apt install adb), so that `adb` is on the PATH or below ANDROID_HOME."
)
_starting = threading.Lock()


class AdbRefusedError(Exception):
    """The server answered FAIL, with a reason in its own words."""


class Attached(NamedTuple):
    """A device that the server knows.

    `state` is the server's word: `device` is ready; `offline`, `unauthorized`, `no permissions`, `recovery` are not.
    """

    serial: str
    state: str
    description: str


def attached(timeout_s: float) -> list[Attached]:
    """What is attached to this machine, over USB or TCP, ready or not.

    Raises:
        UnreachableDeviceError: there is no adb server and none can be started, or it does not answer in time.
    """
    with explained("asking what is attached", timeout_s):
        answer = ask("host:devices-l", timeout_s)
    return [found for line in answer.splitlines() if (found := _parse(line))]


_LINE = re.compile(r"(?P<serial>\(no serial number\)|\S+)\s+(?P<state>no permissions|\S+)(?P<rest>.*)")


def _parse(line: str) -> Attached | None:
    """`SERIAL  STATE [(why)] [usb:1-1] [product:... model:Pixel_7 device:...] [transport_id:1]`"""
    match = _LINE.fullmatch(_printable(line.strip()))
    if match is None:
        return None
    facts = dict(re.findall(r"\b(model|product|usb):(\S+)", match["rest"]))
    words = [facts[key].replace("_", " ") for key in ("model", "product") if key in facts][:1]
    words += [f"usb {facts['usb']}"] if "usb" in facts else []
    return Attached(match["serial"], match["state"], ", ".join(words))


def _printable(text: str) -> str:
    """What a device tells may be printed, but not move somebody's cursor."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def ask(request: str, timeout_s: float) -> str:
    """The server's answer to a request about itself or its devices, such as `host:devices-l`.

    Raises:
        AdbRefusedError: it refused.
        OSError, EOFError: it did not answer.
    """
    deadline = time.monotonic() + timeout_s
    with dial(timeout_s) as sock:
        send_request(sock, request, deadline)
        return receive_text(sock, deadline)


def open_service(serial: str, service: str, timeout_s: float) -> socket.socket:
    """A socket to a service of a device, such as `shell,v2,raw:id`; what follows is that service's own protocol.

    Raises:
        AdbRefusedError: there is no such device, it is not ready, or it refuses the service.
        OSError, EOFError: no answer.
    """
    deadline = time.monotonic() + timeout_s
    sock = dial(timeout_s)
    try:
        send_request(sock, f"host:transport:{serial}", deadline)
        send_request(sock, service, deadline)
    except BaseException:  # Ctrl-C too: no socket stays open; it is raised again
        sock.close()
        raise
    return sock


def dial(timeout_s: float) -> socket.socket:
    """Connects to the server, and starts it first if it is this machine's and nothing listens.

    Raises:
        UnreachableDeviceError: there is none, and none can be started.
        OSError: it does not answer.
    """
    try:
        return _dial(timeout_s)
    except (ConnectionRefusedError, FileNotFoundError):
        with _starting:
            _start_server()
    try:
        return _dial(timeout_s)
    except (ConnectionRefusedError, FileNotFoundError) as error:
        raise UnreachableDeviceError(
            f"The adb server at {address_text()} was started and does not listen.", remedy="Run `adb start-server`."
        ) from error


def send_request(sock: socket.socket, request: str, deadline: float) -> None:
    """Sends a request and waits for its OKAY.

    Raises:
        AdbRefusedError: FAIL.
    """
    data = request.encode("utf-8", "surrogateescape")
    sock.settimeout(max(0.01, deadline - time.monotonic()))
    sock.sendall(b"%04x" % len(data) + data)
    status = receive(sock, 4, deadline)
    if status == b"FAIL":
        raise AdbRefusedError(_printable(receive_text(sock, deadline).strip())[:_QUOTED])
    if status != b"OKAY":
        raise ConnectionError(f"what listens at {address_text()} is no adb server: it answered {status!r}")


def receive_text(sock: socket.socket, deadline: float) -> str:
    """A text that is preceded by its length in four hex digits."""
    length = receive(sock, 4, deadline)
    try:
        return receive(sock, int(length, 16), deadline).decode("utf-8", "replace")
    except ValueError as error:
        raise ConnectionError(f"what listens at {address_text()} is no adb server: it told {length!r}") from error


def receive(sock: socket.socket, count: int, deadline: float) -> bytes:
    """Exactly so many bytes.

    Raises:
        TimeoutError: not by the deadline.
        EOFError: the other side hung up.
    """
    data = b""
    while len(data) < count:
        sock.settimeout(max(0.01, deadline - time.monotonic()))
        chunk = sock.recv(count - len(data))
        if not chunk:
            raise EOFError("the adb server hung up")
        data += chunk
    return data


def send_buffers(sock: socket.socket, buffers: Sequence[bytes | memoryview]) -> None:
    """Sends buffers one after another, without copying them into one."""
    views = [memoryview(buffer) for buffer in buffers]
    while views:
        sent = sock.sendmsg(views)
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if sent:
            views[0] = views[0][sent:]


@contextmanager
def explained(step: str, timeout_s: float) -> Iterator[None]:
    """Turns a server that is silent, gone or no adb server into one error."""
    try:
        yield
    except (OSError, EOFError, AdbRefusedError) as error:
        why = f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else str(error)
        raise UnreachableDeviceError(
            f"The adb server at {address_text()} failed while {step}: {why.rstrip('.')}.",
            remedy="Run `adb kill-server`, then `adb devices`, and try again.",
        ) from error


def address_text() -> str:
    """Where the server listens, as `adb` writes it: `tcp:localhost:5037`."""
    named = os.environ.get("ADB_SERVER_SOCKET")
    if named:
        return named
    host = os.environ.get("ANDROID_ADB_SERVER_ADDRESS", "localhost")
    return f"tcp:{host}:{os.environ.get('ANDROID_ADB_SERVER_PORT', '5037')}"


def _dial(timeout_s: float) -> socket.socket:
    kind, _, place = address_text().partition(":")
    if kind == "tcp":
        host, _, port = place.rpartition(":")
        sock = socket.create_connection((host.strip("[]") or "localhost", int(port)), timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    deadline = time.monotonic() + timeout_s
    sock = socket.socket(socket.AF_UNIX)
    try:
        while True:
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                sock.connect(f"\0{place}" if kind == "localabstract" else place)
            except BlockingIOError:  # as many as it queues are waiting to be let in
                if time.monotonic() > deadline:
                    raise
                time.sleep(_BUSY_S)
            else:
                return sock
    except BaseException:  # Ctrl-C too: no socket stays open; it is raised again
        sock.close()
        raise


def _start_server() -> None:
    """Runs `adb start-server`; harmless if another thread or program just did."""
    place = address_text()
    if place.startswith("tcp:") and (place.split(":")[1:-1] or ["localhost"])[0] not in _LOCAL:
        raise UnreachableDeviceError(
            f"No adb server listens at {place}, which the environment names.",
            remedy="Start it on that machine (`adb -a start-server`), or unset ADB_SERVER_SOCKET.",
        )
    adb = _find_adb()
    if adb is None:
        raise UnreachableDeviceError(
            f"No adb server listens at {place}, and there is no `adb` to start one.", remedy=_INSTALL
        )
    with tempfile.TemporaryFile() as said:  # no pipe: the server would inherit it and keep it open
        process = subprocess.Popen(
            [adb, "start-server"], stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        try:
            code: int | None = process.wait(_START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
        if code != 0:
            said.seek(0)
            words = said.read().decode("utf-8", "replace").strip()[-300:].rstrip(".")
            how = f"did not finish within {_START_S} s" if code is None else f"failed (exit status {code})"
            raise UnreachableDeviceError(
                f"`{adb} start-server` {how}: {words or 'it said nothing'}.", remedy="Run it by hand and see."
            )


def _find_adb() -> str | None:
    found = shutil.which("adb")
    for variable in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        below = os.environ.get(variable)
        if found is None and below:
            found = shutil.which("adb", path=str(Path(below) / "platform-tools"))
    return found
