"""`edgekit inspect`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from edgekit.artifact import Build, Cost
from edgekit.cli import output
from edgekit.cli.output import json_option
from edgekit.dimensions import dimensions, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.artifact import Budget, DriftReference, SizeParity
    from edgekit.recipe import Recipe
    from edgekit.specs import TensorSpec


@click.command("inspect")
@click.argument("artifact", type=click.Path(path_type=Path))
@json_option
def command(artifact: Path, *, as_json: bool) -> None:
    """Show what ARTIFACT (a directory that convert wrote) is, and how good it is."""
    from edgekit.artifact import open_artifact

    found = open_artifact(artifact)
    manifest = found.manifest
    if as_json:
        output.print_json("inspect", artifact=found.id, path=str(found.path), manifest=manifest)
        return
    parity, accuracy, made = manifest.parity, manifest.accuracy, manifest.provenance
    score = f"{output.metric(accuracy.artifact, accuracy.unit)}, source {output.metric(accuracy.source, accuracy.unit)}"
    rows = [
        ["artifact", found.id],
        ["model", manifest.model],
        ["recipe", str(manifest.recipe)],
        ["runtime", manifest.runtime],
        ["payload", f"{manifest.payload}, {output.size(manifest.payload_bytes)}"],
        *[["input", f"{spec.name} {spec.describe()} {spec.layout or ''}".strip()] for spec in manifest.inputs],
        *[["output", f"{spec.name} {spec.describe()} {spec.layout or ''}".strip()] for spec in manifest.outputs],
        *[["labels", f"{name}: {_few(labels)}"] for name, labels in manifest.labels.items()],
        ["tensors stored", ", ".join(f"{count} × {dtype}" for dtype, count in manifest.stored_dtypes.items())],
        *([["sizes", _nominal(manifest.inputs)]] if any(spec.varies for spec in manifest.inputs) else []),
        ["parity", f"{output.decibel(parity.worst_snr_db, exact=True)} over {parity.data}"],
        *[[f"at {told(size.sizes)}", _worst(size)] for size in parity.sizes],
        ["proved by", parity.proved_by or "–"],
        [accuracy.metric or "metric", score if accuracy.metric else f"– ({accuracy.because})"],
        ["golden", f"{manifest.golden.samples} samples; a device must reach {manifest.golden.min_snr_db:g} dB"],
        ["drift reference", _drift(manifest.reference)],
        *([["options", _options(manifest.recipe)]] if manifest.recipe.options else []),
        *[["note", note] for note in manifest.notes],
        *([["budget", _budget(manifest.budget)]] if manifest.budget else []),
        ["made from", f"{made.source_kind} {made.source_sha256[:12]}, {made.calibration_samples} calibration samples"],
        *([["by way of", made.route]] if made.route else []),
        *([["cost", _cost(build)]] if (build := _build(found.path)) else []),
        ["made with", ", ".join(f"{name} {version}" for name, version in sorted(made.tools.items()))],
        *([["origin", made.origin]] if made.origin else []),
        *([["licence", made.licence]] if made.licence else []),
    ]
    output.print_table(found.title, ["field", "value"], rows)


def _drift(reference: DriftReference) -> str:
    if reference.id is None:
        return f"– ({reference.because})"
    return f"{reference.id[:12]}, {reference.samples} samples"


def _few(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:12])
    return shown if len(labels) <= 12 else f"{shown}, ... ({len(labels)})"


def _nominal(inputs: Sequence[TensorSpec]) -> str:
    dims = dimensions(inputs)
    return f"{told(dims)} nominally: what data have and benchmarks take"


def _worst(size: SizeParity) -> str:
    found = [o.snr_db for o in size.outputs if o.snr_db is not None]
    return f"{output.decibel(min(found, default=None), exact=True)} over {size.outputs[0].samples} samples"


def _options(recipe: Recipe) -> str:
    shown = {name: ", ".join(map(str, v)) if isinstance(v, list) else v for name, v in recipe.options.items()}
    return "; ".join(f"{name} = {value}" for name, value in shown.items())


def _budget(budget: Budget) -> str:
    inside = sum(trial.inside for trial in budget.trials)
    return f"{budget.wanted} within {budget.max_drop}: {len(budget.trials)} tried, {inside} inside"


def _build(path: Path) -> Build | None:
    """build.json, which is not part of an artifact's id and may be missing or older."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((path / "build.json").read_bytes(), type=Build)
    return None


def _cost(build: Build) -> str:
    steps = {**build.shared, "recipe": Cost(build.seconds, build.peak_rss_bytes)}
    return ", ".join(
        f"{name} {cost.seconds:.1f} s" + (f" {output.size(cost.peak_rss_bytes)}" if cost.peak_rss_bytes else "")
        for name, cost in steps.items()
    )
