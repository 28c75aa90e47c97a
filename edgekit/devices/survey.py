"""Which devices answer: all targets asked at once, and the adb server, under one deadline.

What is attached over ADB and named by no target is listed too, with the command that makes it one.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from edgekit.devices.adb_server import Attached, attached
from edgekit.devices.device import connect
from edgekit.devices.lock import Holder, holder
from edgekit.devices.target import AdbSettings, Target, list_targets, load_target
from edgekit.errors import EdgeKitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
DEADLINE_S = 2.5
"""With the start of the program under 3 s; a board that is up answers within one, over a slow link too."""


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


def survey(folder: Path, *, deadline_s: float = DEADLINE_S) -> list[Seen]:
    """Asks every target of a folder at once; what has not answered by the deadline is unreachable.

    The threads are daemons: a connection that hangs beyond the deadline does not hold the program back.
    """
    paths = list_targets(folder)
    end = time.monotonic() + deadline_s
    adb = _in_background(lambda: _attached(deadline_s))
    answers = [_in_background(partial(_ask, path)) for path in paths]
    seen: list[Seen] = []
    for path, answer in zip(paths, answers, strict=True):
        found = _awaited(answer, end)
        seen.append(found or Seen(path.stem, _address(path), "unreachable", f"no answer within {deadline_s:g} s"))
    return seen + _unclaimed(_awaited(adb, end) or [], paths)


def _in_background(ask: Callable[[], T]) -> queue.Queue[T]:
    answer: queue.Queue[T] = queue.Queue()
    threading.Thread(target=lambda: answer.put(ask()), daemon=True).start()
    return answer


def _awaited(answer: queue.Queue[T], end: float) -> T | None:
    try:
        return answer.get(timeout=max(0.001, end - time.monotonic()))
    except queue.Empty:
        return None


def _ask(path: Path) -> Seen:
    try:
        target = load_target(str(path))
    except EdgeKitError as error:
        return Seen(path.stem, "", "invalid", str(error))
    began = time.monotonic()
    try:
        with connect(target) as device:
            user = holder(device)
            took = time.monotonic() - began
            return Seen(path.stem, device.transport.describe, "reachable", target.description, round(took, 3), user)
    except EdgeKitError as error:
        return Seen(path.stem, _address(path), "unreachable", str(error))


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
