"""The device's lock: one user at a time, told to the others by name, and never stuck.

It is a folder ROOT/lock, because making a folder either succeeds or fails. Inside: who holds it and since when
(owner.json), and a lease by the device's own clock (docs/formats/device-store.md). A lock is free again when

- its holder releases it, on any way out of the block;
- its lease of 15 minutes ends: the link went down, and nobody renewed it;
- whoever asks can see that the holder is dead: a process of this very machine that is gone, or a lock that this
  process could not release when its link went down. So the attempt after a cut works at once.

A lock that is held may be asked for again by the same `Device`: it is the same lock. Whoever finds it held learns by
whom, since when, for what and how long at most (`Holder`); `holder` looks without asking for it, and `unlock` breaks
one holding on purpose.
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
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from edgekit.devices.scripts.lock import LOCK
from edgekit.errors import DeviceBusyError, DeviceError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.devices.device import Device

LEASE_S = 15 * 60
RENEW_S = LEASE_S / 3
POLL_S = 0.5
MAX_POLL_S = 5.0
TELL_AGAIN_S = 60.0
Ask: TypeAlias = "Callable[[tuple[str, str, str, str]], bytes]"
"""Runs `LOCK acquire` with these last four words, perhaps among other things; gives what `LOCK` says."""
_lost: set[str] = set()
"""Tokens of locks that this process could not release."""


class NotNeededError(Exception):
    """Raised by an `Ask` that found that nothing has to be done: the lock was not asked for."""


class Owner(msgspec.Struct, frozen=True):
    """Who holds a lock (owner.json)."""

    who: str
    since: str
    purpose: str
    token: str
    machine: str = ""
    pid: int = 0
    schema: int = 1


_OWNER = msgspec.json.Decoder(Owner)
"""Made here: msgspec 0.22 crashes when two threads look at a type for the first time at once."""


class Holder(msgspec.Struct, frozen=True):
    """Who is in the way. `owner` is None where the lock's file says nothing sensible."""

    owner: Owner | None
    expires_in_s: int

    @property
    def who(self) -> str:
        """`ann@desk (process 7) since 2026-11-27T10:00:00+00:00 (bench)`, from the device and so cut short."""
        if self.owner is None:
            return "somebody unknown"
        return printable(f"{self.owner.who[:100]} since {self.owner.since[:40]} ({self.owner.purpose[:100]})")

    @property
    def told(self) -> str:
        """For people: who, and until when at most unless it is renewed."""
        return f"in use by {self.who}, lease ends in {-(-self.expires_in_s // 60)} min unless it is renewed"


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
def locked(
    device: Device,
    purpose: str,
    wait_s: float,
    lease_s: int = LEASE_S,
    on_wait: Callable[[Holder], None] | None = None,
    ask: Ask | None = None,
) -> Iterator[Lock]:
    """Holds the device's lock during a block; see `Device.lock`."""
    is_asked = True
    owner = Owner(
        who=this_process(),
        since=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        purpose=purpose,
        token=secrets.token_hex(16),
        machine=_machine(),
        pid=os.getpid(),
    )
    try:
        _acquire(device, owner, wait_s, lease_s, on_wait or (lambda _: None), ask)
        yield Lock(device, owner, lease_s)
    except NotNeededError:
        is_asked = False
        raise
    finally:
        if is_asked:
            try:
                _ask(device, "release", owner, lease_s)
            except DeviceError:  # the link is down: the lease, or our next attempt, frees the lock
                _lost.add(owner.token)


def holder(device: Device) -> Holder | None:
    """Who holds the device's lock now; None if it is free. Changes nothing."""
    return _ask(device, "look", Owner("", "", "", ""), LEASE_S)


def unlock(device: Device, found: Holder) -> bool:
    """Breaks the lock that `found` holds; False if by now it is free or somebody else's.

    Whoever held it notices at the next renewal, and stops. Nothing of what it was doing is undone.
    """
    if found.owner is None:
        raise DeviceBusyError(
            f"{device.name} is locked by somebody whose name cannot be read.",
            remedy=f"It frees itself within {-(-found.expires_in_s // 60)} min at most.",
        )
    now = holder(device)
    if now is None or now.owner is None or now.owner.token != found.owner.token:
        return False
    return _ask(device, "release", found.owner, LEASE_S) is None and holder(device) is None


def _acquire(
    device: Device, owner: Owner, wait_s: float, lease_s: int, on_wait: Callable[[Holder], None], ask: Ask | None
) -> None:
    deadline = time.monotonic() + wait_s
    steal, pause = "", POLL_S
    told, told_at = "", 0.0
    while (busy := _ask(device, "acquire", owner, lease_s, steal, ask)) is not None:
        if busy.owner is not None and _is_dead(busy.owner) and steal != busy.owner.token:
            steal = busy.owner.token
            continue
        left = deadline - time.monotonic()
        if left <= 0:
            raise _busy(device, busy)
        if busy.who != told or time.monotonic() - told_at > TELL_AGAIN_S:
            on_wait(busy)
            told, told_at = busy.who, time.monotonic()
        time.sleep(min(pause, left))
        pause = min(1.5 * pause, MAX_POLL_S)


def _ask(
    device: Device, op: str, owner: Owner, lease_s: int, steal: str = "", ask: Ask | None = None
) -> Holder | None:  # fmt: skip
    """One round trip. None: done, or free."""
    words = (owner.token, str(lease_s), msgspec.json.encode(owner).decode(), steal)
    step = {"release": "releasing its lock", "look": "asking who uses it"}.get(op, "taking its lock")
    answer = ask(words) if ask else device.script(LOCK, device.root, op, *words, step=step, timeout_s=20)
    first, _, rest = answer.partition(b"\n")
    if first.strip() == b"ok":
        return None
    times, _, text = rest.partition(b"\n")
    expires_in = 0
    with suppress(ValueError):
        expires, now = times.split()
        expires_in = max(0, int(expires) - int(now))
    try:
        return Holder(_OWNER.decode(text), expires_in)
    except msgspec.MsgspecError:
        return Holder(None, expires_in)


def _busy(device: Device, busy: Holder, *, lost: bool = False) -> DeviceBusyError:
    if lost:
        return DeviceBusyError(
            f"{device.name} was taken over by {busy.who}: our lease had ended, or somebody broke the lock.",
            remedy="Run it again when it is free.",
        )
    minutes = -(-busy.expires_in_s // 60)
    return DeviceBusyError(
        f"{device.name} is in use by {busy.who}.",
        remedy=f"Wait until it is free (--wait {max(minutes, 1)}m), or ask them; if they are gone, it frees itself "
        f"within {minutes} min at most. To break it on purpose: edgekit targets unlock {device.target.name}",
    )


def this_process() -> str:
    """Who works here, as others are told: `user@host (process N)`."""
    return f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()})"


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
