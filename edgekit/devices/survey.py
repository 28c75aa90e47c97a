"""Which devices answer: all targets asked at once, and the adb server, under one deadline.

What is attached over ADB and named by no target is listed too, with the command that makes it one.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from edgekit.devices.adb_server import Attached, attached
from edgekit.devices.device import connect_runner
from edgekit.devices.lock import Holder
from edgekit.devices.target import Target, list_targets, load_target
from edgekit.errors import EdgeKitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgekit.devices.settings import AdbSettings

T = TypeVar("T")
PATIENCE_S = 1.5
"""For each step of reaching a device: its name, its first packet, its greeting. Most that are off cost just this."""
DEADLINE_S = 5.0
"""For all devices together: one that has greeted may be slow, or this machine busy."""


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One device: where it is and whether it answered; `what` says why not.

    `unclaimed` is attached over ADB and has no target: its `name` is its serial. `answered_in_s` is the time from the
    first packet until it had connected, found its root folder and told its lock; `lock` is who holds that, if anybody.
    """

    name: str
    address: str
    state: Literal["reachable", "unreachable", "invalid", "unclaimed"]
    what: str
    answered_in_s: float | None = None
    lock: Holder | None = None


def survey(folder: Path, *, deadline_s: float = DEADLINE_S, patience_s: float = PATIENCE_S) -> list[Seen]:
    """Asks every target of a folder at once.

    A device is unreachable if a step of reaching it takes longer than `patience_s`, or all of it longer than the
    deadline. The threads are daemons: one that hangs beyond the deadline holds nothing back. Whoever ends the program
    meanwhile should do it without the interpreter's own clean-up (`os._exit`), which cryptography does not survive.
    """
    paths = list_targets(folder)
    began = time.monotonic()
    adb = _in_background(lambda: _attached(patience_s))
    asked = []
    for path in paths:
        found = threading.Event()
        asked.append((path, found, _in_background(partial(_ask, path, patience_s, found))))
    seen: list[Seen] = []
    for path, found, answer in asked:
        one = _awaited(answer, began + min(patience_s, deadline_s))
        if one is None and found.is_set():
            one = _awaited(answer, began + deadline_s)
        waited = deadline_s if found.is_set() else min(patience_s, deadline_s)
        seen.append(one or Seen(path.stem, _address(path), "unreachable", f"no answer within {waited:g} s"))
    return seen + _unclaimed(_awaited(adb, began + min(patience_s, deadline_s)) or [], paths)


def _in_background(ask: Callable[[], T]) -> queue.Queue[T]:
    answer: queue.Queue[T] = queue.Queue()
    threading.Thread(target=lambda: answer.put(ask()), daemon=True).start()
    return answer


def _awaited(answer: queue.Queue[T], end: float) -> T | None:
    try:
        return answer.get(timeout=max(0.001, end - time.monotonic()))
    except queue.Empty:
        return None


def _ask(path: Path, patience_s: float, found: threading.Event) -> Seen:
    """Sets `found` once the device's name is resolved: resolvers have bounds of their own, and long ones."""
    try:
        target = _impatient(load_target(str(path)), patience_s)
    except EdgeKitError as error:
        return Seen(path.stem, "", "invalid", str(error))
    began = time.monotonic()
    try:
        if target.ssh is not None:
            with suppress(OSError):  # then connecting says so
                socket.getaddrinfo(target.ssh.host, target.ssh.port, type=socket.SOCK_STREAM)
        found.set()
        with connect_runner(target) as device:
            user = device.holder()
            if device.invitation is not None:
                return Seen(path.stem, device.describe, "unreachable", "a measurement tells the address to open in it")
            took = time.monotonic() - began
            return Seen(path.stem, device.describe, "reachable", target.description, round(took, 3), user)
    except EdgeKitError as error:
        return Seen(path.stem, _address(path), "unreachable", str(error))


def _impatient(target: Target, patience_s: float) -> Target:
    """The target with a shorter bound for connecting."""
    if target.ssh is not None:
        bound = min(target.ssh.connect_timeout_s, patience_s)
        return msgspec.structs.replace(target, ssh=msgspec.structs.replace(target.ssh, connect_timeout_s=bound))
    if target.adb is not None:
        bound = min(target.adb.connect_timeout_s, patience_s)
        return msgspec.structs.replace(target, adb=msgspec.structs.replace(target.adb, connect_timeout_s=bound))
    return target


def _address(path: Path) -> str:
    try:
        target = load_target(str(path))
    except EdgeKitError:
        return ""
    if target.ssh is not None:
        return f"ssh {target.ssh.host}:{target.ssh.port}"
    return f"{target.transport} {_serial(target.adb) or ''}".strip() if target.adb is not None else target.transport


def _serial(adb: AdbSettings | None) -> str | None:
    """How the adb server calls a target's device; None for the only one that is attached."""
    if adb is None:
        return None
    return f"{adb.host}:{adb.port}" if adb.host is not None else adb.serial


def _attached(timeout_s: float) -> list[Attached]:
    try:
        return attached(timeout_s)
    except EdgeKitError:  # no adb here: then nothing is attached by it, and targets that need it say so themselves
        return []


def _unclaimed(found: list[Attached], paths: list[Path]) -> list[Seen]:
    targets: list[Target] = []
    for path in paths:
        with suppress(EdgeKitError):
            targets.append(load_target(str(path)))
    serials = [_serial(target.adb) for target in targets if target.transport == "adb"]
    if None in serials and len(found) == 1:
        return []  # the target without a serial is this one
    return [
        Seen(
            one.serial,
            f"adb {one.serial}",
            "unclaimed",
            f"{', '.join(filter(None, (one.description, one.state)))}; "
            f"make it a target: edgekit targets add NAME adb:{one.serial}",
        )
        for one in found
        if one.serial not in serials
    ]
