"""`edgekit inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli import output
from edgekit.cli.output import json_option


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
        *[["output", f"{spec.name} {spec.describe()}"] for spec in manifest.outputs],
        ["tensors stored", ", ".join(f"{count} × {dtype}" for dtype, count in manifest.stored_dtypes.items())],
        ["parity", f"{output.decibel(parity.worst_snr_db, exact=True)} over {parity.data}"],
        [accuracy.metric or "metric", score if accuracy.metric else f"– ({accuracy.because})"],
        ["golden", f"{manifest.golden.samples} samples; a device must reach {manifest.golden.min_snr_db:g} dB"],
        ["made from", f"{made.source_kind} {made.source_sha256[:12]}, {made.calibration_samples} calibration samples"],
        ["made with", ", ".join(f"{name} {version}" for name, version in sorted(made.tools.items()))],
        *([["origin", made.origin]] if made.origin else []),
        *([["licence", made.licence]] if made.licence else []),
    ]
    output.print_table(found.title, ["field", "value"], rows)
