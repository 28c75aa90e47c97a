"""The source step: load the model once, hold data out, run it for reference, judge it, export it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.convert.load import import_model, is_model_folder
from edgekit.convert.steps import (
    CALIBRATION,
    EXPORTED,
    HELD_OUT,
    REFERENCE,
    SOURCE_JSON,
    TARGETS,
    Job,
    SourceFacts,
    load_arrays,
    read_facts,
    save_arrays,
)
from edgekit.errors import DataError, ModelError
from edgekit.files import digest_of, sha256_of
from edgekit.specs import TensorSpec, stack_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from edgekit.convert.sources import Source
    from edgekit.model import Arrays, Model

RANDOM_SAMPLES = 16
SEED = 20261124


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
        model = import_model(path)
    else:
        model = kind.open_file(_inspected_copy(kind, path, opened, job), job.model_name, str(path), job.shapes)
    calibration = _calibration(model, job.calibration)
    held_out, targets, said, calibration = _hold_out(model, calibration)

    stage("exporting")
    exported = work / EXPORTED
    exported.mkdir()
    inputs = [held_out[spec.name] for spec in model.inputs]
    reference = kind.export(model, [array[0] for array in inputs], exported)
    stage("reference")
    outputs = _run(reference, inputs, model)
    specs = tuple(
        TensorSpec(name, tuple(array.shape[1:]), str(array.dtype))
        for name, array in zip(model.outputs, outputs, strict=True)
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
        held_out=said,
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
    )
    (work / SOURCE_JSON).write_bytes(msgspec.json.encode(facts))
    shutil.rmtree(opened, ignore_errors=True)


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


def _calibration(model: Model, file: str | None) -> dict[str, np.ndarray] | None:
    if file is not None:
        return stack_all(model.inputs, _read_npz(Path(file)), what=f"calibration data in {Path(file).name}")
    if model.calibration is None:
        return None
    return stack_all(model.inputs, model.calibration(), what=f"calibration data of model {model.name!r}")


def _read_npz(path: Path) -> Arrays:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                return {"array": archive}
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as calibration data: {error}.",
            remedy="Write it with numpy.savez(path, input_name=array), without Python objects.",
        ) from error


def _hold_out(
    model: Model, calibration: dict[str, np.ndarray] | None
) -> tuple[dict[str, np.ndarray], np.ndarray | None, str, dict[str, np.ndarray] | None]:
    """What parity is judged on, the metric's targets, a description, and the calibration data that remain."""
    import numpy as np

    if model.evaluation is not None:
        evaluation = model.evaluation()
        held_out = stack_all(model.inputs, evaluation.inputs, what=f"evaluation data of model {model.name!r}")
        count = len(next(iter(held_out.values())))
        targets = np.asarray(evaluation.targets)
        if len(targets) != count:
            raise DataError(
                f"The evaluation data of model {model.name!r} have {count} inputs and {len(targets)} targets.",
                remedy="Give one target an input.",
            )
        return held_out, targets, f"{count} evaluation samples", calibration
    if calibration is None:
        if any(not spec.dtype.startswith("float") for spec in model.inputs):
            raise DataError(
                f"Model {model.name!r} takes integers and brings no data: random ones would mean nothing to it.",
                remedy="Give --calibration data.npz.",
            )
        random = np.random.default_rng(SEED)
        held_out = {
            spec.name: random.standard_normal((RANDOM_SAMPLES, *spec.shape)).astype(spec.dtype) for spec in model.inputs
        }
        return held_out, None, f"{RANDOM_SAMPLES} random inputs (no calibration data were given)", None
    count = len(next(iter(calibration.values())))
    if count == 1:
        return calibration, None, "the only calibration sample, which also calibrated", calibration
    kept = count - max(1, count // 5)
    held_out = {name: array[kept:] for name, array in calibration.items()}
    remaining = {name: array[:kept] for name, array in calibration.items()}
    return held_out, None, f"{count - kept} samples held out of the calibration data", remaining


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
                f"(first for held-out sample {bad}).",
                remedy="Mend the model or the data: nothing can be proven against such answers.",
            )
    return outputs
