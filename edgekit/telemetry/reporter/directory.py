"""The state directory: whose it is, and what each of several processes may use of it.

    STATE/
      device.json        who this device is: id, key id, key, the collector's address (mode 0600)
      reference.json     cells that the device cut for itself, where the model came without a reference
      0/  1/  …          one for each process that runs at the same time: lock, journal, quarantine

A process takes the first folder whose lock is free. What an ended process left in another one is taken over at the next
start: its journal is moved (one rename) and its windows keep their names, so that nothing is sent twice.
"""

from __future__ import annotations

import os
from contextlib import suppress

from .errors import StateError
from .journal import sync_folder
from .records import NamedTuple

try:
    import fcntl
except ImportError:  # a system without it has one process a directory
    fcntl = None  # type: ignore[assignment] # a module elsewhere

SCHEMA = 1
"""Of device.json."""
MAX_PROCESSES = 32
_IN_MEMORY = (
    "Counts are kept in memory and are lost when the program ends. Name another directory (`state=`, EDGEKIT_STATE)."
)


def default_state(model: str) -> str:
    """Where a model's state is unless the program says so: EDGEKIT_STATE, or the user's state folder."""
    base = os.environ.get("EDGEKIT_STATE")
    if not base:
        base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
        base = os.path.join(base, "edgekit")
    return os.path.join(base, "".join([c if c.isalnum() or c in "-_." else "_" for c in model]).lstrip(".") or "model")


class Claim(NamedTuple):
    """A process's own folder; it is its own as long as `lock` is open."""

    folder: str
    lock: int

    def release(self) -> None:
        """Gives the folder back."""
        os.close(self.lock)


def claim(state: str) -> Claim:
    """Takes the first free folder below `state`; makes what is missing.

    Raises:
        StateError: the directory cannot be used, or too many processes use it.
    """
    try:
        for number in range(MAX_PROCESSES):
            folder = os.path.join(state, str(number))
            os.makedirs(folder, mode=0o700, exist_ok=True)
            taken = try_lock(folder)
            if taken is not None:
                return Claim(folder, taken)
    except OSError as error:
        raise StateError("Telemetry cannot keep its state in %s: %s. %s" % (state, error, _IN_MEMORY)) from error
    raise StateError("%d processes use %s at the same time already." % (MAX_PROCESSES, state))


def try_lock(folder: str) -> int | None:
    """The open lock of a folder, or None if another process has it.

    Raises:
        OSError: it cannot be opened.
    """
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
    return lock


def orphans(state: str, own: Claim) -> list[str]:
    """Journals that ended processes left, moved into our own folder; also those of a take-over that was cut short."""
    with suppress(OSError):
        for name in sorted(os.listdir(state)):
            folder = os.path.join(state, name)
            journal = os.path.join(folder, "journal")
            if not name.isdigit() or folder == own.folder or not os.path.exists(journal):
                continue
            lock = try_lock(folder)
            if lock is None:
                continue
            try:
                if os.path.getsize(journal):
                    os.replace(journal, os.path.join(own.folder, "adopted-%s" % os.urandom(8).hex()))
                else:
                    os.unlink(journal)
                sync_folder(own.folder)
            finally:
                os.close(lock)
    with suppress(OSError):
        return [
            os.path.join(own.folder, name) for name in sorted(os.listdir(own.folder)) if name.startswith("adopted-")
        ]
    return []


class Identity(NamedTuple):
    """Who a device is to its collector. Without a key it has not enrolled yet."""

    device: str
    key_id: str = ""
    key: bytes = b""
    collector: str = ""


def load_identity(state: str) -> Identity | None:
    """What device.json says; None if there is none.

    Raises:
        StateError: it cannot be read or understood.
    """
    import json

    path = os.path.join(state, "device.json")
    try:
        with open(path, "rb") as file:
            fields = json.loads(file.read().decode("utf-8"))
        if fields["schema"] != SCHEMA:
            raise StateError("%s has schema %r; this version reads %d." % (path, fields["schema"], SCHEMA))
        return Identity(fields["device"], fields["key_id"], bytes.fromhex(fields["key"]), fields["collector"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StateError("%s cannot be read: %s. Remove it, and enrol the device again." % (path, error)) from error


def save_identity(state: str, identity: Identity) -> None:
    """Writes device.json, readable by its owner only.

    Raises:
        OSError: as the system says it.
    """
    import json

    path = os.path.join(state, "device.json")
    fields = dict(identity._asdict(), key=identity.key.hex(), schema=SCHEMA)
    temporary = "%s.tmp-%d" % (path, os.getpid())
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump(fields, file)
        file.flush()
        os.fsync(fd)
    os.replace(temporary, path)
