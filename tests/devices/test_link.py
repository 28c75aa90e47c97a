"""The link does what it says: other tests and the benchmarks take its figures for granted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from link import Link

from edgekit.devices import connect, load_target
from edgekit.devices.throwaway_sshd import ThrowawaySshd

pytestmark = pytest.mark.device

ECHO = """
import socket, sys, threading
def answer(sock):
    while data := sock.recv(1 << 16):
        sock.sendall(data[:1])
server = socket.create_server((sys.argv[1], 7))
print(flush=True)
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
"""
"""Answers each piece with its first byte."""


HOLDS_A_LINK = """
import link
held = link.Link()
sleeps = held.popen(["sleep", "77"])
print(held.far, held._child.pid, sleeps.pid, flush=True)
input()
"""


@pytest.fixture(scope="module")
def link() -> Iterator[Link]:
    with Link() as made:
        server = made.popen([sys.executable, "-c", ECHO, made.far], stdout=subprocess.PIPE)
        assert server.stdout is not None
        server.stdout.readline()
        yield made
        server.stdout.close()


@pytest.fixture(autouse=True)
def _as_new(link: Link) -> None:
    link.restore()
    link.set(delay_ms=0, bytes_per_s=None, loss=0)


@pytest.fixture
def talk(link: Link) -> Iterator[socket.socket]:
    with socket.create_connection((link.far, 7), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def round_trip_s(talk: socket.socket) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        talk.sendall(b"x")
        assert talk.recv(1) == b"x"
        times.append(time.perf_counter() - began)
    return min(times)


def test_a_round_trip_takes_twice_the_delay(link: Link, talk: socket.socket) -> None:
    assert round_trip_s(talk) < 0.02
    link.set(delay_ms=30)
    assert 0.06 <= round_trip_s(talk) < 0.08


def test_no_more_passes_than_the_rate(link: Link) -> None:
    link.set(bytes_per_s=4e6)
    before, began = link.passed_bytes[0], time.perf_counter()
    with socket.create_connection((link.far, 7), timeout=10) as sock:
        for _ in range(64):
            sock.sendall(bytes(1 << 15))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass
    passed, took = link.passed_bytes[0] - before, time.perf_counter() - began
    assert passed > 2 << 20
    assert 0.6 * 4e6 < passed / took < 1.05 * 4e6


def test_a_cut_is_silent_and_what_was_sent_arrives_after_it(link: Link, talk: socket.socket) -> None:
    assert round_trip_s(talk) < 0.02
    link.cut()
    assert link.is_cut
    talk.settimeout(0.5)
    talk.sendall(b"y")
    with pytest.raises(TimeoutError):
        talk.recv(1)
    link.restore()
    talk.settimeout(10)
    assert talk.recv(1) == b"y"  # TCP sent it again: the connection was never closed


def test_it_is_cut_after_so_many_bytes(link: Link, talk: socket.socket) -> None:
    link.cut(after_bytes=20_000)
    talk.settimeout(0.5)
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            talk.sendall(bytes(1000))
            talk.recv(1)
    assert link.is_cut


def test_lost_packets_slow_a_stream_and_damage_nothing(link: Link, talk: socket.socket) -> None:
    link.set(loss=0.05)
    for i in range(80):
        talk.sendall(bytes([i]))
        assert talk.recv(1) == bytes([i])


def test_several_at_once_reach_each_its_own_far_side(link: Link, talk: socket.socket) -> None:
    with Link(delay_ms=5) as other:
        assert other.far != link.far
        with pytest.raises(ConnectionRefusedError):  # the echo is not there
            socket.create_connection((other.far, 7), timeout=5)
    assert round_trip_s(talk) < 0.02


def test_nothing_is_left_when_its_process_is_killed() -> None:
    made = subprocess.Popen(
        [sys.executable, "-c", HOLDS_A_LINK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert made.stdout is not None
    far, *pids = made.stdout.readline().split()
    assert far in addresses()
    until(lambda: Path(f"/proc/{pids[-1]}/comm").read_text() == "sleep\n")  # else it would not end with its parent yet
    made.send_signal(signal.SIGKILL)
    made.wait()
    until(lambda: far not in addresses() and not any(runs(pid) for pid in pids))
    assert far not in addresses()
    assert not any(runs(pid) for pid in pids)
    made.stdout.close()


def addresses() -> str:
    return subprocess.run(["ip", "-4", "address"], capture_output=True, text=True, check=True).stdout


def until(true: Callable[[], bool]) -> None:
    """Waits for it, ten seconds at the most."""
    end = time.monotonic() + 10
    while time.monotonic() < end and not true():
        time.sleep(0.05)


def runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_device_is_reached_over_it(link: Link) -> None:
    with ThrowawaySshd(address=link.far, enter=link.enter) as sshd:
        path = sshd.write_target(sshd.folder / "far.toml", "far", str(sshd.folder / "root"))
        with connect(load_target(str(path))) as device:
            done = device.run(["sh", "-c", "echo $SSH_CONNECTION"], step="asking")
    assert done.stdout.decode().split()[0] == link.near
