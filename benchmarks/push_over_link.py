"""EdgeKit's push over a slow link against scp and rsync: a new artifact, then the same one changed a little.

    python benchmarks/push_over_link.py [--rounds 3] [--megabytes 100] [--rate 10e6] [--delay-ms 10] [--first]

A link of its own between two network namespaces (tests/devices/link.py; needs root), an sshd at its far end. In each
round, each time beginning with another way:

- first: a file of random bytes to an empty folder, by a bare TCP connection (what the link gives), EdgeKit's put on an
  open connection, EdgeKit's whole push with its questions, checks and flushes, scp, and rsync;
- again: the same payload after a change of 1 % (in one place; in ten; 1 % inserted), by EdgeKit's push, rsync and scp;
- same: the same artifact once more.

Prints seconds, the payload's rate over the link's rate (which counts headers: a bare connection cannot reach 1) and
over that of the bare connection in its round, and the bytes that passed towards the device and back, counted on the
link, over the payload's size.
Goals: at least 0.95 of what the link gives; at most 3 % after a change of 1 %; nothing but the question for the same.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import machine, spread

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "devices"))
from link import Link

from edgekit.artifact import Accuracy, Artifact, Bindings, FileEntry, Golden, Manifest, Parity, Provenance
from edgekit.devices import connect, load_target
from edgekit.devices.store import Store
from edgekit.devices.throwaway_sshd import ThrowawaySshd
from edgekit.recipe import Recipe
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.devices import Device

_SINK = """
import socket, sys
server = socket.create_server((sys.argv[1], 7))
print(flush=True)
while True:
    sock = server.accept()[0]
    while sock.recv(1 << 20):
        pass
    sock.sendall(b"x")
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rate", type=float, default=10e6)
    parser.add_argument("--delay-ms", type=float, default=10)
    parser.add_argument("--first", action="store_true", help="only a new artifact, by the bare connection and by us")
    options = parser.parse_args()
    print(machine("paramiko", "numpy"), f"link: {options.rate / 1e6:g} MB/s, {2 * options.delay_ms:g} ms round trip")
    with (
        tempfile.TemporaryDirectory() as name,
        Link(delay_ms=options.delay_ms, bytes_per_s=options.rate) as link,
        ThrowawaySshd(address=link.far, enter=link.enter) as sshd,
    ):
        bench = Bench(Path(name), link, sshd, options.megabytes * 1_000_000)
        for number in range(options.rounds):
            if options.first:
                bench.first(number)
            else:
                bench.round(number)
    bench.report(options.rate)


class Bench:
    """The link, its far end, and what was measured: (seconds, bytes to the device, bytes back) a way and a case."""

    def __init__(self, folder: Path, link: Link, sshd: ThrowawaySshd, size: int) -> None:
        self._folder, self._link, self._sshd, self._size = folder, link, sshd, size
        self._target = load_target(str(sshd.write_target(folder / "board.toml", "board", str(folder / "root"))))
        self._there = folder / "there"
        self._measured: dict[tuple[str, str], list[tuple[float, int, int]]] = defaultdict(list)
        sink = link.popen([sys.executable, "-c", _SINK, link.far], stdout=subprocess.PIPE)
        assert sink.stdout is not None
        sink.stdout.readline()
        shell = (
            f"ssh -p {sshd.port} -i {sshd.identity_file} -o IdentitiesOnly=yes -o UserKnownHostsFile={sshd.known_hosts}"
        )
        self._scp = ["scp", "-q", "-P", str(sshd.port), *shell.split()[3:]]
        self._rsync = ["rsync", "--ignore-times", "-e", shell]
        self._host = f"{sshd.user}@{link.far}"

    def first(self, number: int) -> None:
        """A new artifact, by the bare connection, a put and a push; what the push waits for is printed."""
        artifact = make_artifact(self._folder / "a", os.urandom(self._size))
        payload = artifact.path / "payload" / "model.tflite"
        with connect(self._target) as device:
            ways: dict[str, Callable[[], object]] = {
                "bare TCP": lambda: self._bare(payload),
                "edgekit put": lambda: device.transport.put(payload, str(self._there / "put"), step="benchmark"),
                "edgekit push": lambda: self._phases(device, lambda: Store(device).push(artifact)),
            }
            self._in_turn("first", number, ways)
        shutil.rmtree(self._folder / "root")

    def _phases(self, device: Device, action: Callable[[], object]) -> None:
        """Prints when each command and each upload began and ended, in seconds from the push's own beginning."""
        began, transport = time.perf_counter(), device.transport

        def timed(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **keywords: Any) -> Any:
                start = time.perf_counter() - began
                try:
                    return method(*arguments, **keywords)
                finally:
                    end = time.perf_counter() - began
                    print(f"{start:8.3f} {end:8.3f} {end - start:7.3f}  {name}: {keywords['step']}")

            return call

        for name in ("run", "feed", "put"):
            setattr(transport, name, timed(name, getattr(transport, name)))
        action()
        print(f"{0:8.3f} {time.perf_counter() - began:8.3f}  all; load {os.getloadavg()[0]:.1f}")

    def round(self, number: int) -> None:
        original = os.urandom(self._size)
        artifact = make_artifact(self._folder / "a", original)
        payload = artifact.path / "payload" / "model.tflite"
        with connect(self._target) as device:
            self._in_turn(
                "first",
                number,
                {
                    "bare TCP": lambda: self._bare(payload),
                    "edgekit put": lambda: device.transport.put(payload, str(self._there / "put"), step="benchmark"),
                    "edgekit push": lambda: Store(device).push(artifact),
                    "scp": lambda: self._copy(self._scp, payload, "scp"),
                    "rsync": lambda: self._copy(self._rsync, payload, "rsync"),
                },
            )
            for case, change in CHANGES.items():
                changed = make_artifact(self._folder / "b", change(original))
                source = changed.path / "payload" / "model.tflite"
                again: dict[str, Callable[[], object]] = {
                    "edgekit push": lambda changed=changed: Store(device).push(changed),
                    "rsync": lambda source=source: self._copy(self._rsync, source, "rsync"),
                }
                if not number:
                    again["scp"] = lambda source=source: self._copy(self._scp, source, "scp")
                shutil.copyfile(payload, self._there / "rsync")
                self._in_turn(case, number, again)
                if (self._folder / "root/store" / changed.id / "payload/model.tflite").read_bytes() != change(original):
                    raise SystemExit("what arrived is not what was sent")
            shutil.copyfile(source, self._there / "rsync")
            self._in_turn("the same", number, again | {"edgekit push": lambda: Store(device).push(artifact)})
        shutil.rmtree(self._folder / "root")

    def _in_turn(self, case: str, number: int, ways: dict[str, Callable[[], object]]) -> None:
        names = list(ways)
        self._there.mkdir(exist_ok=True)
        for way in names[number % len(names) :] + names[: number % len(names)]:
            before, began = self._link.passed_bytes, time.perf_counter()
            ways[way]()
            took, after = time.perf_counter() - began, self._link.passed_bytes
            self._measured[case, way].append((took, after[0] - before[0], after[1] - before[1]))

    def _bare(self, payload: Path) -> None:
        with socket.create_connection((self._link.far, 7)) as sock, payload.open("rb") as file:
            sock.sendfile(file)
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1)

    def _copy(self, command: list[str], source: Path, name: str) -> None:
        subprocess.run([*command, str(source), f"{self._host}:{self._there / name}"], check=True)

    def report(self, rate: float) -> None:
        print(
            f"\n{'case':12} {'way':13} {'s: median (min to max)':>26} {'payload / link':>15} {'of bare TCP':>12} "
            f"{'moved / payload':>16}"
        )
        bare = [took for took, _, _ in self._measured["first", "bare TCP"]]
        for (case, way), values in self._measured.items():
            seconds = [took for took, _, _ in values]
            share = self._size / statistics.median(seconds) / rate
            of_bare = statistics.median(one / took for one, took in zip(bare, seconds, strict=False))
            moved = statistics.median((there + back) / self._size for _, there, back in values)
            print(f"{case:12} {way:13} {spread(seconds, 2):>26} {share:>15.3f} {of_bare:>12.3f} {moved:>16.4%}")


def _one_place(content: bytes) -> bytes:
    at, count = len(content) // 3, len(content) // 100
    return content[:at] + hashlib.shake_128(b"one").digest(count) + content[at + count :]


def _ten_places(content: bytes) -> bytes:
    changed, count = bytearray(content), len(content) // 1000
    for place in range(10):
        at = place * len(content) // 10 + 54_321
        changed[at : at + count] = hashlib.shake_128(b"%d" % place).digest(count)
    return bytes(changed)


def _insertion(content: bytes) -> bytes:
    at = len(content) // 3
    return content[:at] + hashlib.shake_128(b"inserted").digest(len(content) // 100) + content[at:]


CHANGES = {"one place": _one_place, "ten places": _ten_places, "insertion": _insertion}


def make_artifact(folder: Path, payload: bytes) -> Artifact:
    """An artifact made by hand; its payload is no model."""
    contents = {"payload/model.tflite": payload, "golden/input-0.npy": b"in", "golden/output-0.npy": b"out"}
    tensor = TensorSpec("x", (1, 4))
    manifest = Manifest(
        model="random",
        recipe=Recipe("tflite", "int8"),
        runtime="litert",
        payload="payload/model.tflite",
        inputs=(tensor,),
        outputs=(tensor,),
        bindings=Bindings(("x",), ("x",)),
        stored_dtypes={"int8": len(payload)},
        files=tuple(FileEntry(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in contents.items()),
        parity=Parity("held out", 20.0, ()),
        accuracy=Accuracy(None, "", True, None, None, 0, "made by hand"),
        golden=Golden(1, ("golden/input-0.npy",), ("golden/output-0.npy",), (), 20.0),
        provenance=Provenance("handmade", "0" * 64, None, 0, {}),
    )
    encoded = manifest.encode()
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in {"manifest.json": encoded, **contents}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return Artifact(hashlib.sha256(encoded).hexdigest(), folder, manifest)


if __name__ == "__main__":
    main()
