"""The proof: a payload, run by the very code that runs it on a device, against its source.

Parity over all held-out samples, the model's own metric on the same answers, and the golden data that let a device
repeat the proof. Where dimensions vary, the same session is given other sizes first, smallest, largest and between, and
then the nominal ones: each must reach the floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.artifact import Accuracy, Golden, GoldenSize, OutputParity, Parity, SizeParity
from edgekit.convert.load import import_model, is_model_folder
from edgekit.convert.steps import HELD_OUT, REFERENCE, SIZES, TARGETS, Job, SourceFacts, load_arrays, save_arrays
from edgekit.dimensions import told
from edgekit.errors import ConversionError, ParityError, first_line
from edgekit.runner.compare import at_least, compare
from edgekit.runner.session import run_samples
from edgekit.specs import Quantization, TensorSpec, permutation, relaid

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from edgekit.convert.formats import Converted, Format
    from edgekit.recipe import Recipe

GOLDEN_SAMPLES = 8
GOLDEN_BYTES = 1 << 20
GOLDEN_SAMPLES_A_SIZE = 2
DEVICE_MARGIN_DB = 6.0
DEVICE_SNR_DB = (20.0, 60.0)
"""A device's answers are compared with the host's answers of the same payload. Other kernels round otherwise, so they
may differ by as much as twice the amplitude of what the precision itself costs (6 dB), within these bounds."""


@dataclass(frozen=True)
class Proof:
    """What the proof found: parity, accuracy, golden data, and the tensors as the payload stores them."""

    parity: Parity
    accuracy: Accuracy
    golden: Golden
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class _Answers:
    """Samples at one size, `(n, *shape)` each: what the payload was given and answered, and what the source answered,
    in the payload's layouts; `sizes` is empty for the nominal ones."""

    sizes: dict[str, int]
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    reference: list[np.ndarray]


def prove(
    job: Job, facts: SourceFacts, payload: Path, converted: Converted, form: Format, stage: Callable[[str], None]
) -> Proof:
    """Runs the payload over the held-out samples; writes `golden/` into the job's folder.

    Raises:
        ParityError: another number or shape of outputs, a NaN, or an SNR below what the precision must reach.
    """
    assert job.recipe is not None
    assert job.source_folder is not None
    folder = Path(job.source_folder)
    floor = form.precisions[job.recipe.precision].min_snr_db
    stage("proving")
    session, proved_by = form.session(converted.stand_in or payload, converted.bindings)
    others, rows = [], []
    for k, sizes in enumerate(facts.sizes):
        answers = _answers(session, facts, folder / f"{SIZES}-{k}", converted, sizes)
        rows.append(SizeParity(sizes, _parity(job, facts, answers, converted, floor)))
        others.append(answers)
    nominal = _answers(session, facts, folder, converted, {})
    parity = Parity(
        data=facts.held_out,
        min_snr_db=floor,
        outputs=_parity(job, facts, nominal, converted, floor),
        proved_by=proved_by,
        sizes=tuple(rows),
    )
    outputs = [from_payload(a, spec, converted) for spec, a in zip(facts.outputs, nominal.outputs, strict=True)]
    return Proof(
        parity=parity,
        accuracy=_accuracy(job, facts, outputs),
        golden=_golden(Path(job.work), nominal, others, parity),
        inputs=tuple(_stored(s, found, converted) for s, found in zip(facts.inputs, session.inputs, strict=True)),
        outputs=tuple(_stored(s, found, converted) for s, found in zip(facts.outputs, session.outputs, strict=True)),
    )


def _answers(session: Any, facts: SourceFacts, folder: Path, converted: Converted, sizes: dict[str, int]) -> _Answers:
    """Runs the samples that lie in `folder`.

    Raises:
        ConversionError: the session fails at these sizes.
    """
    given = load_arrays(folder, HELD_OUT, len(facts.inputs))
    inputs = [to_payload(array, spec, converted) for spec, array in zip(facts.inputs, given, strict=True)]
    try:
        outputs = run_samples(session, inputs)
    except Exception as error:  # a runtime raises what it likes here; at the nominal sizes its message is all there is
        if not sizes:
            raise
        raise ConversionError(
            f"The payload cannot be run at {told(sizes)}: {first_line(error)}.",
            remedy="Fix the sizes with --shape, or take another format.",
        ) from error
    reference = load_arrays(folder, REFERENCE, len(facts.outputs))
    sources = [to_payload(array, spec, converted) for spec, array in zip(facts.outputs, reference, strict=True)]
    return _Answers(sizes, inputs, outputs, sources)


def to_payload(array: np.ndarray, spec: TensorSpec, converted: Converted) -> np.ndarray:
    """Samples `(n, *shape)` in the model's layout, in the payload's."""
    return relaid(array, spec, converted.layouts.get(spec.name))


def from_payload(array: np.ndarray, spec: TensorSpec, converted: Converted) -> np.ndarray:
    """The inverse of `to_payload`."""
    order = permutation(spec, converted.layouts.get(spec.name))
    return array if order is None else array.transpose(0, *(order.index(axis) + 1 for axis in range(len(order))))


def _parity(
    job: Job, facts: SourceFacts, answers: _Answers, converted: Converted, min_snr_db: float
) -> tuple[OutputParity, ...]:
    recipe = job.recipe
    assert recipe is not None
    where = f" at {told(answers.sizes)}" if answers.sizes else ""
    if len(answers.outputs) != len(answers.reference):
        raise ParityError(
            f"{job.model_name} {recipe}: the payload has {len(answers.outputs)} outputs, its source "
            f"{len(answers.reference)}.",
            remedy="This is a converter's bug: report it with the log.",
        )
    rows = []
    for spec, source, given in zip(facts.outputs, answers.reference, answers.outputs, strict=True):
        if source.shape != given.shape:
            raise ParityError(
                f"{job.model_name} {recipe}: output {spec.name!r} has shape {given.shape[1:]}, its source "
                f"{source.shape[1:]}{where}.",
                remedy="This is a converter's bug: report it with the log.",
            )
        result = compare(from_payload(source, spec, converted), from_payload(given, spec, converted))
        if not at_least(result, min_snr_db):
            why = _why(job.model_name, recipe, spec.name, result, min_snr_db, where)
            raise ParityError(why, remedy=_remedy(recipe))
        rows.append(OutputParity(output=spec.name, **_rounded(result)))
    return tuple(rows)


def _why(model: str, recipe: Recipe, output: str, result: dict[str, Any], min_snr_db: float, where: str) -> str:
    if not result["finite"]:
        return f"{model} {recipe}: output {output!r} holds NaN or infinity where the source's is finite{where}."
    snr = "no signal" if result["snr_db"] is None else f"an SNR of {result['snr_db']:.1f} dB"
    return (
        f"{model} {recipe}: output {output!r} does not compute what its source computes{where}: {snr} over "
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


def metric_of(job: Job, facts: SourceFacts, outputs: list[np.ndarray]) -> float | None:
    """The model's own metric of some answers, one array per output `(n, *shape)`; None if it has none."""
    import numpy as np

    if facts.metric is None or not is_model_folder(Path(job.model_path)):
        return None
    metric = import_model(Path(job.model_path)).metric
    assert metric is not None
    targets = np.load(Path(str(job.source_folder)) / TARGETS, allow_pickle=False)
    return float(metric.compute({s.name: output for s, output in zip(facts.outputs, outputs, strict=True)}, targets))


def _accuracy(job: Job, facts: SourceFacts, outputs: list[np.ndarray]) -> Accuracy:
    value = metric_of(job, facts, outputs)
    return Accuracy(
        metric=facts.metric,
        unit=facts.metric_unit,
        higher_is_better=facts.higher_is_better,
        source=facts.metric_value,
        artifact=value,
        samples=facts.samples if facts.metric else 0,
        because=facts.no_metric_because,
    )


def _golden(work: Path, nominal: _Answers, others: list[_Answers], parity: Parity) -> Golden:
    low, high = DEVICE_SNR_DB
    worst = parity.worst_snr_db
    count, files = _save_golden(work, "golden", nominal, GOLDEN_SAMPLES)
    return Golden(
        samples=count,
        inputs=files[0],
        outputs=files[1],
        source_outputs=files[2],
        min_snr_db=high if worst is None else round(min(high, max(low, worst - DEVICE_MARGIN_DB)), 1),
        sizes=tuple(
            GoldenSize(answers.sizes, *_save_golden(work, f"golden/size-{k}", answers, GOLDEN_SAMPLES_A_SIZE)[1])
            for k, answers in enumerate(others)
        ),
    )


def _save_golden(work: Path, name: str, answers: _Answers, most: int) -> tuple[int, list[tuple[str, ...]]]:
    """Writes the first samples; returns how many, and the files of inputs, outputs and the source's outputs."""
    every = [*answers.inputs, *answers.outputs, *answers.reference]
    sample_bytes = sum(array[0].nbytes for array in every)
    count = max(1, min(most, len(answers.inputs[0]), GOLDEN_BYTES // max(1, sample_bytes)))
    folder = work / name
    folder.mkdir()
    groups = (("input", answers.inputs), ("output", answers.outputs), ("source", answers.reference))
    return count, [
        tuple(f"{name}/{file}" for file in save_arrays(folder, stem, [array[:count] for array in arrays]))
        for stem, arrays in groups
    ]


def _stored(spec: TensorSpec, found: dict[str, Any], converted: Converted) -> TensorSpec:
    """The model's spec, with the layout, dtype and quantization that the payload really has."""
    quantization = None
    if found["scale"] is not None and found["scale"] > 0:
        quantization = Quantization(scale=(found["scale"],), zero_point=(found["zero_point"],))
    order = permutation(spec, layout := converted.layouts.get(spec.name))
    axes = order or range(len(spec.shape))
    varying = {axis.axis: axis for axis in spec.varies}
    return TensorSpec(
        spec.name,
        tuple(spec.shape[axis] for axis in axes),
        found["dtype"],
        layout or spec.layout,
        quantization,
        tuple(msgspec.structs.replace(varying[a], axis=i) for i, a in enumerate(axes) if a in varying),
    )
