"""Who may send: devices, their keys, and the tokens that devices are enrolled with.

No key of a device is stored. It is derived from a *master key* that lives in a file beside the database, readable by
its owner only, and never in the database: HMAC-SHA256(master key, device and key id). So a stolen backup of the
database signs nothing. A key id names the master key that it was made from, and the file may hold several (a line
each, the first one makes new keys): that is how the master key itself is rotated. Tokens are stored as hashes.

A device may have several keys at once, which is how keys are rotated: enrol or add a second one, let the device use it,
revoke the first. A revocation holds from the next commit on, in every collector of the database.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.errors import AccessError, TelemetryError
from edgekit.files import write_file
from edgekit.telemetry.collector.rollups import next_generation
from edgekit.telemetry.reporter.envelope import MAX_NAME_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.telemetry.collector.database import Cursor, Database

KEY_BYTES = 32
REFUSED = "The token is wrong, used up or out of date."


@dataclass(frozen=True)
class IssuedKey:
    """A key as its device gets it, once."""

    device: str
    key_id: str
    key: bytes


@dataclass(frozen=True)
class KeyEntry:
    """A key as the collector knows it."""

    device: str
    cohort: str
    key: bytes
    revoked: bool


@dataclass(frozen=True)
class KeyRow:
    """A key as lists show it."""

    key_id: str
    device: str
    cohort: str
    created_s: int
    revoked_s: int | None


class MasterKeys:
    """The master keys of a file, the current one first."""

    def __init__(self, keys: list[bytes]) -> None:
        self._by_id = {hashlib.sha256(key).hexdigest()[:8]: key for key in keys}
        self._current = next(iter(self._by_id))

    @classmethod
    def load(cls, path: Path, *, create: bool = True) -> MasterKeys:
        """Reads the file; makes it, with a new key, where there is none and `create` is true.

        Raises:
            AccessError: others may read it, or it holds no keys.
            StorageError: it cannot be written.
        """
        if create and not path.exists():
            with _private_umask():
                write_file(path, secrets.token_hex(KEY_BYTES).encode() + b"\n")
        try:
            mode = path.stat().st_mode
            lines = path.read_text("ascii").split()
            keys = [bytes.fromhex(line) for line in lines]
        except (OSError, ValueError) as error:
            raise AccessError(
                f"The master key {path} cannot be read: {error}.",
                remedy="Put it back from your backup: without it no device can be verified.",
            ) from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AccessError(f"Others than its owner may read the master key {path}.", remedy=f"chmod 600 {path}")
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise AccessError(
                f"{path} holds no master key: a line of {2 * KEY_BYTES} hex digits for each.",
                remedy="Put it back from your backup, or move it away to have a new one made.",
            )
        return cls(keys)

    def new_id(self) -> str:
        """A key id that was never used, of the current master key."""
        return f"{self._current}-{secrets.token_hex(6)}"

    def derive(self, device: str, key_id: str) -> bytes | None:
        """The device's key; None if the master key that it was made from is not in the file."""
        master = self._by_id.get(key_id.partition("-")[0])
        if master is None:
            return None
        return hmac.digest(master, b"edgekit device key\0" + device.encode() + b"\0" + key_id.encode(), "sha256")


class Keys:
    """Enrolment and keys in a database. Every method is one transaction.

    Each may raise `StoreUnavailableError`.
    """

    def __init__(self, database: Database, masters: MasterKeys) -> None:
        self._database = database
        self._masters = masters

    def find(self, key_id: str) -> KeyEntry | None:
        """The key of that id; None if it is unknown, or its master key is."""
        with self._database.read() as cursor:
            rows = cursor.rows(
                "SELECT k.device, d.cohort, k.revoked_s FROM device_keys k JOIN devices d ON d.device = k.device"
                " WHERE k.key_id = ?",
                (key_id,),
            )
        if not rows:
            return None
        device, cohort, revoked_s = rows[0]
        key = self._masters.derive(device, key_id)
        return None if key is None else KeyEntry(device, cohort, key, revoked_s is not None)

    def new_token(self, *, uses: int, valid_s: int, cohort: str = "", note: str = "") -> str:
        """A token that enrols `uses` devices within `valid_s` seconds. It is shown once and stored as a hash."""
        token = secrets.token_urlsafe(24)
        now = int(time.time())
        with self._database.write() as cursor:
            cursor.run(
                "INSERT INTO tokens (digest, cohort, note, created_s, expires_s, uses_left) VALUES (?, ?, ?, ?, ?, ?)",
                (_digest(token), cohort, note, now, now + valid_s, uses),
            )
        return token

    def enrol(self, token: str, device: str | None) -> IssuedKey | None:
        """Takes a device in with a token. None if the device has a key already: then nothing is used up.

        Raises:
            AccessError: the token is wrong, used up or out of date.
            TelemetryError: the device's name is none.
        """
        name = device or f"device-{secrets.token_hex(6)}"
        check_name(name)
        with self._database.read() as cursor:  # a stranger's guesses must not keep others from writing
            if not cursor.rows("SELECT 1 FROM tokens WHERE digest = ?", (_digest(token),)):
                raise AccessError(REFUSED, remedy="Ask for a new one.")
        with self._database.write() as cursor:
            now = int(time.time())
            rows = cursor.locked("SELECT cohort, uses_left, expires_s FROM tokens WHERE digest = ?", (_digest(token),))
            if not rows or rows[0][1] < 1 or rows[0][2] < now:
                raise AccessError(REFUSED, remedy="Ask for a new one.")
            if self._active_keys(cursor, name):
                return None
            cursor.run("UPDATE tokens SET uses_left = uses_left - 1 WHERE digest = ?", (_digest(token),))
            return self._issue(cursor, name, rows[0][0], now)

    def add(self, device: str, *, cohort: str | None = None) -> IssuedKey:
        """A further key for a device, which may be new; its other keys go on working.

        Raises:
            TelemetryError: the device's name is none.
        """
        check_name(device)
        with self._database.write() as cursor:
            return self._issue(cursor, device, cohort, int(time.time()))

    def _issue(self, cursor: Cursor, device: str, cohort: str | None, now: int) -> IssuedKey:
        cursor.run(
            "INSERT INTO devices (device, cohort, enrolled_s) VALUES (?, ?, ?) ON CONFLICT (device) DO UPDATE"
            " SET enrolled_s = COALESCE(devices.enrolled_s, excluded.enrolled_s)",
            (device, cohort or "", now),
        )
        if cohort is not None:
            moved = "UPDATE devices SET cohort = ? WHERE device = ? AND cohort <> ?"
            if cursor.run(moved, (cohort, device, cohort)):
                next_generation(cursor)
        key_id = self._masters.new_id()
        cursor.run("INSERT INTO device_keys (key_id, device, created_s) VALUES (?, ?, ?)", (key_id, device, now))
        key = self._masters.derive(device, key_id)
        assert key is not None
        return IssuedKey(device, key_id, key)

    def revoke(self, *, key_id: str | None = None, device: str | None = None) -> list[str]:
        """Revokes a key, or all keys of a device; tells which.

        Raises:
            AccessError: there is no such key that is not revoked.
        """
        with self._database.write() as cursor:
            column, value = ("key_id", key_id) if key_id else ("device", device)
            select = f"SELECT key_id FROM device_keys WHERE revoked_s IS NULL AND {column} = ?"
            found = [row[0] for row in cursor.locked(select, (value,))]
            if not found:
                raise AccessError(
                    f"There is no key in use of {column.replace('_', ' ')} {value!r}.",
                    remedy="`edgekit telemetry keys list` shows them.",
                )
            now = int(time.time())
            cursor.each("UPDATE device_keys SET revoked_s = ? WHERE key_id = ?", [(now, each) for each in found])
            next_generation(cursor)
        return found

    def rows(self, device: str | None = None) -> list[KeyRow]:
        """Keys by device, the oldest first."""
        where = "" if device is None else " WHERE k.device = ?"
        sql = (
            "SELECT k.key_id, k.device, d.cohort, k.created_s, k.revoked_s FROM device_keys k"
            f" JOIN devices d ON d.device = k.device{where} ORDER BY k.device, k.created_s, k.key_id"
        )
        with self._database.read() as cursor:
            return [KeyRow(*row) for row in cursor.rows(sql, () if device is None else (device,))]

    def _active_keys(self, cursor: Cursor, device: str) -> bool:
        sql = "SELECT 1 FROM device_keys WHERE device = ? AND revoked_s IS NULL LIMIT 1"
        return bool(cursor.rows(sql, (device,)))


def check_name(device: str) -> None:
    """Refuses what an envelope could not carry.

    Raises:
        TelemetryError: it is empty, too long or cannot be printed.
    """
    if not 1 <= len(device.encode("utf-8", "replace")) <= MAX_NAME_BYTES or not device.isprintable():
        raise TelemetryError(
            f"{device!r} is no device's name.", remedy=f"Use 1 to {MAX_NAME_BYTES} bytes of printable text."
        )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


class _private_umask:  # noqa: N801 - reads as a verb
    def __enter__(self) -> None:
        self._before = os.umask(0o177)

    def __exit__(self, *_: object) -> None:
        os.umask(self._before)
