"""The log of one model on the device: what became current, what failed, what was fallen back from.

    SECONDS<tab>KIND<tab>ID<tab>DETAIL

One line an event, appended by one write, which the system keeps whole; SECONDS by the device's own wall clock. Kinds:
`activated` and `rolled-back` (ID became current), `failed` (ID did), `fell-back` (from ID, to the id in DETAIL) and
`no-fallback` (ID failed too often, and there was nothing to fall back to). A line that is none of these is passed over:
a crash in the middle of a write, or a later EdgeKit. The log is cut to its newest half when it grows over 64 KiB.
"""

from __future__ import annotations

import os
import re
import time
from typing import NamedTuple

KINDS = ("activated", "rolled-back", "failed", "fell-back", "no-fallback")
_LINE = re.compile(r"(\d{1,12})\t([a-z-]+)\t([0-9a-f]{64})\t(.*)\Z")
_MOST_BYTES = 65536
_MOST_DETAIL = 300


class Entry(NamedTuple):
    """One line of the log. `at` in seconds since 1970."""

    at: int
    kind: str
    artifact_id: str
    detail: str


def append(folder: str, kind: str, artifact_id: str, detail: str = "") -> None:
    """Adds a line. Raises OSError where the disk is full or read-only."""
    assert kind in KINDS
    said = " ".join(detail.split())[:_MOST_DETAIL]
    line = "%d\t%s\t%s\t%s\n" % (time.time(), kind, artifact_id, said)
    path = _path(folder)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode("utf-8", "replace"))
        os.fsync(handle)
        large = os.fstat(handle).st_size > _MOST_BYTES
    finally:
        os.close(handle)
    if large:
        _shorten(path)


def read(folder: str) -> list[Entry]:
    """The entries, oldest first; none where there is no log."""
    try:
        with open(_path(folder), "rb") as file:
            text = file.read(2 * _MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    return parse(text)


def parse(text: str) -> list[Entry]:
    """The entries of a log's text, or of the end of one."""
    found = (_LINE.match(line) for line in text.split("\n"))
    return [
        Entry(int(line.group(1)), line.group(2), line.group(3), line.group(4))
        for line in found
        if line and line.group(2) in KINDS
    ]


def left_behind(entries: list[Entry]) -> set[str]:
    """The artifacts that were fallen back from, and that nobody made current on purpose since."""
    left = set()
    for entry in entries:
        if entry.kind == "fell-back":
            left.add(entry.artifact_id)
        elif entry.kind in ("activated", "rolled-back"):
            left.discard(entry.artifact_id)
    return left


def fell_back_from(entries: list[Entry], current: str | None) -> str | None:
    """The artifact that was left for the current one; None if people made it current, or there is no log of it."""
    left = None
    for entry in entries:
        if entry.kind in ("activated", "rolled-back"):
            left = None
        elif entry.kind == "fell-back" and current and entry.detail.startswith(current):
            left = entry.artifact_id
    return left


def failures(entries: list[Entry], artifact_id: str, since: float) -> int:
    """How often an artifact failed after `since`, and after it last became current."""
    count = 0
    for entry in entries:
        if entry.kind in ("activated", "rolled-back", "fell-back"):
            count = 0
        elif entry.kind == "failed" and entry.artifact_id == artifact_id and entry.at >= since:
            count += 1
    return count


def _path(folder: str) -> str:
    return os.path.join(folder, "log")


def _shorten(path: str) -> None:
    """Keeps the newest half, by whole lines. What somebody else appends in that instant may be lost."""
    with open(path, "rb") as file:
        kept = file.read()[-_MOST_BYTES // 2 :]
    made = "%s.%d" % (path, os.getpid())
    with open(made, "wb") as file:
        file.write(kept[kept.find(b"\n") + 1 :])
        file.flush()
        os.fsync(file.fileno())
    os.replace(made, path)
