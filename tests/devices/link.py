"""A link to another network namespace that can be slowed, made lossy, cut and restored while a test runs.

    with Link(delay_ms=10, bytes_per_s=10e6) as link:      # 20 ms round trip
        server = link.popen(["/usr/sbin/sshd", ...])       # listens on link.far, in the far namespace
        ...                                                # this process reaches it at link.far
        link.cut()

The kernels that CI runs on have no netem. So packets pass through a program of ours: the end of a TUN device in this
namespace and that of another in a namespace of its own are held by one child process, which forwards what it reads
from one to the other after the delay and at the rate that it was told, never reordered, never damaged.

There is nothing to clean up. The far namespace has no name: it lives as long as the child and the processes started
in it, and the child ends when this process does, however that ends, because its stdin does. Addresses are taken from
198.18.0.0/15, which is set aside for such measurements (RFC 2544), and whoever uses a pair of them holds a socket of
its name, so any number of links may exist at once. It takes root, and /dev/net/tun.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_QUEUE_S = 0.2
"""What is kept at most before the bottleneck; more is dropped, as a router does."""
_START_S = 10
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_PAIRS = 1 << 15


class Link:
    """The link, and the namespace at its far end.

    Args:
        delay_ms: of each packet, each way; a round trip takes twice that.
        bytes_per_s: the rate of each way, headers included; None: as fast as the child can.
        loss: the share of packets, each way, that is dropped.
        seed: which packets those are.
        mtu: of both ends, in bytes.
    """

    def __init__(
        self,
        *,
        delay_ms: float = 0.0,
        bytes_per_s: float | None = None,
        loss: float = 0.0,
        seed: int = 0,
        mtu: int = 1500,
    ) -> None:
        settings = {"delay_ms": delay_ms, "bytes_per_s": bytes_per_s, "loss": loss, "seed": seed, "mtu": mtu}
        self._child = subprocess.Popen(
            [sys.executable, __file__, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            up = self._answer()
        except BaseException:
            self.close()
            raise
        self.near: str = up["near"]
        """Our address, as the far side sees us."""
        self.far: str = up["far"]
        """The address of the far side."""
        self.enter: list[str] = ["nsenter", f"--net=/proc/{self._child.pid}/ns/net", "--"]
        """Put before an argv, it runs that at the far side."""

    def __enter__(self) -> Link:  # noqa: PYI034 - typing.Self is of Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes at the far side that were started here, and the link."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Starts a program at the far side. It ends with the link, and with this process."""
        process = subprocess.Popen([*self.enter, "setpriv", "--pdeathsig", "KILL", *argv], **options)
        self._processes.append(process)
        return process

    def set(self, **settings: float | None) -> None:
        """Changes delay_ms, bytes_per_s or loss from now on."""
        self._ask(**settings)

    def cut(self, *, after_bytes: int | None = None) -> None:
        """Pulls the cable: from now on every packet is lost, in silence.

        With `after_bytes`, once so many more bytes have gone towards the far side, headers included.
        """
        self._ask(cut=True) if after_bytes is None else self._ask(cut_after_bytes=after_bytes)

    def restore(self) -> None:
        """Plugs it in again."""
        self._ask(cut=False, cut_after_bytes=None)

    @property
    def passed_bytes(self) -> tuple[int, int]:
        """What has arrived so far at the far side and at ours, headers included."""
        answer = self._ask()
        return answer["to_far"], answer["to_near"]

    @property
    def is_cut(self) -> bool:
        """Whether the cable is out, by `cut` or because its `after_bytes` have passed."""
        return bool(self._ask()["cut"])

    def _ask(self, **settings: Any) -> dict[str, Any]:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(settings).encode() + b"\n")
        self._child.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        ready, _, _ = select.select([self._child.stdout], [], [], _START_S)
        line = self._child.stdout.readline() if ready else b""
        if not line:
            self._child.kill()
            raise RuntimeError(f"the link's program failed: {self._child.stderr.read().decode()[-500:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


# What follows runs in the child.


class _Way:
    """One way of the link: a queue before a bottleneck, then a delay."""

    def __init__(self, sink: int) -> None:
        self.sink = sink
        self.passed_bytes = 0
        self._queue: deque[tuple[float, bytes]] = deque()
        self._free_at = 0.0

    def take(self, packet: bytes, now: float, delay_s: float, bytes_per_s: float | None) -> None:
        """A packet that is to arrive, unless the queue is full."""
        if bytes_per_s is not None:
            if self._free_at - now > _QUEUE_S:
                return
            self._free_at = max(self._free_at, now) + len(packet) / bytes_per_s
        due = max(now, self._free_at) + delay_s
        if self._queue:
            due = max(due, self._queue[-1][0])  # where the delay was lowered, what was sent first still arrives first
        self._queue.append((due, packet))

    def deliver(self, now: float) -> float | None:
        """Hands over what is due; in how many seconds the next packet is, None if there is none."""
        while self._queue and self._queue[0][0] <= now:
            packet = self._queue.popleft()[1]
            with contextlib.suppress(OSError):  # the other end's own queue is full: lost, as on any wire
                os.write(self.sink, packet)
                self.passed_bytes += len(packet)
        return self._queue[0][0] - now if self._queue else None

    def drop_all(self) -> None:
        """What is under way when the cable is pulled does not arrive."""
        self._queue.clear()
        self._free_at = 0.0


def _tun(name: str, address: str, peer: str, mtu: int) -> int:
    tun = Path("/dev/net/tun")
    if not tun.exists():
        tun.parent.mkdir(exist_ok=True)
        os.mknod(tun, 0o600 | 0o020000, os.makedev(10, 200))
    handle = os.open(tun, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    for command in (
        ["ip", "address", "add", address, "peer", peer, "dev", name],
        ["ip", "link", "set", name, "mtu", str(mtu), "txqueuelen", "2000", "up"],
        ["ip", "link", "set", "lo", "up"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return handle


def _free_pair() -> tuple[socket.socket, int]:
    """The number of a pair of addresses that no other link of this namespace has, and the socket that holds it."""
    for attempt in range(_PAIRS):
        pair = (os.getpid() + attempt) % _PAIRS
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(f"\0edgekit-link-{pair}")
        except OSError:
            held.close()
            continue
        return held, pair
    raise OSError("all pairs of addresses are taken")


def _serve(settings: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which close the link
    held, pair = _free_pair()  # noqa: RUF059 - held until this process ends
    base = struct.unpack("!I", socket.inet_aton("198.18.0.0"))[0] + 4 * pair
    near, far = (socket.inet_ntoa(struct.pack("!I", base + i)) for i in (1, 2))
    name = f"edgekit{pair}"
    ours = _tun(name, near, far, settings["mtu"])
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    theirs = _tun(name, far, near, settings["mtu"])
    to_far, to_near = _Way(theirs), _Way(ours)
    say = sys.stdout.buffer
    say.write(json.dumps({"near": near, "far": far}).encode() + b"\n")
    say.flush()
    lost = random.Random(settings["seed"])
    state: dict[str, Any] = {**settings, "cut": False, "cut_after_bytes": None}
    poll = select.poll()
    for handle in (0, ours, theirs):
        poll.register(handle, select.POLLIN)
    commands = b""
    while True:
        now = time.monotonic()
        waits = [wait for way in (to_far, to_near) if (wait := way.deliver(now)) is not None]
        ready = poll.poll(max(0.0, min(waits)) * 1000 if waits else None)
        for handle, _ in ready:
            if handle == 0:
                data = os.read(0, 1 << 16)
                if not data:
                    return
                *lines, commands = (commands + data).split(b"\n")
                for line in lines:
                    state.update(json.loads(line))
                    if state["cut"]:
                        to_far.drop_all()
                        to_near.drop_all()
                    counted = {"to_far": to_far.passed_bytes, "to_near": to_near.passed_bytes, "cut": state["cut"]}
                    say.write(json.dumps(counted).encode() + b"\n")
                    say.flush()
                continue
            way = to_far if handle == ours else to_near
            for _ in range(64):
                try:
                    packet = os.read(handle, 1 << 16)
                except BlockingIOError:
                    break
                if way is to_far and state["cut_after_bytes"] is not None:
                    state["cut_after_bytes"] -= len(packet)
                    if state["cut_after_bytes"] < 0:
                        state["cut"], state["cut_after_bytes"] = True, None
                        to_far.drop_all()
                        to_near.drop_all()
                if state["cut"] or (state["loss"] and lost.random() < state["loss"]):
                    continue
                way.take(packet, time.monotonic(), state["delay_ms"] / 1000, state["bytes_per_s"])


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
