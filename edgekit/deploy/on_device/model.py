"""`open_model`: which artifact an application should load, and what becomes of one that fails.

A start is marked in `trying/PID` until the application says that the model is `healthy`. A mark whose process is gone,
or that is of an earlier boot, is a start that never became healthy: that counts as a failure, so a model that takes the
process or the whole board down with it is counted by the next start. An application or its supervisor reports other
failures (`failed`: wrong answers, an exception, too slow). `max_failures` of the current artifact within `within_s`,
and the one before becomes current, if it is whole and was not itself fallen back from. There is no way back from that
but a deployment or a rollback, by people.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Optional

from . import links, record, whole
from .links import Links, StoreError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Dict, Type

MAX_FAILURES = 3
WITHIN_S = 24 * 3600.0


class NoModelError(StoreError):
    """There is nothing of that model that could be loaded: the application needs a fallback of its own."""


def default_root() -> str:
    """$EDGEKIT_ROOT, else the store that this program was deployed to, else ~/.edgekit."""
    named = os.environ.get("EDGEKIT_ROOT")
    if named:
        return os.path.abspath(named)
    folder = os.path.dirname(os.path.abspath(sys.modules[__package__].__file__ or ""))
    while folder != os.path.dirname(folder):
        if os.path.exists(os.path.join(folder, "bin", "edgekit-device.pyz")):
            return folder
        folder = os.path.dirname(folder)
    return os.path.expanduser("~/.edgekit")


def open_model(
    name: str, root: Optional[str] = None, *, max_failures: int = MAX_FAILURES, within_s: float = WITHIN_S
) -> Model:
    """The artifact of a model to load now. Counts the start; falls back first if the current one failed too often.

    Args:
        name: the model's name.
        root: the store; see `default_root`.
        max_failures: so many within `within_s` seconds, and the artifact before it becomes current.

    Raises:
        NoModelError: the store has no such model, or what is current is damaged and there is nothing to fall back to.
        StoreError: the store cannot be read.
    """
    model = Model(name, root or default_root(), max_failures, within_s)
    model.start()
    return model


class Model:
    """A model as an application has it open. `payload` is the file that its runtime loads.

    Attributes:
        artifact_id: what is loaded; `manifest` tells all about it.
        fell_back_from: the id of the artifact that was left for this one, now or earlier; else None.
        pid: the process that loads it. Where it is given, a supervisor's: whatever that started before has ended.
    """

    def __init__(
        self, name: str, root: str, max_failures: int = MAX_FAILURES, within_s: float = WITHIN_S, pid: int = 0
    ) -> None:
        self.name = name
        self.root = root
        self.pid = pid or os.getpid()
        self._supervised = pid != 0
        self.artifact_id = ""
        self.manifest: Dict[str, Any] = {}
        self.fell_back_from: Optional[str] = None
        self._folder = links.folder_of(root, name)
        self._max_failures = max_failures
        self._within_s = within_s

    @property
    def folder(self) -> str:
        """The artifact's folder."""
        return os.path.join(self.root, "store", self.artifact_id)

    @property
    def payload(self) -> str:
        """The file or folder that the runtime loads."""
        return os.path.join(self.folder, *self.manifest["payload"].split("/"))

    def __enter__(self) -> Model:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if error is not None and isinstance(error, Exception):
            self.failed("%s: %s" % (type(error).__name__, error))
        else:
            self._unmark()

    def healthy(self) -> None:
        """Says that the model loaded and answers well. Until then a crash is the model's."""
        self._unmark()

    def failed(self, why: str) -> Optional[str]:
        """Reports a failure of this artifact, such as `"slow: 210 ms"`. Never raises what a disk may raise.

        Returns:
            The id of the artifact to load instead, if this was one failure too many and there is one; else None.
        """
        self._unmark()
        try:
            record.append(self._folder, "failed", self.artifact_id, why)
            after = self._fall_back_if_needed().current
        except (OSError, StoreError):
            return None
        return after if after != self.artifact_id else None

    def start(self) -> None:
        """Counts the starts that ended badly, falls back if it has to, and marks a start of the artifact to load.

        Raises:
            NoModelError: there is none.
            StoreError: the store cannot be read.
        """
        for started, detail in self._deaths():
            with contextlib.suppress(OSError):
                record.append(self._folder, "failed", started, detail)
        with contextlib.suppress(OSError, StoreError):  # a store that cannot be written still gives its model
            found = self._fall_back_if_needed()
            if found.current and whole.manifest(self.root, found.current) is None:
                self._fall_back(found, "its manifest is damaged")
        self.attach()
        with contextlib.suppress(OSError):
            os.makedirs(os.path.join(self._folder, "trying"), exist_ok=True)
            with open(self._mark(), "w", encoding="ascii") as file:
                file.write("%s %s\n" % (self.artifact_id, _identity(self.pid)))

    def attach(self) -> None:
        """Finds the artifact to load now; counts and changes nothing.

        Raises:
            NoModelError: there is none, or its manifest is damaged.
        """
        current = links.read(self.root, self.name).current
        manifest = whole.manifest(self.root, current) if current else None
        if current is None or manifest is None:
            raise NoModelError(
                "there is no artifact of %s at %s that could be loaded; it has %s."
                % (self.name, self.root, ", ".join(links.models(self.root)) or "no models")
            )
        self.artifact_id, self.manifest = current, manifest
        self.fell_back_from = record.fell_back_from(record.read(self._folder), current)

    def _deaths(self) -> list[tuple[str, str]]:
        """The starts that never became healthy and whose process is gone: artifact and story. Removes their marks."""
        folder = os.path.join(self._folder, "trying")
        try:
            names = [name for name in os.listdir(folder) if name.isdigit()]
        except OSError:
            return []
        found = []
        for name in names:
            path = os.path.join(folder, name)
            try:
                with open(path, encoding="ascii") as file:
                    artifact_id, identity = file.read(300).split()
            except (OSError, ValueError):
                artifact_id, identity = "", ""
            restarted_here = self._supervised and int(name) == self.pid
            if identity == _identity(int(name)) and not restarted_here:
                continue  # it is still loading
            try:
                os.unlink(path)  # whoever removes the mark counts it
            except OSError:
                continue
            if artifact_id:
                restarted = identity.split("/")[0] != _boot_id()
                story = "the device restarted before it was healthy" if restarted else "ended before it was healthy"
                found.append((artifact_id, story))
        return found

    def _fall_back_if_needed(self) -> Links:
        found = links.read(self.root, self.name)
        if found.current is None:
            return found
        count = record.failures(record.read(self._folder), found.current, time.time() - self._within_s)
        if count < self._max_failures:
            return found
        return self._fall_back(found, "%d failures" % count)

    def _fall_back(self, seen: Links, why: str) -> Links:
        """Makes the previous artifact current, unless the links changed since they were `seen`."""
        with links.switching(self.root, self.name):
            found = links.read(self.root, self.name)
            if found != seen or found.current is None:
                return found
            entries = record.read(self._folder)
            good = (
                found.previous is not None
                and found.previous not in record.left_behind(entries)
                and whole.is_whole(self.root, found.previous)
            )
            if not good:
                if not entries or entries[-1].kind != "no-fallback":
                    record.append(self._folder, "no-fallback", found.current, why)
                return found
            after = Links(found.previous, found.current)
            links.switch(self.root, self.name, after)
            record.append(self._folder, "fell-back", found.current, "%s: %s" % (found.previous, why))
            return after

    def _mark(self) -> str:
        return os.path.join(self._folder, "trying", str(self.pid))

    def _unmark(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._mark())


def roll_back(root: str, name: str) -> Links:
    """Makes the previous artifact of a model current, and the current one previous. Needs no host and no network.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    folder = links.folder_of(root, name)
    with links.switching(root, name):
        found = links.read(root, name)
        if found.current is None or found.previous is None:
            raise StoreError("there is no earlier artifact of %s at %s." % (name, root))
        if not whole.is_whole(root, found.previous):
            raise StoreError("the earlier artifact %s of %s is damaged; deploy one anew." % (found.previous[:12], name))
        after = Links(found.previous, found.current)
        links.switch(root, name, after)
        record.append(folder, "rolled-back", found.previous, "on the device")
        return after


def _identity(pid: int) -> str:
    """`BOOT/START` of a process, which no other ever has; `BOOT/alive` where the system has no /proc; `BOOT/gone`."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            started = file.read().rpartition(b")")[2].split()[19].decode("ascii")
    except (OSError, IndexError):
        started = "gone"
        if not os.path.isdir("/proc/self"):
            with contextlib.suppress(OSError):
                os.kill(pid, 0)
                started = "alive"
    return "%s/%s" % (_boot_id(), started)


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip() or "unknown"
    except OSError:
        return "unknown"
