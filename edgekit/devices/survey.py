"""Which targets answer: all asked at once, under one deadline."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Literal

import msgspec

from edgekit.devices.device import connect
from edgekit.devices.target import list_targets, load_target
from edgekit.errors import EdgeKitError

if TYPE_CHECKING:
    from pathlib import Path


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One target: where it is and whether it answered; `what` says why not."""

    name: str
    address: str
    state: Literal["reachable", "unreachable", "invalid"]
    what: str


def survey(folder: Path, *, deadline_s: float) -> list[Seen]:
    """Asks every target of a folder at once; what has not answered by the deadline is unreachable.

    The threads are daemons: a connection that hangs beyond the deadline does not hold the program back.
    """
    paths = list_targets(folder)
    answers: queue.Queue[Seen] = queue.Queue()
    for path in paths:
        threading.Thread(target=lambda path=path: answers.put(_ask(path)), daemon=True).start()
    seen: dict[str, Seen] = {}
    end = time.monotonic() + deadline_s
    while len(seen) < len(paths):
        try:
            one = answers.get(timeout=max(0.01, end - time.monotonic()))
        except queue.Empty:
            break
        seen[one.name] = one
    for path in paths:
        seen.setdefault(path.stem, Seen(path.stem, "", "unreachable", f"no answer within {deadline_s:g} s"))
    return [seen[path.stem] for path in paths]


def _ask(path: Path) -> Seen:
    try:
        target = load_target(str(path))
    except EdgeKitError as error:
        return Seen(path.stem, "", "invalid", str(error))
    address = target.transport if target.ssh is None else f"{target.transport} {target.ssh.host}:{target.ssh.port}"
    try:
        with connect(target):
            return Seen(path.stem, address, "reachable", target.description)
    except EdgeKitError as error:
        return Seen(path.stem, address, "unreachable", str(error))
