"""The device's lock: one user at a time, told to the others by name, and never stuck.

It is a folder ROOT/lock, because making a folder either succeeds or fails. Inside: who holds it and since when
(owner.json), and a lease by the device's own clock (docs/formats/device-store.md). A lock is free again when

- its holder releases it, on any way out of the block;
- its lease of 15 minutes ends: the link went down, and nobody renewed it;
- whoever asks can see that the holder is dead: a process of this very machine that is gone, or a lock that this
  process could not release when its link went down. So the attempt after a cut works at once.

A lock that is held may be asked for again by the same `Device`: it is the same lock.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import sys
import time
import uuid
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit.devices.scripts import LOCK
from edgekit.errors import DeviceBusyError, DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgekit.devices.device import Device

LEASE_S = 15 * 60
RENEW_S = LEASE_S / 3
POLL_S = 0.5
_lost: set[str] = set()
"""Tokens of locks that this process could not release."""


class Owner(msgspec.Struct, frozen=True):
    """Who holds a lock (owner.json)."""

    who: str
    since: str
    purpose: str
    token: str
    machine: str = ""
    pid: int = 0
    schema: int = 1


class Lock:
    """A lock that is held. `renew` it at least every 15 minutes; `keep` renews it when it is time."""

    def __init__(self, device: Device, owner: Owner, lease_s: int) -> None:
        self._device = device
        self._lease_s = lease_s
        self.owner = owner
        self.renewed_at = time.monotonic()

    def renew(self) -> None:
        """Starts the lease anew.

        Raises:
            DeviceBusyError: the lease had ended and somebody else holds the lock now.
        """
        busy = _ask(self._device, "renew", self.owner, self._lease_s)
        if busy is not None:
            raise _busy(self._device, busy, lost=True)
        self.renewed_at = time.monotonic()

    def keep(self) -> None:
        """Renews the lease if a third of it has passed; else does nothing. For loops that take long."""
        if time.monotonic() - self.renewed_at > self._lease_s / 3:
            self.renew()


@contextmanager
def locked(device: Device, purpose: str, wait_s: float, lease_s: int = LEASE_S) -> Iterator[Lock]:
    """Holds the device's lock during a block; see `Device.lock`."""
    owner = Owner(
        who=f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()})",
        since=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        purpose=purpose,
        token=secrets.token_hex(16),
        machine=_machine(),
        pid=os.getpid(),
    )
    try:
        _acquire(device, owner, wait_s, lease_s)
        yield Lock(device, owner, lease_s)
    finally:
        try:
            _ask(device, "release", owner, lease_s)
        except DeviceError:  # the link is down: the lease, or our next attempt, frees the lock
            _lost.add(owner.token)


def _acquire(device: Device, owner: Owner, wait_s: float, lease_s: int) -> None:
    deadline = time.monotonic() + wait_s
    steal = ""
    while (busy := _ask(device, "acquire", owner, lease_s, steal)) is not None:
        if busy.owner is not None and _is_dead(busy.owner) and steal != busy.owner.token:
            steal = busy.owner.token
            continue
        if time.monotonic() + POLL_S > deadline:
            raise _busy(device, busy)
        time.sleep(POLL_S)


class _Busy(msgspec.Struct, frozen=True):
    owner: Owner | None
    expires_in_s: int


def _ask(device: Device, op: str, owner: Owner, lease_s: int, steal: str = "") -> _Busy | None:
    """One round trip. None: done."""
    answer = device.script(
        LOCK,
        device.root,
        op,
        owner.token,
        str(lease_s),
        msgspec.json.encode(owner).decode(),
        steal,
        step=f"{'releasing' if op == 'release' else 'taking'} its lock",
        timeout_s=20,
    )
    first, _, rest = answer.partition(b"\n")
    if first.strip() == b"ok":
        return None
    times, _, text = rest.partition(b"\n")
    expires_in = 0
    with suppress(ValueError):
        expires, now = times.split()
        expires_in = max(0, int(expires) - int(now))
    try:
        return _Busy(msgspec.json.decode(text, type=Owner), expires_in)
    except msgspec.MsgspecError:
        return _Busy(None, expires_in)


def _busy(device: Device, busy: _Busy, *, lost: bool = False) -> DeviceBusyError:
    who = "somebody unknown"
    if busy.owner is not None:
        who = f"{busy.owner.who[:100]} since {busy.owner.since[:40]} ({busy.owner.purpose[:100]})"
    if lost:
        return DeviceBusyError(
            f"{device.name} was taken over by {who}: our lease had ended.", remedy="Run it again when it is free."
        )
    minutes = -(-busy.expires_in_s // 60)
    return DeviceBusyError(
        f"{device.name} is in use by {who}.",
        remedy=f"Wait until it is free, or ask them; if they are gone, it frees itself within {minutes} min at most.",
    )


def _machine() -> str:
    """Names this machine, as far as process ids are concerned: boot and pid namespace, else the host."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - what it says, not where it leads
    except OSError:
        return f"{sys.platform} {socket.gethostname()} {uuid.getnode():x}"


def _is_dead(owner: Owner) -> bool:
    if owner.token in _lost:
        return True
    if owner.machine != _machine() or owner.pid <= 0 or owner.pid == os.getpid():
        return False
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
