"""Real devices behind a real adb server: Debian's adbd, in a network namespace that nothing else can see.

    with AdbNetwork() as network, network.server():       # EdgeKit and `adb` now talk to the server in there
        device = network.adbd(15660)                      # this machine's files and shell, as over the test sshd
        phone = network.adbd(15670, root=phone_root())    # a root of its own: mksh, toybox, /data/local/tmp

The adb server lives in the namespace too and is reached through a socket in the file system, which is the same in
every namespace; so no port is taken and nobody else's phones are seen. adbd listens on every address there is: in this
namespace that is loopback alone. It needs a newer libc than this machine's, so where it shows this machine's files it
is started by the loader of the root that it came in.

Every process ends with this one, however that ends. It takes root.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debian_root import debian_root

from edgekit.devices.target import AdbSettings, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

_PACKAGES = ("adbd", "busybox-static", "libstdc++6", "mksh", "toybox")
_PYTHON_NEEDS = ("libbz2-1.0", "libexpat1", "libffi8", "liblzma5", "libsqlite3-0", "libssl3t64", "zlib1g")
"""What a Python that is shown in the root finds no copy of among its own files."""
TOYBOX = """
basename cat chgrp chmod chown cksum cmp cp cut date df dirname du echo env false file find getconf grep
head hostname id kill ln ls md5sum mkdir mktemp mv nice nl nproc od paste pgrep pidof printenv printf ps pwd readlink
realpath rm rmdir sed seq sha1sum sha256sum sha512sum sleep sort split stat sync tail tee test time timeout touch
true truncate uname uniq uptime wc which xargs xxd yes zcat
"""
"""What toybox is on a phone, without what Debian does not build into it."""
NOT_IN_TOYBOX = ("dd", "expr", "tr")
"""A phone has these too; here busybox stands in."""
_GETPROP = """#!/bin/sh
case $1 in
  ro.product.cpu.abi) echo x86_64 ;;
  ro.build.version.sdk) echo 34 ;;
  ro.product.model) echo "Test Phone" ;;
esac
"""
_PHONE = r"""
set -e
root=$1; mount=$2; size=$3; chroot=$4; shift 4
mount --make-rprivate /
mount -t tmpfs tmpfs "$mount"
mkdir "$mount/upper" "$mount/work" "$mount/root"
mount -t overlay -o "lowerdir=$root,upperdir=$mount/upper,workdir=$mount/work" overlay "$mount/root"
cd "$mount/root"
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
for name in null zero full random urandom tty; do cp -a "/dev/$name" dev/; done
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount --bind /proc proc
mount -t tmpfs -o "mode=1777,size=$size" tmpfs data/local/tmp
for folder in "$@"; do mkdir -p ".$folder"; mount --rbind "$folder" ".$folder"; done
exec env -i ADBD_PORT="$ADBD_PORT" PATH=/system/bin HOME=/ TMPDIR=/data/local/tmp "$chroot" . /usr/sbin/adbd
"""
"""$1 the root, $2 an empty folder, $3 size of the disk, $4 chroot, $5... folders to show. Never writes to it."""
_WITHOUT_GLIBC = """
mkdir system/lib64
mv usr/lib/x86_64-linux-gnu/* system/lib64
mv system/lib64/ld-linux-x86-64.so.2 system/bin/linker64
rm lib64 usr/lib64/ld-linux-x86-64.so.2
for program in usr/sbin/adbd usr/bin/mksh usr/bin/toybox; do
  patchelf --set-interpreter /system/bin/linker64 --force-rpath --set-rpath /system/lib64:/system/lib64/android $program
done
"""
_START_S = 20
_LISTENS = "0A"


def phone_root() -> Path:
    """A root like a phone's: mksh as `sh`, toybox for everything else, `getprop`, and adbd."""
    return debian_root((*_PACKAGES, *_PYTHON_NEEDS), files={"system/bin/getprop": _GETPROP}, links=_links())


def strange_root(libc: str) -> Path:
    """`phone_root` where no program for Linux finds a glibc: with the loader of `bionic` or of `musl` instead.

    Its own shell, toybox and adbd were told where Debian's glibc is nevertheless: under names that nothing else knows.
    """
    if libc == "musl":
        return debian_root((*_PACKAGES, "musl"), links=_links(), script=_WITHOUT_GLIBC)
    files = {"system/bin/getprop": _GETPROP}
    return debian_root(_PACKAGES, files=files, links=_links(), script=_WITHOUT_GLIBC)


def _links() -> dict[str, str]:
    links = {f"system/bin/{name}": "/usr/bin/toybox" for name in TOYBOX.split()}
    links |= {f"system/bin/{name}": "/usr/bin/busybox" for name in NOT_IN_TOYBOX}
    return links | {"system/bin/sh": "/usr/bin/mksh", "usr/bin/sh": "mksh"}


class Adbd:
    """One adbd: its `serial` for the adb server, and its process, which can be frozen and killed."""

    def __init__(self, network: AdbNetwork, port: int, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self.serial = f"127.0.0.1:{port}"
        self.port = port
        self._network = network
        self._argv = argv
        self._environment = {**environment, "ADBD_PORT": str(port)}
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it and waits until it listens."""
        self._process = self._network.popen(self._argv, env=self._environment)
        self._network.started.append(self)
        deadline = time.monotonic() + _START_S
        while not self._network.listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"adbd did not start: {self._network.log[-500:]}")
            time.sleep(0.02)

    def target(self, name: str, **settings: Any) -> Target:
        """A target that reaches it over TCP."""
        return Target(name=name, transport="adb", adb=AdbSettings(host="127.0.0.1", port=self.port), **settings)

    def seen(self, path: str) -> Path:
        """A path of its root as this process reaches it, whatever it has mounted there."""
        return Path(f"/proc/{self.pid}/root{path}")

    def kill(self) -> None:
        """Ends it as a crash would: its commands live on, without a link."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """It takes and says nothing any more; the server goes on listing it as ready."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class AdbNetwork:
    """The namespace, the adb server in it, and the devices that are started in it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="edgekit-adb-"))
        self.socket = f"localfilesystem:{self.folder}/server"
        self.environment = {"ADB_SERVER_SOCKET": self.socket, "HOME": str(self.folder)}
        self._output = (self.folder / "log").open("wb")
        self._processes: list[subprocess.Popen[bytes]] = []
        self.started: list[Adbd] = []
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.enter = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]
        """Put before an argv, it runs that in the namespace."""
        try:
            self._await_namespace()
            subprocess.run([*self.enter, "ip", "link", "set", "lo", "up"], check=True, timeout=10)
            self.start_server()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> AdbNetwork:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends everything that was started here."""
        for process in self._processes:
            process.kill()
            process.wait()
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.kill()
        self._holder.wait()
        self._output.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """What the server and the devices printed."""
        return (self.folder / "log").read_text(errors="replace")

    def start_server(self) -> None:
        """Starts the genuine adb server, and waits until it answers."""
        self.server_process = self.popen(["adb", "-L", self.socket, "server", "nodaemon"], env=self.environment)
        deadline = time.monotonic() + _START_S
        while not self._server_answers():
            if time.monotonic() > deadline or self.server_process.poll() is not None:
                raise RuntimeError(f"no adb server: {self.log[-500:]}")
            time.sleep(0.02)

    def _server_answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(f"{self.folder}/server") == 0

    @contextmanager
    def server(self) -> Iterator[None]:
        """Within the block, this process and its children use this server."""
        before = os.environ.get("ADB_SERVER_SOCKET")
        os.environ["ADB_SERVER_SOCKET"] = self.socket
        try:
            yield
        finally:
            os.environ.pop("ADB_SERVER_SOCKET")
            if before is not None:
                os.environ["ADB_SERVER_SOCKET"] = before

    def adbd(self, port: int, *, root: Path | None = None, disk: str = "50%", shown: Sequence[Path] = ()) -> Adbd:
        """Starts an adbd.

        Args:
            port: its port; stay clear of 5555 to 5585, where the server looks for emulators.
            root: a root of its own to live in; else it shows this machine's files and shell.
            disk: the size of its /data/local/tmp, such as `2m`.
            shown: folders of this machine that the root is to show at the same place.
        """
        if root is None:
            home = phone_root()
            libraries = home / "usr/lib/x86_64-linux-gnu"
            loader = [f"{home}/lib64/ld-linux-x86-64.so.2", "--library-path", f"{libraries}:{libraries}/android"]
            environment = {**os.environ, "HOME": str(self.folder)}
            return Adbd(self, port, [*loader, f"{home}/usr/sbin/adbd"], environment)
        mount = self.folder / f"phone-{port}"
        mount.mkdir()
        chroot = str(shutil.which("chroot"))
        argv = ["unshare", "--mount", "sh", "-c", _PHONE, "sh", str(root), str(mount), disk, chroot, *map(str, shown)]
        return Adbd(self, port, argv, {"PATH": os.environ["PATH"]})

    def fake(self, port: int, mode: str) -> Adbd:
        """Starts a device that misbehaves; see `fake_adbd`."""
        return Adbd(self, port, [sys.executable, str(Path(__file__).with_name("fake_adbd.py")), str(port), mode], {})

    def listens(self, port: int) -> bool:
        """Whether anything listens on a port of the namespace's loopback."""
        for name in ("tcp", "tcp6"):
            for line in Path(f"/proc/{self._holder.pid}/net/{name}").read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if local.endswith(f":{port:04X}") and state == _LISTENS:
                    return True
        return False

    def popen(self, argv: Sequence[str], *, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Starts a program in the namespace. It ends with this process."""
        process = subprocess.Popen(
            [*self.enter, "setpriv", "--pdeathsig", "KILL", *argv],
            env={"PATH": os.environ["PATH"], **env},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )
        self._processes.append(process)
        return process

    def adb(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs the genuine `adb` against this server."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(["adb", *arguments], env=environment, capture_output=True, text=True, timeout=timeout_s)

    def _await_namespace(self) -> None:
        ours = Path("/proc/self/ns/net").stat().st_ino
        deadline = time.monotonic() + _START_S
        while Path(f"/proc/{self._holder.pid}/ns/net").stat().st_ino == ours:
            if self._holder.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("no network namespace can be made here: the tests of adb need root")
            time.sleep(0.01)
