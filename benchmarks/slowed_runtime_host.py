"""The host's side of `slowed_runtime.py`: the runner that has it, artifacts that name it, and its check."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from edgekit.artifact import Artifact, FileEntry, open_artifact
from edgekit.devices.runner_zip import runner_zip
from edgekit.devices.runners import Runner

RUNTIME = Path(__file__).with_name("slowed_runtime.py")

BARE = """
import sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from edgekit_runner.runtimes import litert, slowed
from edgekit_runner.session import set_sample
payload, golden, share = sys.argv[2], sys.argv[3].split(","), float(sys.argv[4])
bindings = {"inputs": sys.argv[5].split(","), "outputs": sys.argv[6].split(",")}
session = litert.load(payload, 1, bindings)
set_sample(session, [np.load(path)[0] for path in golden])
ways = [session.invoke, slowed.slowed(session.invoke, share)]
clock, taken = time.perf_counter_ns, ([], [])
end = clock() + int(2e9)
while clock() < end:
    for way in (0, 1, 1, 0):
        start = clock()
        ways[way]()
        taken[way].append(clock() - start)
print(np.median(taken[1]) / np.median(taken[0]))
"""
"""One interpreter, plain and slowed invokes in turn for two seconds; the ratio of the medians."""


def runner() -> Runner:
    """The runner, with the runtime packed into it."""
    return Runner("python", *runner_zip({"slowed": RUNTIME}))


def slowed(artifact: Artifact, share: float, folder: Path) -> Artifact:
    """A copy of an artifact that asks for the slowed runtime and says by how much."""
    shutil.copytree(artifact.path, folder, copy_function=shutil.copyfile)
    manifest = artifact.manifest
    told = f"{share:g}".encode()
    name = f"{Path(manifest.payload).parent.as_posix()}/slow-down"
    (folder / name).write_bytes(told)
    entry = FileEntry(name, len(told), hashlib.sha256(told).hexdigest())
    changed = msgspec.structs.replace(manifest, runtime="slowed", files=(*manifest.files, entry))
    (folder / "manifest.json").write_bytes(changed.encode())
    return open_artifact(folder)


def bare_ratio(artifact: Artifact, share: float) -> float:
    """Slowed over plain, in a fresh process."""
    manifest = artifact.manifest
    golden = ",".join(str(artifact.path / name) for name in manifest.golden.inputs)
    bindings = [",".join(names) for names in (manifest.bindings.inputs, manifest.bindings.outputs)]
    command = [sys.executable, "-c", BARE, str(runner().path), str(artifact.path / manifest.payload), golden,
               str(share), *bindings]  # fmt: skip
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
