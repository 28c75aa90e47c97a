"""The proof: a payload, run by the very code that runs it on a device, against its source.

Parity over all held-out samples, the model's own metric on the same answers, and the golden data that let a device
repeat the proof.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import plugins
from edgekit.artifact import Accuracy, Bindings, Golden, OutputParity, Parity
from edgekit.convert.load import import_model
from edgekit.convert.steps import HELD_OUT, REFERENCE, TARGETS, Job, SourceFacts, load_arrays, save_arrays
from edgekit.errors import ParityError
from edgekit.runner.compare import at_least, compare
from edgekit.runner.session import run_samples
from edgekit.specs import Quantization, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from edgekit.recipe import Recipe

GOLDEN_SAMPLES = 8
GOLDEN_BYTES = 1 << 20
DEVICE_MARGIN_DB = 6.0
DEVICE_SNR_DB = (20.0, 60.0)
"""A device's answers are compared with the host's answers of the same payload. Other kernels round otherwise, so they
may differ by as much as twice the amplitude of what the precision itself costs (6 dB), within these bounds."""


class Proof:
    """What the proof found: parity, accuracy, golden data, and the tensors as the payload stores them."""

    def __init__(
        self, parity: Parity, accuracy: Accuracy, golden: Golden, inputs: list[TensorSpec], outputs: list[TensorSpec]
    ) -> None:
        self.parity = parity
        self.accuracy = accuracy
        self.golden = golden
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)


def prove(
    job: Job, facts: SourceFacts, payload: Path, bindings: Bindings, runtime: str, min_snr_db: float,
    stage: Callable[[str], None],
) -> Proof:  # fmt: skip
    """Runs the payload over the held-out samples; writes `golden/` into the job's folder.

    Raises:
        ParityError: another number or shape of outputs, a NaN, or an SNR below `min_snr_db`.
    """
    assert job.recipe is not None
    assert job.source_folder is not None
    folder = Path(job.source_folder)
    inputs = load_arrays(folder, HELD_OUT, len(facts.inputs))
    reference = load_arrays(folder, REFERENCE, len(facts.outputs))
    stage("proving")
    session = plugins.load("runtime", runtime).load(
        str(payload), 1, {"inputs": list(bindings.inputs), "outputs": list(bindings.outputs)}
    )
    outputs = run_samples(session, inputs)
    parity = _parity(job, facts, reference, outputs, min_snr_db)
    return Proof(
        parity=parity,
        accuracy=_accuracy(job, facts, outputs),
        golden=_golden(Path(job.work), inputs, outputs, reference, parity),
        inputs=[_stored(spec, found) for spec, found in zip(facts.inputs, session.inputs, strict=True)],
        outputs=[_stored(spec, found) for spec, found in zip(facts.outputs, session.outputs, strict=True)],
    )


def _parity(
    job: Job, facts: SourceFacts, reference: list[np.ndarray], outputs: list[np.ndarray], min_snr_db: float
) -> Parity:
    recipe = job.recipe
    assert recipe is not None
    if len(outputs) != len(reference):
        raise ParityError(
            f"{job.model_name} {recipe}: the payload has {len(outputs)} outputs, its source {len(reference)}.",
            remedy="This is a converter's bug: report it with the log.",
        )
    rows = []
    for spec, expected, answered in zip(facts.outputs, reference, outputs, strict=True):
        if expected.shape != answered.shape:
            raise ParityError(
                f"{job.model_name} {recipe}: output {spec.name!r} has shape {answered.shape[1:]}, its source "
                f"{expected.shape[1:]}.",
                remedy="This is a converter's bug: report it with the log.",
            )
        result = compare(expected, answered)
        if not at_least(result, min_snr_db):
            raise ParityError(_why(job.model_name, recipe, spec.name, result, min_snr_db), remedy=_remedy(recipe))
        rows.append(OutputParity(output=spec.name, **_rounded(result)))
    return Parity(data=facts.held_out, min_snr_db=min_snr_db, outputs=tuple(rows))


def _why(model: str, recipe: Recipe, output: str, result: dict[str, Any], min_snr_db: float) -> str:
    if not result["finite"]:
        return f"{model} {recipe}: output {output!r} holds NaN or infinity where the source's is finite."
    snr = "no signal" if result["snr_db"] is None else f"an SNR of {result['snr_db']:.1f} dB"
    return (
        f"{model} {recipe}: output {output!r} does not compute what its source computes: {snr} over "
        f"{result['samples']} held-out samples, where {recipe.precision} must reach {min_snr_db:.0f} dB. "
        "The artifact was not published."
    )


def _remedy(recipe: Recipe) -> str:
    return (
        "Check that the calibration data look like real inputs, or take a higher precision."
        if recipe.precision != "float32"
        else "This is a converter's bug: report it with the log."
    )


def _rounded(result: dict[str, Any]) -> dict[str, Any]:
    """Six significant digits: more would be noise, and would change an artifact's id for nothing."""
    return {k: float(f"{v:.6g}") if isinstance(v, float) and math.isfinite(v) else v for k, v in result.items()}


def _accuracy(job: Job, facts: SourceFacts, outputs: list[np.ndarray]) -> Accuracy:
    import numpy as np

    value = None
    if facts.metric is not None and Path(job.model_path).is_dir():
        metric = import_model(Path(job.model_path)).metric
        assert metric is not None
        targets = np.load(Path(str(job.source_folder)) / TARGETS, allow_pickle=False)
        named = {spec.name: output for spec, output in zip(facts.outputs, outputs, strict=True)}
        value = float(metric.compute(named, targets))
    return Accuracy(
        metric=facts.metric,
        unit=facts.metric_unit,
        higher_is_better=facts.higher_is_better,
        source=facts.metric_value,
        artifact=value,
        samples=facts.samples if facts.metric else 0,
        because=facts.no_metric_because,
    )


def _golden(
    work: Path, inputs: list[np.ndarray], outputs: list[np.ndarray], reference: list[np.ndarray], parity: Parity
) -> Golden:
    sample_bytes = sum(array[0].nbytes for array in [*inputs, *outputs, *reference])
    count = max(1, min(GOLDEN_SAMPLES, len(inputs[0]), GOLDEN_BYTES // max(1, sample_bytes)))
    folder = work / "golden"
    folder.mkdir()
    low, high = DEVICE_SNR_DB
    worst = parity.worst_snr_db
    names = [
        tuple(f"golden/{name}" for name in save_arrays(folder, stem, [array[:count] for array in arrays]))
        for stem, arrays in (("input", inputs), ("output", outputs), ("source", reference))
    ]
    return Golden(
        samples=count,
        inputs=names[0],
        outputs=names[1],
        source_outputs=names[2],
        min_snr_db=high if worst is None else round(min(high, max(low, worst - DEVICE_MARGIN_DB)), 1),
    )


def _stored(spec: TensorSpec, found: dict[str, Any]) -> TensorSpec:
    """The model's spec, with the dtype and quantization that the payload really has."""
    quantization = None
    if found["scale"] is not None and found["scale"] > 0:
        quantization = Quantization(scale=(found["scale"],), zero_point=(found["zero_point"],))
    return TensorSpec(spec.name, spec.shape, found["dtype"], spec.layout, quantization)
