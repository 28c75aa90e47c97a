"""The `ssh` transport, on paramiko: strict host keys, keys and agent, SFTP with pipelined writes.

Authentication is by key alone: the target's `identity_file` or the user's default keys, then the agent's. Nothing ever
asks for a password. AES-GCM ciphers come first and writes go out without waiting for each answer, which is what makes
uploads as fast as scp's (benchmarks/). A dead link is noticed within about 20 s: the kernel gives up
unacknowledged bytes (TCP_USER_TIMEOUT; a keep-alive every 5 s sees to it that there are some), and no SFTP answer is
awaited for longer.
"""

from __future__ import annotations

import getpass
import logging
import shlex
import socket
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import paramiko

from edgekit.devices.host_keys import KnownHosts
from edgekit.devices.scripts.files import DIAGNOSE
from edgekit.devices.scripts.running import WATCH
from edgekit.devices.sftp import write_pipelined
from edgekit.devices.ssh_process import SshProcess
from edgekit.devices.ssh_sessions import Sessions
from edgekit.devices.transport import Transport
from edgekit.errors import (
    AuthenticationError,
    DeviceError,
    DeviceStorageError,
    RemoteCommandError,
    TargetError,
    UnreachableDeviceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edgekit.devices.process import Process
    from edgekit.devices.source import Source
    from edgekit.devices.target import Target

logging.getLogger("paramiko").addHandler(logging.NullHandler())
"""Else what its threads meet on a lost link is printed on standard error, beside our own error about it."""

DEAD_LINK_S = 20
KEEPALIVE_S = 5
_NOTICED_S = 2
"""How long paramiko's thread may take to see that the link is lost, once a write failed."""
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_FULL_KIB = 64


class SshTransport(Transport):
    """One SSH connection; every command is a channel of it."""

    link_errors: ClassVar[tuple[type[BaseException], ...]] = (OSError, EOFError, paramiko.SSHException)

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        if target.ssh is None:
            raise TargetError(
                f'The target {target.name!r} has transport = "ssh" but no [ssh] table.',
                remedy='Add [ssh] with at least host = "..." to its file.',
            )
        self._ssh = target.ssh
        self._user = target.ssh.user or getpass.getuser()
        self._link: Any = None
        self._sessions: Sessions | None = None

    @property
    def describe(self) -> str:
        return f"ssh {self._user}@{self._ssh.host}:{self._ssh.port}"

    def _connect(self) -> None:
        known = KnownHosts(self.target, self._ssh)
        self._link = self._greet(known)
        try:
            known.check(self._server_key(self._link))
            self._authenticate()
        except BaseException:  # Ctrl-C too: no connection stays open; it is raised again
            self._disconnect()
            raise
        self._link.set_keepalive(KEEPALIVE_S)
        self._sessions = Sessions(self._link, DEAD_LINK_S)

    def host_key(self) -> Any:
        """The key that the device presents; nobody has checked it, and nothing is sent. For pinning it.

        Raises:
            UnreachableDeviceError: no answer within the bound.
        """
        link = self._greet(KnownHosts(self.target, self._ssh))
        try:
            return self._server_key(link)
        finally:
            link.close()

    def _greet(self, known: KnownHosts) -> Any:
        """TCP connection and key exchange, within the target's bound."""
        bound = self._ssh.connect_timeout_s
        link = None
        try:
            sock = socket.create_connection((self._ssh.host, self._ssh.port), timeout=bound)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_LINK_S * 1000)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = paramiko.Transport(sock)
            link.banner_timeout = link.handshake_timeout = link.auth_timeout = bound
            options = link.get_security_options()
            options.ciphers = sorted(options.ciphers, key=lambda name: "-gcm" not in name)
            options.key_types = known.prefer(options.key_types)
            link.start_client(timeout=bound)
            self._server_key(link)
        except (OSError, EOFError, paramiko.SSHException) as error:
            if link is not None:
                link.close()
            raise UnreachableDeviceError(
                f"{self.name} did not answer while connecting: {_reason(error)} (bound: {bound:g} s).",
                remedy="Check its power, network and SSH server, and the `host` and `port` of the target.",
            ) from error
        return link

    @staticmethod
    def _server_key(link: Any) -> Any:
        try:
            return link.get_remote_server_key()
        except paramiko.SSHException as error:  # start_client returns in silence when its time is over
            raise TimeoutError from error

    def _authenticate(self) -> None:
        tried = []
        for name, key in self._keys():
            tried.append(name)
            try:
                self._link.auth_publickey(self._user, key)
            except (OSError, EOFError, paramiko.SSHException) as error:  # a refusal is one of the last
                if not isinstance(error, paramiko.SSHException):
                    self._link.join(_NOTICED_S)  # we noticed a lost link when we sent; its thread has yet to
                if self._link.is_active() and "EOF" not in str(error):
                    continue
                if len(tried) == 1:  # paramiko calls a cut link a failed authentication, with or without "... saw EOF"
                    raise EOFError("the link went down before it took or refused our key") from error
                break  # too many attempts: the device hung up
            return
        raise AuthenticationError(
            f"{self.name} refused us as {self._user!r} (tried: {', '.join(tried) or 'no key, there is none'}).",
            remedy=self._authentication_remedy(),
        )

    def _authentication_remedy(self) -> str:
        file = self._ssh.identity_file or "~/.ssh/id_ed25519"
        port = f"-p {self._ssh.port} " if self._ssh.port != 22 else ""
        return (
            f"Put a public key on the device (ssh-copy-id {port}-i {shlex.quote(file)} "
            f"{shlex.quote(f'{self._user}@{self._ssh.host}')}), or correct `user` and `identity_file` in the target."
        )

    def _keys(self) -> Iterator[tuple[str, Any]]:
        """Keys to try, best first. Files are read when it is their turn."""
        if self._ssh.identity_file is not None:
            file = Path(self._ssh.identity_file)
            yield str(file), self._read_key(file)
        else:
            for name in _DEFAULT_KEYS:
                file = Path("~/.ssh").expanduser() / name
                if file.is_file():
                    with suppress(AuthenticationError):  # an encrypted default key is the agent's business
                        yield str(file), self._read_key(file)
        if self._ssh.use_agent:
            for key in paramiko.Agent().get_keys():
                yield f"agent key {key.get_name()}", key

    def _read_key(self, file: Path) -> Any:
        for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
            try:
                return kind.from_private_key_file(str(file))
            except paramiko.PasswordRequiredException as error:  # noqa: PERF203 - three attempts
                raise AuthenticationError(
                    f"The key {file} for the device {self.target.name!r} is encrypted.",
                    remedy=f"Add it to the agent (ssh-add {shlex.quote(str(file))}), and leave `identity_file` out.",
                ) from error
            except OSError as error:
                raise AuthenticationError(
                    f"The key {file} for the device {self.target.name!r} cannot be read: {error.strerror}.",
                    remedy="Correct `identity_file` in the target.",
                ) from error
            except (paramiko.SSHException, ValueError):
                continue
        raise AuthenticationError(
            f"{file} for the device {self.target.name!r} is not a private key that can be used here.",
            remedy="Name an Ed25519, ECDSA or RSA private key as `identity_file` in the target.",
        )

    def _disconnect(self) -> None:
        if self._sessions is not None:
            self._sessions.close()
            self._sessions = None
        if self._link is not None:
            with suppress(Exception):
                self._link.close()
            self._link = None

    def _alive(self) -> Sessions:
        if self._sessions is None or not self._link.is_active():
            raise EOFError("the link is down")
        return self._sessions

    def _start(self, argv: Sequence[str], *, feeds: bool) -> Process:
        channel = self._alive().take()
        try:
            channel.exec_command(shlex.join(argv if feeds else ["sh", "-c", WATCH, "edgekit", *argv]))
        except BaseException:  # Ctrl-C too: no channel stays open; it is raised again
            channel.close()
            raise
        return SshProcess(channel, self._link)

    def foresee_put(self) -> None:
        with suppress(EOFError, OSError, paramiko.SSHException):
            self._alive().foresee_upload()

    def can_overlap(self) -> bool:
        return self._alive().are_several()

    def _put(self, source: Source, remote: str, *, append: bool, on_bytes: Callable[[int], None]) -> None:
        with self._sftp() as sftp:
            try:
                write_pipelined(sftp, source, remote, append=append, on_bytes=on_bytes)
            except OSError as error:
                if isinstance(error, TimeoutError) or sftp.sock.closed or not self._link.is_active():
                    raise
                failed = error
            else:
                return
        trouble = self._why(remote, failed)
        if not append:
            with suppress(OSError, EOFError, paramiko.SSHException), self._alive().sftp() as sftp:
                sftp.remove(remote)
        raise trouble from failed

    @contextmanager
    def _sftp(self) -> Iterator[Any]:
        with ExitStack() as stack:
            try:
                sftp = stack.enter_context(self._alive().sftp())
            except (EOFError, paramiko.SSHException) as error:
                self._alive()
                raise RemoteCommandError(
                    f"{self.name} has no SFTP, which uploads go through ({_reason(error)}).",
                    remedy="Install it there (Debian: apt install openssh-sftp-server), as a subsystem of its SSH "
                    "server.",
                ) from error
            yield sftp

    def _why(self, remote: str, error: OSError) -> DeviceError:
        """SFTP knows only "Failure": asks the device whether it is full, read-only or closed to us."""
        step = f"writing {remote}"
        folder = remote.rpartition("/")[0] or "/"
        asked = self.run(
            ["sh", "-c", DIAGNOSE, "edgekit", folder],
            timeout_s=DEAD_LINK_S,
            step=f"asking why {step} failed",
        )
        free = asked.stdout.decode("ascii", "replace").strip()
        if free.isdigit() and int(free) < _FULL_KIB:
            return DeviceStorageError(
                f"{self.name} has no space left while {step} ({free} KiB free).",
                remedy="Free some space there, or set another `root` in the target, and run it again.",
            )
        said = asked.stderr.decode("utf-8", "replace").strip() or str(error)
        return self.storage_trouble(step, said) or DeviceStorageError(
            f"{self.name} cannot write while {step}: {said}.",
            remedy="Check the `root` in the target, and run it again.",
        )


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
