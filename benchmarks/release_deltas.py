"""Bytes that a device downloads for the next release of a model that was really quantized anew.

    python benchmarks/release_deltas.py [models/crepe_tiny]

Each row is a device that has the first artifact, pulls the second over HTTP by the client of edgekit-device, and checks
every sha256. Both were made by `edgekit convert`; the other calibration data are of the model's own generator with
another seed, the other granularity is ai-edge-quantizer's, which EdgeKit's recipes do not offer, over the same float32
file and ranges. `payload` is the `.tflite` alone, `artifact` also its golden data, reference and manifest.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from report import machine

sys.path.insert(0, str(Path(__file__).parents[1]))

from edgekit.artifact import Artifact, open_artifact
from edgekit.convert import convert, find_model
from edgekit.convert.load import import_model
from edgekit.deploy.on_device.fetch import fetch
from edgekit.deploy.on_device.trust import Repository as Client
from edgekit.deploy.releases import Roles, create_repository, generate_key, read_key
from edgekit.deploy.releases.changes import stage_release
from edgekit.recipe import Recipe, parse_recipe
from tests.artifacts import handmade
from tests.deploy.web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Sequence

_SEED = re.compile(r"^CALIBRATION_SEED = \d+$", re.MULTILINE)
ROLES = ("root", "targets", "snapshot", "timestamp", "beta")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, default=Path("models/crepe_tiny"))
    model = parser.parse_args().model
    print(machine())
    with tempfile.TemporaryDirectory(prefix="edgekit-deltas-") as temporary:
        folder = Path(temporary)
        recipes = [parse_recipe(f"tflite:{precision}") for precision in ("float32", "int8", "weight-int8")]
        float32, int8, weights = made(model, recipes, folder / "out")
        other_seed = folder / "other" / model.name
        shutil.copytree(model, other_seed)
        text, count = _SEED.subn("CALIBRATION_SEED = 11", (model / "model.py").read_text())
        assert count == 1, f"{model}/model.py has no CALIBRATION_SEED"
        (other_seed / "model.py").write_text(text)
        (again,) = made(other_seed, [recipes[1]], folder / "again")
        layer = first_layer(float32)
        (kept,) = made(model, [Recipe("tflite", "int8", options={"keep": [layer]})], folder / "kept")
        rows = {
            "int8, other calibration data": (int8, again),
            "weight-int8 → int8": (weights, int8),
            f"int8, {layer} kept in float32": (int8, kept),
            "int8 → float32": (int8, float32),
        }
        for name, tensorwise in (("int8 per channel → per tensor", True), ("the same by hand: per channel", False)):
            rows[name] = (int8, by_hand(folder / name[:8], float32, int8, model, tensorwise))
        for row, (old, new) in rows.items():
            print_row(row, folder / f"device-{len(list(folder.glob('device-*')))}", old, new)


def made(model: Path, recipes: Sequence[Recipe], out: Path) -> list[Artifact]:
    """The artifacts, really converted."""
    outcomes = convert(find_model(str(model)), list(recipes), out=out)
    assert all(one.artifact is not None for one in outcomes), [str(one.error) for one in outcomes]
    return [open_artifact(one.artifact.path) for one in outcomes if one.artifact is not None]


def first_layer(float32: Artifact) -> str:
    """The name of the first layer that can be kept."""
    from edgekit.convert.tflite_file import FlatBuffer
    from edgekit.convert.tflite_quantization import layers

    return next(iter(layers(FlatBuffer.read(float32.path / float32.manifest.payload))))


def by_hand(folder: Path, float32: Artifact, int8: Artifact, model: Path, tensorwise: bool) -> Artifact:
    """The float32 file, quantized as EdgeKit does but for the granularity of weights."""
    from ai_edge_quantizer import qtyping, quantizer

    from edgekit.convert import tflite_quantization as quantization
    from edgekit.convert.tflite_file import FlatBuffer
    from edgekit.convert.tflite_writing import rewritten

    source = float32.path / float32.manifest.payload
    file = FlatBuffer.read(source)
    (values,) = import_model(model).calibration().values()
    samples = [{float32.manifest.bindings.inputs[0]: value} for value in values]
    ranges = quantization.observe(source, file, "int8", samples)
    recipe, _ = quantization._recipe(file, "int8", frozenset())  # noqa: SLF001 - EdgeKit's own rules, to alter one
    if tensorwise:
        for rule in recipe:
            rule["op_config"]["weight_tensor_config"]["granularity"] = qtyping.QuantGranularity.TENSORWISE
    done = quantizer.Quantizer(str(source), recipe).quantize(
        ranges, enable_progress_report=False, enable_progress_bar=False
    )
    others = {e.path: (int8.path / e.path).read_bytes() for e in int8.manifest.files if "golden" in e.path}
    payload = rewritten(bytes(done.quantized_model))
    return handmade(folder, model=int8.manifest.model, payload=payload, more=others)


def print_row(row: str, folder: Path, old: Artifact, new: Artifact) -> None:
    """One update, through a web server."""
    key = generate_key(folder / "key.pem", None)
    signer = read_key(folder / "key.pem", None)
    repository = create_repository(folder / "repository", dict.fromkeys(ROLES, Roles((key,))))
    repository.sign([signer])
    repository.publish([signer])
    with WebServer(folder / "repository", ranges=True).running() as server:
        for artifact in (old, new):
            stage_release(repository, "beta", [artifact])
            repository.sign([signer])
            repository.publish([signer])
            server.sent.clear()
            client = Client(server.url, str(folder / "metadata"), repository.root_bytes())
            release = client.release("beta", artifact.manifest.model)
            fetch(str(folder / "store"), client, release.artifacts[0], release.model)
    payload = next(e for e in new.manifest.files if e.path == new.manifest.payload)
    sent, whole = server.sent_bytes("/objects/"), sum(e.bytes for e in new.shipped_files())
    part = server.sent_bytes(payload.sha256)
    print(
        f"| {row} | {payload.bytes:,} | {part:,} ({100 * part / payload.bytes:.0f} %) | {whole:,} | "
        f"{sent:,} ({100 * sent / whole:.0f} %) |"
    )


if __name__ == "__main__":
    main()
