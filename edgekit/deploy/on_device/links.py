"""Where a model's links lead, and how both are switched so that a crash at any instant leaves a state that is right.

    current     the artifact that applications load; replaced by one rename, which is the moment of the switch
    previous    the last good one
    switch      "CURRENT PREVIOUS": what the links become. Written before `current`, removed after `previous`

If a switch was interrupted, `switch` is still there. When its first id is what `current` leads to, the switch had
happened, and its second id is the previous artifact; else it had not, and `switch` means nothing. The host's script
(edgekit.deploy.scripts) does the same steps in shell, and keeps to the same folder `switching`, of which there can be
only one.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple, Optional

if TYPE_CHECKING:
    from typing import Iterator

_LINK = re.compile(r"(?:\.\./)*store/([0-9a-f]{64})/?\Z")
_SWITCH = re.compile(r"([0-9a-f]{64}) ([0-9a-f]{64})?\n?\Z")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_WAIT_S = 10.0
_ABANDONED_S = 60.0
"""A folder `switching` as old as that was left by a crash: a switch takes milliseconds."""


class StoreError(Exception):
    """The store cannot be read or changed: one sentence that says what and where."""


class Links(NamedTuple):
    """The ids of a model's artifacts; None where there is none."""

    current: Optional[str]
    previous: Optional[str]


def models(root: str) -> list[str]:
    """The names of the models that a store has, sorted."""
    try:
        names = os.listdir(os.path.join(root, "models"))
    except FileNotFoundError:
        return []
    return sorted(name for name in names if _MODEL.match(name) and os.path.isdir(folder_of(root, name)))


def folder_of(root: str, model: str) -> str:
    """The folder of a model.

    Raises:
        StoreError: that is no name of a model.
    """
    if not _MODEL.match(model):
        raise StoreError("%r is not a model's name: letters, digits, '.', '_' and '-' only." % model)
    return os.path.join(root, "models", model)


def read(root: str, model: str) -> Links:
    """Where the links lead, an interrupted switch taken into account."""
    folder = folder_of(root, model)
    current = _target(os.path.join(folder, "current"))
    previous = _target(os.path.join(folder, "previous"))
    try:
        with open(os.path.join(folder, "switch"), encoding="ascii") as file:
            interrupted = _SWITCH.match(file.read(200))
    except (OSError, UnicodeDecodeError):
        interrupted = None
    if interrupted and interrupted.group(1) == current and interrupted.group(2):
        previous = interrupted.group(2)
    return Links(current, previous if previous != current else None)


def switch(root: str, model: str, links: Links) -> None:
    """Makes the links lead where `links` says. The caller holds `switching`.

    Raises:
        OSError: a full or read-only disk. What was current before still is.
    """
    assert links.current is not None
    folder = folder_of(root, model)
    _write(os.path.join(folder, "switch"), "%s %s\n" % (links.current, links.previous or ""))
    _point(folder, "current", links.current)
    if links.previous is not None:
        _point(folder, "previous", links.previous)
    flush(folder)
    os.unlink(os.path.join(folder, "switch"))


@contextlib.contextmanager
def switching(root: str, model: str) -> Iterator[None]:
    """Keeps every other program, the host's too, from switching this model's links during the block.

    Raises:
        StoreError: another one does not come to an end.
    """
    mark = os.path.join(folder_of(root, model), "switching")
    end = time.monotonic() + _WAIT_S
    while True:
        try:
            os.mkdir(mark)
            break
        except FileExistsError:
            with contextlib.suppress(OSError):
                if abs(time.time() - os.lstat(mark).st_mtime) > _ABANDONED_S:
                    os.rmdir(mark)
                    continue
            if time.monotonic() > end:
                raise StoreError("another program is switching the links of %s (%s)." % (model, mark)) from None
            time.sleep(0.05)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(mark)


def _target(path: str) -> str | None:
    try:
        found = _LINK.match(os.readlink(path))
    except OSError:
        return None
    return found.group(1) if found else None


def _point(folder: str, name: str, artifact_id: str) -> None:
    """One rename. What an interruption leaves has a fixed name, and only one program switches at a time."""
    made = os.path.join(folder, ".new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(made)
    os.symlink("../../store/" + artifact_id, made)
    os.replace(made, os.path.join(folder, name))


def _write(path: str, text: str) -> None:
    made = os.path.join(os.path.dirname(path), ".switch")
    with open(made, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(made, path)
    flush(os.path.dirname(path))


def flush(path: str) -> None:
    """Has a file or folder written to the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems do not flush folders
            os.fsync(handle)
    finally:
        os.close(handle)
