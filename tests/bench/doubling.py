"""A model that doubles, in a runtime of the tests' own: the real runner measures it in no time, wherever it runs."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edgekit.artifact import Accuracy, Artifact, Bindings, FileEntry, Golden, Manifest, Parity, Provenance
from edgekit.devices.runner_zip import runner_zip
from edgekit.devices.runners import Runner
from edgekit.recipe import Recipe
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from edgekit.devices import Device, Target

RUNTIME = """
import time
NAME = "doubling"
PACKAGES = ("doubling",)


def probe():
    return {"package": "doubling", "version": "1"}


def load(path, threads, bindings):
    return Session()


class Session:
    def __init__(self):
        tensor = {"name": "x", "shape": [1, 4], "dtype": "float32", "scale": None, "zero_point": None}
        self.inputs, self.outputs = [tensor], [tensor]

    def set_input(self, i, array):
        self.x = array

    def invoke(self):
        end = time.perf_counter() + 0.0005
        while time.perf_counter() < end:
            pass
        self.y = 2 * self.x

    def get_output(self, i):
        return self.y
"""


def doubling(folder: Path, *, model: str = "doubling", factor: float = 2.0) -> Artifact:
    """An artifact whose golden outputs are `factor` times its inputs; with another factor than 2, wrong ones."""
    inputs = np.random.default_rng(0).standard_normal((2, 1, 4)).astype("float32")
    contents = {
        "payload/model": model.encode() * 100,
        "golden/in.npy": _npy(inputs),
        "golden/out.npy": _npy(inputs * np.float32(factor)),
    }
    tensor = TensorSpec("x", (1, 4))
    manifest = Manifest(
        model=model,
        recipe=Recipe("tflite", "float32"),
        runtime="doubling",
        payload="payload/model",
        inputs=(tensor,),
        outputs=(tensor,),
        bindings=Bindings(("x",), ("x",)),
        stored_dtypes={"float32": 4},
        files=tuple(
            FileEntry(path, len(content), hashlib.sha256(content).hexdigest()) for path, content in contents.items()
        ),
        parity=Parity("held out", 20.0, ()),
        accuracy=Accuracy(None, "", True, None, None, 0, "made by hand"),
        golden=Golden(2, ("golden/in.npy",), ("golden/out.npy",), (), 60.0),
        provenance=Provenance("handmade", "0" * 64, None, 0, {}),
    )
    encoded = manifest.encode()
    artifact_id = hashlib.sha256(encoded).hexdigest()
    path = folder / artifact_id
    for name, content in {"manifest.json": encoded, **contents}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return Artifact(artifact_id, path, manifest)


def with_doubling(device: Device, folder: Path) -> Device:
    """Gives a connected device the real runner, with this runtime packed into it."""
    module = folder / "doubling.py"
    module.write_text(RUNTIME)
    runner = Runner("python", *runner_zip({"doubling": module}))
    device.runners |= {"": runner, "doubling": runner}
    return device


def brief(target: Target, **limits: object) -> Target:
    """The same target, with blocks of a tenth of a second, and limits."""
    bench = msgspec.structs.replace(target.bench, max_warmup_s=2.0, min_samples=30, min_s=0.02, max_s=0.5)
    settings = msgspec.structs.replace(target.limits, **{"poll_s": 0.05, "wait_s": 20.0, **limits})
    return msgspec.structs.replace(target, bench=bench, limits=settings)


def _npy(array: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()
