"""Where the guides are tried: a reader's machine, and a board at the other end of a link that answers as theirs does.

The reader's shell has a home of its own and sees the board by the name that the guide uses. The board is an sshd in
another network namespace (tests/devices/link.py) with the user `pi`, a home, and a Python that has nothing but its
standard library; its processor and its system are this machine's. Names and users are told by files that are mounted
over /etc/hosts and /etc/passwd for these processes alone. It takes root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.docs.guide import Shell

if TYPE_CHECKING:
    from link import Link

REPOSITORY = Path(__file__).parents[2]
BOARD, USER = "raspberrypi.local", "pi"
_SHOWN = """
mount --make-rprivate / && mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/passwd || exit 1
ip link set lo up && shift 2 && exec "$@"
"""
_START_S = 20.0


class Stage:
    """A reader's home, in `folder`, and the board behind `link`, which goes on from guide to guide."""

    def __init__(self, folder: Path, link: Link) -> None:
        self.folder = folder
        self.link = link
        self.home, self.board_home = folder / "home", folder / "board"
        for made in (self.home / ".ssh", self.board_home / "bin"):
            made.mkdir(parents=True)
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{link.far} {BOARD}\n")
        (folder / "passwd").write_text(
            f"root:x:0:0::{self.home}:/bin/sh\n{USER}:x:0:0::{self.board_home}:/bin/sh\n"
            + "".join(line for line in Path("/etc/passwd").read_text().splitlines(True) if not line.startswith("root:"))
        )

    def _inside(self, *unshared: str) -> list[str]:
        files = [str(self.folder / name) for name in ("hosts", "passwd")]
        return ["unshare", "--mount", *unshared, "--", "sh", "-c", _SHOWN, "sh", *files]

    def shell(self, name: str, *, alone: bool = False) -> Shell:
        """The reader's shell, in a project of that name with `models` in it. All that it starts ends with it.

        `alone`: with a loopback of its own, so that the ports that a guide names are free, and no other network.
        """
        project = self.folder / name
        project.mkdir()
        (project / "models").symlink_to(REPOSITORY / "models")
        return Shell(project, self.environment, [*self.inside(alone=alone), "bash"])

    @property
    def environment(self) -> dict[str, str]:
        """The reader's: ours, with another home, in which pip and npm still find the indexes that are set up here."""
        ours = Path.home()
        return {
            "PIP_CONFIG_FILE": str(ours / ".config" / "pip" / "pip.conf"),
            "NPM_CONFIG_USERCONFIG": str(ours / ".npmrc"),
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "COLUMNS": "150",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
        }

    def inside(self, *, alone: bool = False) -> list[str]:
        """Put before a command line, it runs that as the reader would."""
        return self._inside("--pid", "--fork", "--kill-child", "--mount-proc", *(["--net"] if alone else []))

    def boot(self) -> None:
        """Starts the board, whose host key the reader has accepted, and which has the reader's key (`ssh-copy-id`)."""
        python = self.folder / "python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", python], check=True)
        (self.board_home / "bin" / "python3").symlink_to(python / "bin" / "python")
        key, host_key = self.home / ".ssh" / "id_ed25519", self.folder / "host_key"
        for path in (key, host_key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guide", "-f", path], check=True)
        public = Path(f"{host_key}.pub").read_text().split()[:2]
        (self.home / ".ssh" / "known_hosts").write_text(f"{BOARD} {' '.join(public)}\n")
        shutil.copy(f"{key}.pub", self.folder / "authorized_keys")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        (self.folder / "sshd_config").write_text(
            f"""ListenAddress {self.link.far}
HostKey {host_key}
AuthorizedKeysFile {self.folder / "authorized_keys"}
PidFile none
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
UsePAM no
PrintMotd no
SetEnv PATH="{self.board_home / "bin"}:/usr/bin:/bin"
Subsystem sftp internal-sftp
"""
        )
        sshd = [str(shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")), "-D", "-e", "-f"]
        with (self.folder / "sshd.log").open("wb") as log:
            process = self.link.popen([*self._inside(), *sshd, str(self.folder / "sshd_config")], stderr=log)
        end = time.monotonic() + _START_S
        while b"listening" not in (self.folder / "sshd.log").read_bytes():
            assert process.poll() is None, (self.folder / "sshd.log").read_text()
            assert time.monotonic() < end, "sshd does not start"
            time.sleep(0.02)
