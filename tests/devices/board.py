"""An aarch64 board: a Debian arm64 root under user-mode emulation, with an SSH server, adbd, Python and LiteRT inside.

    with Link() as link, Board(link, tmp_path) as board:
        target = load_target(str(board.write_target(tmp_path / "board.toml", "pi")))

Everything that runs in it is a real aarch64 program, and finds an aarch64 machine around it: it has its own root,
processes, network (the far end of a `Link`, which can be slowed and cut), processor description, temperature and boot
id. The kernel is this machine's: qemu runs one program at a time, by binfmt_misc, which is registered here if it is
not yet. Emulated latency is hundreds of times a real board's: it proves correctness and protocol, never speed.

The root and the wheels are made once and cached (debian_root.py); what a board writes goes to a folder of the test.
`power_off` is a power cut: nothing is asked, everything is killed. `power_on` after it is another boot of the same
disk, with a boot id of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from debian_root import debian_root

from edgekit.files import cache_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from link import Link

PACKAGES = (
    "adbd", "coreutils", "dash", "dropbear-bin", "findutils", "grep", "libc-bin", "libstdc++6",
    "openssh-sftp-server", "procps", "python3", "sed",
)  # fmt: skip
PYTHON = "3.13"
"""What trixie has."""
RUNTIMES = (
    "numpy==2.3.5", "ai-edge-litert==2.3.0", "apache-tvm==0.26.0", "apache-tvm-ffi==0.1.13.post3",
    "typing-extensions==4.12.2",
)  # fmt: skip
"""As in constraints.txt. Of apache-tvm only the runtime's library is kept, which is all that a device needs."""
ADB_PORT = 15660
_START_S = 20
_INTERPRETER = "/usr/bin/qemu-aarch64-static"
_MAGIC = "7f454c460201010000000000000000000200b700"
_MASK = "ffffffffffffff00fffffffffffffffffeffffff"
"""Of an executable or a library for aarch64, little endian."""

_CPU = "QEMU_CPU=cortex-a53"
"""The processor that is emulated. qemu's own choice has every extension there is: LiteRT's int8 kernels then give wrong
answers under qemu 7.2 (-1.8 dB; right on this one), and pointer authentication makes all of it several times slower."""
_SHELL = "/usr/bin/board-shell"
"""Root's: dropbear gives its sessions no environment, and qemu reads that setting from there."""

CORE = """processor\t: {core}
BogoMIPS\t: 125.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd03
CPU revision\t: 4

"""
"""A Cortex-A53 as Linux describes it. The host's description of an x86 processor makes LiteRT crash."""

_WHEELS = "/opt\nimport sys; sys.pycache_prefix = '/opt/.pycache'\n"
"""Packages are found in /opt, and what was compiled of them and of Python: that takes half a minute under emulation."""

_WARM = """
import ctypes, importlib, importlib.metadata, json, platform, zipfile, zipimport
for name in ("numpy", "ai_edge_litert.interpreter", "tvm_ffi"):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
"""

_BOOT = r"""
set -e
root=$1 disk=$2 wheels=$3 disk_size=$4 port=$5 adb_port=$6 python=$7 listener=$8 cpu=$9
mount --make-rprivate /
mount --bind "$root" "$disk/mnt"
mount -o remount,bind,ro "$disk/mnt"
root=$disk/mnt
for name in root data tmp run etc/dropbear; do
  mkdir -p "$disk/fs/$name"
  mount --bind "$disk/fs/$name" "$root/$name"
done
[ -z "$disk_size" ] || mount -t tmpfs -o "size=$disk_size" tmpfs "$root/data"
mount --bind "$wheels" "$root/opt"
mount -t proc proc "$root/proc"
mount --bind "$disk/cpuinfo" "$root/proc/cpuinfo"
mount --bind "$disk/boot_id" "$root/proc/sys/kernel/random/boot_id"
mount -t sysfs -o ro sysfs "$root/sys"
mount --bind "$disk/thermal" "$root/sys/class/thermal"
mount -t tmpfs -o size=16m tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
for name in null zero full random urandom tty; do cp -a "/dev/$name" "$root/dev/"; done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
hostname edgekit-board
[ -e "$root/etc/dropbear/key" ] ||
  env "$cpu" chroot "$root" /usr/bin/dropbearkey -t ed25519 -f /etc/dropbear/key > "$disk/host_key"
env -i "$cpu" PATH=/usr/bin:/usr/sbin HOME=/root "$python" -S -c "$listener" "$port" \
  chroot "$root" /usr/sbin/dropbear -i -E -s -r /etc/dropbear/key &
[ -z "$adb_port" ] ||
  env -i "$cpu" PATH=/system/bin:/usr/bin:/usr/sbin HOME=/root TMPDIR=/data/local/tmp ADBD_PORT="$adb_port" \
    chroot "$root" /usr/sbin/adbd &
wait
"""
"""$1 root, $2 disk, $3 the wheels, $4 size of /data or "", $5 the SSH port, $6 adbd's or "", $7 this Python,
$8 _LISTENER, $9 _CPU."""

_LISTENER = """
import signal, socket, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
server = socket.create_server(("", int(sys.argv[1])))
while True:
    connection, _ = server.accept()
    subprocess.Popen(sys.argv[2:], stdin=connection, stdout=connection)
    connection.close()
"""
"""Starts an SSH server per connection, as inetd does. dropbear's own listener starts itself anew from an open file,
which qemu cannot."""


class Board:
    """The board. It is on inside its `with` block.

    Args:
        link: its network.
        folder: what it writes; a board that is made of the same folder again has the same disk.
        wheels: Python packages that it has, as pip names them.
        disk: the size of /data, such as "4m", in memory: a disk that is really full when it is. None: the folder's.
        adb: whether adbd runs as well.
    """

    def __init__(
        self,
        link: Link,
        folder: Path,
        *,
        wheels: Sequence[str] = RUNTIMES,
        disk: str | None = None,
        adb: bool = False,
    ) -> None:
        register_emulator()
        self.link = link
        self.folder = folder
        self.address = link.far
        self.port = 22
        self.data = folder / "fs" / "data"
        """/data of the board, unless `disk` was given."""
        self.identity_file = folder / "user_key"
        self._root = debian_root(
            PACKAGES,
            architecture="arm64",
            files={
                "etc/passwd": f"root:x:0:0:root:/root:{_SHELL}\n",
                "etc/shells": f"{_SHELL}\n/bin/sh\n",
                _SHELL[1:]: f'#!/bin/sh\nexport {_CPU}\nexec /bin/sh "$@"\n',
                "usr/lib/python3/dist-packages/wheels.pth": _WHEELS,
                "etc/dropbear/none": "",
                "opt/none": "",
            },
        )
        self._wheels = unpacked_wheels(wheels)
        self._disk_size = disk or ""
        self._adb_port = str(ADB_PORT) if adb else ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Board:  # noqa: PYI034 - typing.Self is of Python 3.11
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_off()

    def power_on(self) -> None:
        """Boots it and waits until its SSH server answers."""
        self._prepare()
        self._boot()
        with (self._wheels.parent / f"{self._wheels.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (self._wheels / ".pycache").exists():
                self._compile()

    def _compile(self) -> None:
        """Imports every runtime once, ever: later boards find what was compiled."""
        done = subprocess.run(
            self.ssh("python3", "-c", shlex.quote(_WARM)), capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise RuntimeError(f"the board's Python does not run: {done.stderr[-1000:]}")

    def ssh(self, *words: str) -> list[str]:
        """The argv that runs a command there with the ordinary client; its words are joined by spaces, as SSH does."""
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        return ["ssh", "-i", str(self.identity_file), *(f"-o{option}" for option in options),
                f"root@{self.address}", *words]  # fmt: skip

    def _boot(self) -> None:
        with (self.folder / "console.log").open("wb") as console:
            self._process = self.link.popen(
                ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--",
                 "sh", "-c", _BOOT, "board", str(self._root), str(self.folder), str(self._wheels), self._disk_size,
                 str(self.port), self._adb_port, sys.executable, _LISTENER, _CPU],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip
        end = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                self.power_off()
                raise RuntimeError(f"the board does not boot: {(self.folder / 'console.log').read_text()[-1000:]}")
            time.sleep(0.05)

    def power_off(self) -> None:
        """Pulls the plug."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def write_target(self, path: Path, name: str, *, root: str = "/data/edgekit") -> Path:
        """Writes a target file that reaches it over SSH."""
        key = " ".join(self._host_key().split()[:2])
        known_hosts = self.folder / "known_hosts"
        known_hosts.write_text(f"{self.address} {key}\n")
        lines = [
            f"name = {json.dumps(name)}",
            'transport = "ssh"',
            'description = "an emulated aarch64 board"',
            f"root = {json.dumps(root)}",
            "[ssh]",
            f"host = {json.dumps(self.address)}",
            'user = "root"',
            f"identity_file = {json.dumps(str(self.identity_file))}",
            f"known_hosts = {json.dumps(str(known_hosts))}",
            "use_agent = false",
            "[bench]",  # emulated: a few samples have to do
            "max_warmup_s = 1.0",
            "min_samples = 5",
            "min_s = 0.0",
            "max_s = 5.0",
            "",
        ]
        path.write_text("\n".join(lines))
        return path

    def _prepare(self) -> None:
        for name in ("fs/root/.ssh", "mnt", "thermal/thermal_zone0", "fs/data/local/tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if not self.identity_file.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.identity_file], check=True)
        shutil.copyfile(f"{self.identity_file}.pub", self.folder / "fs/root/.ssh/authorized_keys")
        (self.folder / "fs/root").chmod(0o700)
        (self.folder / "fs/root/.ssh").chmod(0o700)
        (self.folder / "cpuinfo").write_text("".join(CORE.format(core=core) for core in range(2)))
        (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        (self.folder / "thermal/thermal_zone0/type").write_text("cpu-thermal\n")
        (self.folder / "thermal/thermal_zone0/temp").write_text("41500\n")

    def _host_key(self) -> str:
        text = (self.folder / "host_key").read_text()  # what dropbearkey said when it made it
        return next(line for line in text.splitlines() if line.startswith("ssh-ed25519"))

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=1) as sock:
                return sock.recv(4) == b"SSH-"
        except OSError:
            return False


def register_emulator() -> None:
    """Tells the kernel to run aarch64 programs with qemu, unless it does already.

    The flag F keeps qemu open, so that roots without it are served as well.

    Raises:
        RuntimeError: qemu is not installed.
    """
    if not Path(_INTERPRETER).exists():
        raise RuntimeError("aarch64 programs are run by qemu: apt-get install qemu-user-static (as .ci/run does)")
    registry = Path("/proc/sys/fs/binfmt_misc")
    if not (registry / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", registry], check=True)
    if (registry / "qemu-aarch64").exists():
        return
    escaped = ["".join(rf"\x{text[i : i + 2]}" for i in range(0, len(text), 2)) for text in (_MAGIC, _MASK)]
    with suppress(FileExistsError):  # another test run was faster
        (registry / "register").write_text(f":qemu-aarch64:M::{escaped[0]}:{escaped[1]}:{_INTERPRETER}:F")


def unpacked_wheels(requirements: Sequence[str], platform: str = "aarch64") -> Path:
    """A folder with Python packages for the board, unpacked once and cached. Their dependencies are not followed."""
    asked = json.dumps([PYTHON, platform, sorted(requirements)])
    folder = cache_folder() / "test-devices"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"wheels-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
    with (folder / f"{made.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as name:
                download, unpacked = Path(name) / "wheels", Path(name) / "unpacked"
                unpacked.mkdir()
                if requirements:
                    _download(requirements, platform, download)
                for wheel in sorted(download.glob("*.whl")):
                    with zipfile.ZipFile(wheel) as archive:
                        archive.extractall(unpacked, filter(_is_needed, archive.namelist()))
                unpacked.rename(made)
    return made


def _is_needed(path: str) -> bool:
    """Not the compiler in apache-tvm, nor anybody's tests."""
    if path.startswith("tvm/"):
        return path == "tvm/lib/libtvm_runtime.so"
    return "/tests/" not in path


def _download(requirements: Sequence[str], platform: str, folder: Path) -> None:
    tag = f"cp{PYTHON.replace('.', '')}"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}",
         *(f"--abi={abi}" for abi in (tag, "abi3", "none")),
         *(f"--platform=manylinux{glibc}_{platform}" for glibc in ("_2_28", "_2_27", "_2_17", "2014")),
         f"--dest={folder}", *requirements],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"pip downloads no wheels for {platform}: {done.stderr[-1000:]}")
