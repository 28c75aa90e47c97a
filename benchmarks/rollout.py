"""What a rollout and a release cost: devices a second, how long `current` is gone, bytes of a delta.

    python benchmarks/rollout.py [--devices 1000] [--workers 8]

The fleet is that of the tests: each device is a folder of this machine, run by real shells; the transport alone is a
fake, which keeps 5 % of the devices away. Nothing is proven there (that costs what the golden inputs cost). While the
rollout runs, a thread opens every device's `current` again and again, as an application would, and counts how often it
was not there.

The delta is of a model that was quantized anew: the same TFLite file with the calibration's scales changed by a little,
as another calibration set would, and of one whose every weight changed, which no delta can help.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from report import machine

sys.path.insert(0, str(Path(__file__).parents[1]))

from edgekit.deploy.on_device.fetch import fetch
from edgekit.deploy.on_device.trust import Repository as Client
from edgekit.deploy.releases import Roles, create_repository, generate_key, read_key
from edgekit.deploy.releases.changes import stage_release
from edgekit.deploy.rollout import Journal, make_plan
from edgekit.workflows.rollout import carry_out
from tests.artifacts import handmade
from tests.deploy.web_server import WebServer
from tests.workflows.fleet import Script, ScriptedFleet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="edgekit-rollout-") as folder:
        rollout(Path(folder), options.devices, options.workers)
        deltas(Path(folder))


def rollout(folder: Path, count: int, workers: int) -> None:
    names = [f"d{number:04}" for number in range(count)]
    old, new = (handmade(folder / "artifacts", model="tiny", payload=word * 2000) for word in (b"old", b"new"))
    away = dict.fromkeys(random.Random(3).sample(names, count // 20), -1)
    for title, artifact, script in (("first", old, Script()), ("update, 5 % away", new, Script(away=away))):
        fleet = ScriptedFleet(folder / "fleet", artifact, script, workers=workers)
        plan = make_plan(
            title.split(",")[0], model="tiny", artifact_id=artifact.id, title=artifact.title, created="now",
            devices=names, success=0.9, error=0.05,
        )  # fmt: skip
        journal = Journal.create(folder / "rollouts" / plan.id, plan)
        stop, looks = threading.Event(), [0, 0]
        watcher = threading.Thread(target=watch, args=(folder / "fleet", names, stop, looks))
        if artifact is new:
            watcher.start()
        began, cpu = time.perf_counter(), cpu_seconds()
        state = carry_out(journal, fleet.fleet)
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
        stop.set()
        if artifact is new:
            watcher.join()
        done = len(state.names("done"))
        each = f"{done} devices in {seconds:.1f} s, {1000 * cpu / done:.0f} ms CPU each"
        print(f"{title}: {state.phase} {state.why}; {each}")
        if artifact is new:
            print(f"  current was looked at {looks[0]} times, and was gone {looks[1]} times")


def watch(fleet: Path, names: list[str], stop: threading.Event, looks: list[int]) -> None:
    rng = random.Random(1)
    while not stop.is_set():
        path = fleet / rng.choice(names) / "models/tiny/current/payload/model.tflite"
        looks[0] += 1
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError:
            looks[1] += 1
        time.sleep(0.0005)


def deltas(folder: Path) -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 127, 4_000_000, dtype=np.int8)
    scales = rng.random(60 * 64, dtype=np.float32)
    kinds = {
        "scales of 60 tensors anew": (weights, scales * 1.01),
        "one of 60 tensors anew": (np.concatenate([rng.permutation(weights[:66_000]), weights[66_000:]]), scales),
        "every weight anew": (rng.permutation(weights), scales * 1.01),
    }
    key = generate_key(folder / "keys/all.pem", None)
    signer = read_key(folder / "keys/all.pem", None)
    repository = create_repository(
        folder / "repository", dict.fromkeys(("root", "targets", "snapshot", "timestamp", "beta"), Roles((key,)))
    )
    repository.sign([signer])
    repository.publish([signer])

    def release(name: str, parts: tuple[np.ndarray, np.ndarray]) -> int:
        made = handmade(folder / name, model="tiny", payload=laid_out(*parts))
        stage_release(repository, "beta", [made])
        repository.sign([signer])
        repository.publish([signer])
        return sum(entry.bytes for entry in made.manifest.files)

    with WebServer(folder / "repository", ranges=True).running() as server:
        for number, (name, parts) in enumerate(kinds.items()):
            release(f"old{number}", (weights, scales))
            root = str(folder / f"device{number}")
            client = Client(server.url, str(folder / f"seen{number}"), repository.root_bytes())
            fetch(root, client, client.release("beta", "tiny").artifacts[0])
            size = release(f"new{number}", parts)
            client = Client(server.url, str(folder / f"seen{number}"), None)
            got = fetch(root, client, client.release("beta", "tiny").artifacts[0])
            print(f"{name}: {got.downloaded_bytes} of {size} bytes, {100 * got.downloaded_bytes / size:.1f} %")


def laid_out(weights: np.ndarray, scales: np.ndarray) -> bytes:
    """As a flatbuffer has it: the scales of a tensor beside its place in the table, the weights in buffers."""
    tables = b"".join(part.tobytes() for part in np.split(scales, 60))
    return weights.tobytes() + tables


def cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


if __name__ == "__main__":
    main()
