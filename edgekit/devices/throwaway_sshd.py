"""A real SSH server on loopback that lives as long as a `with` block: the "device" of the demo and of the tests.

It has its own host key and user key, its own home folder, listens on 127.0.0.1 only unless told otherwise, and accepts
that one key. It is no safer than a shell on this machine for whoever can read its folder, and nobody else can.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import EdgeKitError
from edgekit.files import write_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_START_S = 10.0
_ATTEMPTS = 3


class ThrowawaySshd:
    """An sshd with keys of its own.

    Args:
        folder: where its keys, configuration and home folder go; a temporary one that `stop` removes by default.
        home: the HOME of its sessions; FOLDER/home by default.
        address: where it listens.
        enter: put before its command line, such as what runs it in another network namespace.
    """

    def __init__(
        self,
        folder: Path | None = None,
        home: Path | None = None,
        *,
        address: str = "127.0.0.1",
        enter: Sequence[str] = (),
        max_sessions: int = 10,
    ) -> None:
        self.address = address
        self._enter = list(enter)
        self._max_sessions = max_sessions
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="edgekit-sshd-"))
        self.home = home or self.folder / "home"
        self.host_key = self.folder / "host_key"
        self.identity_file = self.folder / "user_key"
        self.known_hosts = self.folder / "known_hosts"
        self.log = self.folder / "sshd.log"
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ThrowawaySshd:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> ThrowawaySshd:
        """Starts it and waits until it answers.

        Raises:
            EdgeKitError: no sshd is installed, or it does not start.
        """
        sshd, keygen = _program("sshd"), _program("ssh-keygen")
        if os.geteuid() == 0:
            with suppress(OSError):  # what Debian's sshd wants as root, and its service would have made
                Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.home.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        for key in (self.host_key, self.identity_file):
            if not key.exists():
                subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "edgekit", "-f", str(key)], check=True)
        shutil.copyfile(f"{self.identity_file}.pub", self.folder / "authorized_keys")
        for _ in range(_ATTEMPTS):  # between choosing a port and listening on it, somebody else may take it
            self.port = _free_port()
            if self._listen(sshd):
                host_key = Path(f"{self.host_key}.pub").read_text(encoding="ascii").split()[:2]
                write_file(self.known_hosts, f"[{self.address}]:{self.port} {' '.join(host_key)}\n".encode())
                return self
        log = self.log.read_text(encoding="utf-8", errors="replace")[-500:] if self.log.exists() else "it said nothing"
        self.stop()
        raise EdgeKitError(f"{sshd} does not start: {log.strip()}", remedy="Use the target `local` instead.")

    def stop(self) -> None:
        """Ends it, and removes its folder if that is its own. Sessions end when their clients close them."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The listening process; its children are the sessions."""
        assert self._process is not None
        return self._process.pid

    def write_target(self, path: Path, name: str, root: str, *, python: str = sys.executable, port: int = 0) -> Path:
        """Writes a target file that reaches it.

        Args:
            path: the file to write.
            name: the target's name.
            root: EdgeKit's folder on the "device".
            python: the Python that runs the runner there.
            port: another port, where something stands in between.
        """
        port = port or self.port
        if port != self.port:
            key = self.known_hosts.read_text(encoding="ascii").splitlines()[0].partition(" ")[2]
            known = self.folder / f"known_hosts_{port}"
            write_file(known, f"[127.0.0.1]:{port} {key}\n".encode())
        else:
            known = self.known_hosts
        lines = [
            "schema = 1",
            f"name = {_toml(name)}",
            'transport = "ssh"',
            'description = "a throw-away sshd on this machine"',
            f"root = {_toml(root)}",
            f"python = {_toml(python)}",
            "",
            "[ssh]",
            f"host = {_toml('127.0.0.1' if port != self.port else self.address)}",
            f"port = {port}",
            f"user = {_toml(self.user)}",
            f"identity_file = {_toml(str(self.identity_file))}",
            f"known_hosts = {_toml(str(known))}",
            "use_agent = false",
            "",
        ]
        write_file(path, "\n".join(lines).encode())
        return path

    def _listen(self, sshd: str) -> bool:
        configuration = self.folder / "sshd_config"
        configuration.write_text(
            f"""Port {self.port}
ListenAddress {self.address}
HostKey "{self.host_key}"
AuthorizedKeysFile "{self.folder / "authorized_keys"}"
PidFile "{self.folder / "sshd.pid"}"
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
StrictModes no
MaxSessions {self._max_sessions}
UsePAM no
UseDNS no
PrintMotd no
X11Forwarding no
SetEnv HOME="{self.home}"
Subsystem sftp internal-sftp
""",
            encoding="utf-8",
        )
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._enter, sshd, "-D", "-e", "-f", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers():
                return True
            time.sleep(0.01)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        return False

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=1) as sock:
                return sock.recv(4) == b"SSH-"
        except OSError:
            return False


def _program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
    if found is None:
        raise EdgeKitError(
            f"There is no {name} on this machine, so no SSH device can be made of it.",
            remedy="Install it (Debian: apt install openssh-server), or use the target `local`.",
        )
    return found


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _toml(text: str) -> str:
    """A TOML basic string: JSON's escapes are among TOML's."""
    return json.dumps(text)
