"""Which devices answer: all targets asked at once, and the adb server, under one deadline.

What is attached over ADB and named by no target is listed too, with the command that makes it one.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit import plugins
from edgekit.devices.device import connect
from edgekit.devices.lock import Holder, holder
from edgekit.devices.target import Target, list_targets, load_target
from edgekit.errors import EdgeKitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

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
    adb = _in_background(lambda: [_attached(deadline_s)])
    answers = [_in_background(lambda path=path: [_ask(path)]) for path in paths]
    seen: list[Seen] = []
    for path, answer in zip(paths, answers, strict=True):
        found = _awaited(answer, end)
        seen += found or [Seen(path.stem, _address(path), "unreachable", f"no answer within {deadline_s:g} s")]
    attached = _awaited(adb, end)
    return seen + (_unclaimed(attached[0], paths) if attached else [])


def _in_background[T](ask: Callable[[], list[T]]) -> queue.Queue[list[T]]:
    answer: queue.Queue[list[T]] = queue.Queue()
    threading.Thread(target=lambda: answer.put(ask()), daemon=True).start()
    return answer


def _awaited[T](answer: queue.Queue[list[T]], end: float) -> list[T] | None:
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
