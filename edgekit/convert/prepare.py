"""The source step: load the model once, hold data out, run it for reference, judge it, export it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.convert.held_out import calibration_of_model, hold_out
from edgekit.convert.load import import_model, is_model_folder
from edgekit.convert.steps import (
    CALIBRATION,
    EXPORTED,
    HELD_OUT,
    REFERENCE,
    SIZES,
    SOURCE_JSON,
    TARGETS,
    Job,
    SourceFacts,
    load_arrays,
    read_facts,
    save_arrays,
)
from edgekit.convert.watching import write_drift_reference
from edgekit.dimensions import dimensions, resized, sizes_to_prove, told, varying_outputs
from edgekit.errors import ModelError, first_line
from edgekit.files import digest_of, sha256_of
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from edgekit.convert.sources import Source
    from edgekit.convert.sources.base import Reference, Shapes
    from edgekit.model import Model

SIZE_SAMPLES = 8
"""Samples at each of the other sizes, where dimensions vary."""


def prepare_source(job: Job, stage: Callable[[str], None]) -> None:
    """Fills the job's folder, see `edgekit.convert.steps`.

    Raises:
        ModelError, DataError: the model or its data cannot be used.
    """
    import numpy as np

    work, path = Path(job.work), Path(job.model_path)
    kind: Source = plugins.load("source", job.source)()
    plugins.require(kind.distributions, extra=kind.extra, purpose=f"A {kind.name} model")
    stage("loading")
    opened = work / "opened"
    if is_model_folder(path):
        model = fixed(import_model(path), job.shapes)
    else:
        model = kind.open_file(_inspected_copy(kind, path, opened, job), job.model_name, str(path), job.shapes)
    calibration = calibration_of_model(model, job.calibration)
    normal = None if calibration is None else dict(calibration)
    data, calibration = hold_out(model, calibration)
    held_out, targets = data.inputs, data.targets
    if dimensions(model.inputs) and kind.exports[0] not in kind.varies:
        raise ModelError(
            f"The inputs of {kind.name} models have fixed sizes, and {model.name!r} declares "
            f"{', '.join(spec.name + ' ' + spec.describe() for spec in model.inputs if spec.varies)}.",
            remedy="Give sizes without bounds.",
        )

    stage("exporting")
    exported = work / EXPORTED
    exported.mkdir()
    inputs = [held_out[spec.name] for spec in model.inputs]
    reference = kind.export(model, [array[0] for array in inputs], exported)
    stage("reference")
    outputs = _run(reference, inputs, model)
    others = _at_other_sizes(reference, inputs, model, work)
    specs = tuple(
        TensorSpec(
            name,
            tuple(array.shape[1:]),
            str(array.dtype),
            varies=varying_outputs(array.shape[1:], [(sizes, shapes[j]) for sizes, shapes in others], name),
        )
        for j, (name, array) in enumerate(zip(model.outputs, outputs, strict=True))
    )
    stage("drift reference")
    drift_reference, drift_samples, no_drift_because = write_drift_reference(
        model, normal, specs, lambda given: _run(reference, given, model), work
    )
    value = None
    if model.metric is not None and targets is not None:
        value = float(model.metric.compute(dict(zip(model.outputs, outputs, strict=True)), targets))

    names = save_arrays(work, CALIBRATION, [calibration[spec.name] for spec in model.inputs]) if calibration else ()
    save_arrays(work, HELD_OUT, inputs)
    save_arrays(work, REFERENCE, outputs)
    if targets is not None:
        np.save(work / TARGETS, targets, allow_pickle=False)
    facts = SourceFacts(
        inputs=model.inputs,
        outputs=specs,
        held_out=data.said,
        calibration_samples=len(next(iter(calibration.values()))) if calibration else 0,
        calibration_sha256=digest_of([sha256_of(work / name) for name in names]) if names else None,
        metric=model.metric.name if model.metric else None,
        metric_unit=model.metric.unit if model.metric else "",
        higher_is_better=model.metric.higher_is_better if model.metric else True,
        metric_value=value,
        no_metric_because=None if model.metric else model.no_metric_because,
        samples=len(inputs[0]),
        origin=model.origin,
        licence=model.licence,
        sizes=tuple(sizes for sizes, _ in others),
        held_out_sha256=data.sha256(),
        drift_reference=drift_reference,
        drift_samples=drift_samples,
        no_drift_because=no_drift_because,
        labels=_labels(model, specs),
    )
    (work / SOURCE_JSON).write_bytes(msgspec.json.encode(facts))
    shutil.rmtree(opened, ignore_errors=True)


def _labels(model: Model, outputs: Sequence[TensorSpec]) -> dict[str, tuple[str, ...]]:
    """The model's labels, one for each entry of an output's last axis.

    Raises:
        ModelError: there are more or fewer.
    """
    for spec in outputs:
        if spec.name in model.labels and spec.shape[-1:] != (count := len(model.labels[spec.name]),):
            raise ModelError(
                f"Model {model.name!r} has {count} labels for {spec.name!r}, which is {spec.describe()}.",
                remedy="Give one for each entry of its last axis.",
            )
    return {name: tuple(labels) for name, labels in model.labels.items()}


def fixed(model: Model, shapes: Shapes) -> Model:
    """The model of a folder, its dimensions that vary fixed by `--shape` where that was given.

    Raises:
        ModelError: a shape for another input or axis, or beyond the declared bounds.
    """
    inputs = {spec.name: spec for spec in model.inputs}
    for name, given in shapes.items():
        spec = inputs.get(name)
        bounds = {axis.axis: axis for axis in spec.varies} if spec else {}
        fits = spec is not None and len(given) == len(spec.shape) and all(
            isinstance(size, int) and (bounds[i].min <= size <= bounds[i].max if i in bounds else size == spec.shape[i])
            for i, size in enumerate(given)
        )  # fmt: skip
        if spec is None or not fits:
            declared = ", ".join(f"{s.name} {s.describe()}" for s in model.inputs)
            raise ModelError(
                f"--shape {name} does not fit model {model.name!r}, which declares {declared}.",
                remedy="For a folder it fixes dimensions that vary, within their bounds; else change its model.py.",
            )
        inputs[name] = msgspec.structs.replace(spec, shape=tuple(map(int, given)), varies=())  # type: ignore[arg-type]  # whole numbers: a range does not fit
    return replace(model, inputs=tuple(inputs.values()))


def _at_other_sizes(
    reference: Reference, inputs: list[np.ndarray], model: Model, work: Path
) -> list[tuple[dict[str, int], list[tuple[int, ...]]]]:
    """Runs the source at every other size to prove; writes samples and answers, returns the sizes and answers' shapes.

    Raises:
        ModelError: it fails there, though the model declares that it does not.
    """
    found = []
    for k, sizes in enumerate(sizes_to_prove(model.inputs)):
        folder = work / f"{SIZES}-{k}"
        folder.mkdir()
        given = [resized(array[:SIZE_SAMPLES], s, sizes) for s, array in zip(model.inputs, inputs, strict=True)]
        try:
            outputs = _run(reference, given, model)
        except Exception as error:  # a source raises what it likes here; the user gets its first line
            raise ModelError(
                f"Model {model.name!r} fails at {told(sizes)}: {first_line(error)}.",
                remedy="Declare bounds within which it works, or fix the sizes.",
            ) from error
        save_arrays(folder, HELD_OUT, given)
        save_arrays(folder, REFERENCE, outputs)
        found.append((sizes, [output.shape[1:] for output in outputs]))
    return found


def derive_export(job: Job, stage: Callable[[str], None]) -> None:
    """Writes the source's export as another kind into the job's folder."""
    work = Path(job.work)
    kind: Source = plugins.load("source", job.source)()
    plugins.require(
        (*kind.distributions, *kind.deriving.get(job.kind, ())),
        extra=kind.extra,
        purpose=f"A {kind.name} model as {job.kind}",
    )
    source = Path(str(job.source_folder))
    facts = read_facts(source)
    sample = [array[0] for array in load_arrays(source, HELD_OUT, len(facts.inputs))]
    stage(f"deriving {job.kind}")
    (work / EXPORTED).mkdir()
    kind.derive(job.kind, source / EXPORTED, sample, work / EXPORTED)


def _inspected_copy(kind: Source, path: Path, folder: Path, job: Job) -> Path:
    """A copy that nobody else writes to, inspected before it is opened: the file itself may have changed since.

    Raises:
        UntrustedModelError: it would execute code that it brings along, and is not trusted.
    """
    folder.mkdir()
    copy = folder / path.name
    if path.is_dir():
        shutil.copytree(path, copy)
    else:
        shutil.copyfile(path, copy)
        for companion in kind.companions(path):
            shutil.copyfile(path.parent / companion, copy.parent / companion)
    kind.inspect(copy, trust=job.trust, shown=str(path))
    return copy


def _run(
    reference: Callable[[Sequence[np.ndarray]], list[np.ndarray]], inputs: list[np.ndarray], model: Model
) -> list[np.ndarray]:
    import numpy as np

    answers = [reference([array[k] for array in inputs]) for k in range(len(inputs[0]))]
    if len(answers[0]) != len(model.outputs):
        raise ModelError(
            f"Model {model.name!r} returns {len(answers[0])} tensors, but names {len(model.outputs)} outputs "
            f"({', '.join(model.outputs)}).",
            remedy="Name every output, in order, in `outputs=` of model.py.",
        )
    outputs = [np.stack([answer[j] for answer in answers]) for j in range(len(answers[0]))]
    for name, output in zip(model.outputs, outputs, strict=True):
        if not np.isfinite(output).all():
            bad = int(np.argwhere(~np.isfinite(output))[0][0])
            raise ModelError(
                f"The source model {model.name!r} itself answers NaN or infinity in output {name!r} "
                f"(first for sample {bad}).",
                remedy="Mend the model or the data: nothing can be proven against such answers.",
            )
    return outputs
