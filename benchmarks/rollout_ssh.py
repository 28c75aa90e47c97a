"""What a rollout to ten real devices takes: sshd's on loopback, each with a store, where artifacts are proven.

    edgekit convert models/digits_cnn --to tflite:float32 --to tflite:int8
    python benchmarks/rollout_ssh.py artifacts/digits_cnn/tflite-float32 artifacts/digits_cnn/tflite-int8 [--rounds 3]

A round is `edgekit rollout start` with the first artifact to devices that have none, then with the second one, in two
stages (one device, then nine), and `rollout rollback`; each as a process of its own, timed by the clock. Each device
hashes what it got and runs the golden inputs before `current` moves. While the second goes out and comes back, a thread
opens the `current` of a random device again and again, as an application would, and counts how often it was not there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from report import machine, spread

from edgekit.artifact import open_artifact
from edgekit.devices.throwaway_sshd import ThrowawaySshd

DEVICES = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(machine("paramiko"))
    took: dict[str, list[float]] = {"first": [], "update": [], "rollback": []}
    looks = [0, 0]
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="edgekit-rollout-") as folder, ExitStack() as stack:
            for name, seconds in _round(Path(folder), stack, options, looks).items():
                took[name].append(seconds)
    for name, every in took.items():
        print(f"{name:9} {DEVICES} devices: {spread(every, 1)} s")
    print(f"current was looked at {looks[0]} times, and was gone {looks[1]} times")


def _round(folder: Path, stack: ExitStack, options: argparse.Namespace, looks: list[int]) -> dict[str, float]:
    (folder / "targets").mkdir()
    for number in range(DEVICES):
        sshd = stack.enter_context(ThrowawaySshd(folder / f"sshd{number}"))
        path = sshd.write_target(folder / "targets" / f"pi{number}.toml", f"pi{number}", str(folder / f"root{number}"))
        path.write_text(f'labels = ["fleet", "{"rest" if number else "canary"}"]\n{path.read_text()}')
    where = ["--targets", str(folder / "targets"), "--rollouts", str(folder / "rollouts"), "--to", "label=fleet"]
    start = [*where, "--stages", "canary,rest", "--json"]
    model, found = open_artifact(options.first).manifest.model, {}
    found["first"], _ = _timed("start", str(options.first), *start)
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(folder, model, stop, looks))
    watcher.start()
    try:
        found["update"], begun = _timed("start", str(options.second), *start)
        found["rollback"], _ = _timed("rollback", begun["plan"]["id"], *where, "--json")
    finally:
        stop.set()
        watcher.join()
    return found


def _timed(*arguments: str) -> tuple[float, dict[str, dict[str, str]]]:
    began = time.perf_counter()
    command = [sys.executable, "-m", "edgekit", "rollout", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"edgekit rollout {' '.join(arguments)}: {done.returncode}\n{done.stderr}")
    return seconds, json.loads(done.stdout)


def _watch(folder: Path, model: str, stop: threading.Event, looks: list[int]) -> None:
    draw = random.Random(1)
    while not stop.is_set():
        path = folder / f"root{draw.randrange(DEVICES)}" / "models" / model / "current" / "manifest.json"
        looks[0] += 1
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError:
            looks[1] += 1
        time.sleep(0.0005)


if __name__ == "__main__":
    main()
