"""Host keys: is the machine that answers the one that we mean? Unknown and changed keys are refused, always.

Keys come from the target's `known_hosts`, else from the user's own and the system's files, as `ssh` reads them (hashed
names and `@revoked` lines included). The error for an unknown key carries its fingerprint, as `ssh-keygen -l` prints
it, and the exact command that accepts it; EdgeKit never runs that command itself.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko

from edgekit.errors import HostKeyError

if TYPE_CHECKING:
    from edgekit.devices.settings import SshSettings
    from edgekit.devices.target import Target

USER_FILE = Path("~/.ssh/known_hosts")
SYSTEM_FILE = Path("/etc/ssh/ssh_known_hosts")


def fingerprint(blob: bytes) -> str:
    """`SHA256:...`, as `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


class KnownHosts:
    """What the known_hosts files say of one host."""

    def __init__(self, target: Target, ssh: SshSettings) -> None:
        self._target = target
        self._ssh = ssh
        self._entry = ssh.host if ssh.port == 22 else f"[{ssh.host}]:{ssh.port}"
        if ssh.known_hosts is not None:
            self._files = [Path(ssh.known_hosts)]
        else:
            self._files = [USER_FILE.expanduser(), SYSTEM_FILE]
        self._keys: dict[str, bytes] = {}
        self._origin: dict[str, Path] = {}
        self._revoked: set[bytes] = set()
        for file in self._files:
            self._read(file)

    def _read(self, file: Path) -> None:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        except OSError as error:
            raise HostKeyError(
                f"The known_hosts file {file} of the device {self._target.name!r} cannot be read: {error.strerror}.",
                remedy="Make it readable, or name another one with `known_hosts` in the target.",
            ) from error
        for line in text.splitlines():
            fields = line.split()
            if len(fields) >= 4 and fields[0] == "@revoked":
                self._revoked.add(_decoded(fields[3]))
            elif len(fields) >= 3 and not fields[0].startswith(("#", "@")):
                self._read_entry(fields, file)

    def _read_entry(self, fields: list[str], file: Path) -> None:
        names = fields[0].split(",")
        hashed = [name for name in names if name.startswith("|1|")]
        known = self._entry in names or any(
            paramiko.HostKeys.hash_host(self._entry, name) == name for name in hashed if name.count("|") == 3
        )
        blob = _decoded(fields[2])
        if known and blob and fields[1] not in self._keys:
            self._keys[fields[1]] = blob
            self._origin[fields[1]] = file

    @property
    def any_known(self) -> bool:
        """Whether any key of this host is known: another one would be a changed key."""
        return bool(self._keys)

    def prefer(self, offered: tuple[str, ...]) -> tuple[str, ...]:
        """The signature algorithms that we offer, those first whose keys we know: a device has several keys."""
        return tuple(sorted(offered, key=lambda name: _key_type(name) not in self._keys))

    def check(self, key: Any) -> None:
        """Compares the key that the device presents.

        Raises:
            HostKeyError: unknown, changed or revoked.
        """
        blob, kind = key.asbytes(), key.get_name()
        if blob in self._revoked:
            raise HostKeyError(
                f"The device {self._target.name!r} ({self._entry}) presents a host key that is marked @revoked "
                f"({kind} {fingerprint(blob)}). Nothing was sent.",
                remedy="Do not connect to it: whoever holds that key is not to be trusted.",
            )
        if self._keys.get(kind) == blob:
            return
        raise self._changed(kind, blob) if self._keys else self._unknown(kind, blob)

    def _accept(self, kind: str) -> str:
        port = f"-p {self._ssh.port} " if self._ssh.port != 22 else ""
        file = shlex.quote(str(self._files[0]))
        return f"ssh-keyscan {port}-t {_scan_type(kind)} {shlex.quote(self._ssh.host)} >> {file}"

    def _unknown(self, kind: str, blob: bytes) -> HostKeyError:
        return HostKeyError(
            f"The host key of the device {self._target.name!r} ({self._entry}) is not known in "
            f"{' or '.join(map(str, self._files))}: it presents {kind} {fingerprint(blob)}. Nothing was sent.",
            remedy=f"Compare the fingerprint with the device's own (on it, run: ssh-keygen -lf "
            f"/etc/ssh/ssh_host_{_scan_type(kind)}_key.pub). If they are equal, accept it: {self._accept(kind)}",
        )

    def _changed(self, kind: str, blob: bytes) -> HostKeyError:
        old_kind = kind if kind in self._keys else next(iter(self._keys))
        file = self._origin[old_kind]
        return HostKeyError(
            f"The host key of the device {self._target.name!r} ({self._entry}) HAS CHANGED. Known in {file}: "
            f"{old_kind} {fingerprint(self._keys[old_kind])}; presented now: {kind} {fingerprint(blob)}. "
            f"Somebody may be answering in its place. Nothing was sent.",
            remedy="Only if you know that the device was set up anew, forget the old key: "
            f"ssh-keygen -R {shlex.quote(self._entry)} -f {shlex.quote(str(file))} and then accept the new one: "
            f"{self._accept(kind)}",
        )


def pinned(file: Path, ssh: SshSettings, kind: str, blob: bytes) -> bytes:
    """What a known_hosts file says once a key of a host is added to it."""
    name = ssh.host if ssh.port == 22 else f"[{ssh.host}]:{ssh.port}"
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    before += "" if before.endswith("\n") or not before else "\n"
    return f"{before}{name} {kind} {base64.b64encode(blob).decode()}\n".encode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _key_type(algorithm: str) -> str:
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def _scan_type(kind: str) -> str:
    return "ecdsa" if kind.startswith("ecdsa") else kind.removeprefix("ssh-")
