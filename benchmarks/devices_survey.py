"""Wall seconds of `edgekit devices` with ten targets of which five cannot be reached.

    python benchmarks/devices_survey.py [--rounds 9]

Five reach a real sshd on loopback. The others: one whose packets are dropped (a listener with a full queue does that),
one whose server accepts and says nothing, a closed port, a wrong host key, and a name that does not resolve. The whole
program is timed, its start included. Goal: less than 3 s.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from report import machine, spread

from edgekit.devices.throwaway_sshd import ThrowawaySshd

SSH = 'schema = 1\ntransport = "ssh"\n[ssh]\nhost = "{host}"\nport = {port}\nknown_hosts = "known_hosts"\n'
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq0cQjvSjZc3yPpiGMaKGEuhmyBGZ4cOGhE1Ve0ZkoX"


def full_listener(stack: ExitStack) -> int:
    """A port of which the kernel drops every further attempt: nobody accepts, and its queue is full."""
    listener = stack.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = int(listener.getsockname()[1])
    for _ in range(4):
        client = stack.enter_context(socket.socket())
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
    return port


def write_targets(folder: Path, sshd: ThrowawaySshd, stack: ExitStack) -> None:
    for number in range(5):
        sshd.write_target(folder / f"up{number}.toml", f"up{number}", str(folder / f"root{number}"))
    silent = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused = closed.getsockname()[1]
    down = {
        "dropped": ("127.0.0.1", full_listener(stack)),
        "silent": ("127.0.0.1", silent),
        "refused": ("127.0.0.1", refused),
        "wrong-key": ("127.0.0.1", sshd.port),
        "no-such-name": ("no-such-board.invalid", 22),
    }
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {OTHER_KEY}\n")
    for name, (host, port) in down.items():
        (folder / f"{name}.toml").write_text(SSH.format(host=host, port=port))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    wall: list[float] = []
    cpu: list[float] = []
    answered: list[float] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgekit-survey-")))
        write_targets(folder, stack.enter_context(ThrowawaySshd()), stack)
        command = [sys.executable, "-m", "edgekit", "devices", "--targets", str(folder), "--json"]
        for _ in range(rounds + 1):
            began, before = time.monotonic(), os.times()
            done = subprocess.run(command, capture_output=True, check=True)
            wall.append(time.monotonic() - began)
            after = os.times()
            cpu.append(after.children_user + after.children_system - before.children_user - before.children_system)
            seen = {one["name"]: one for one in json.loads(done.stdout)["targets"]}
            up = sorted(name for name, one in seen.items() if one["state"] == "reachable")
            answered += [seen[name]["answered_in_s"] for name in up]
            if up != [f"up{number}" for number in range(5)]:
                print(f"not all answered: {', '.join(up)}", file=sys.stderr)
    print(machine("paramiko"))
    print(f"\n{'10 targets, 5 unreachable':32} median (min to max), {rounds} rounds")
    print(f"{'edgekit devices, wall s':32} {spread(wall[1:])}")
    print(f"{'edgekit devices, CPU s':32} {spread(cpu[1:])}")
    print(f"{'a reachable one answered in, s':32} {spread(answered)}")


if __name__ == "__main__":
    main()
