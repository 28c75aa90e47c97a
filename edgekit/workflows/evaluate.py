"""Evaluate: a model's own data and metric, through the device's runtime, against this machine's on the same samples.

    data      what was held out when the artifact was made, by the model's code; told where it is not that any more
    there     the samples' answers on the device (`edgekit.bench.evaluation`)
    here      the same through the same runner on this machine; where it cannot run the artifact (another processor,
              Core ML), the manifest's metric and the golden answers stand in
    judge     the metric of both, the drop with its interval, and how far the answers themselves agree

The model's functions run in this process: its data are made once, and a metric may be computed a thousand times.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.artifact import OutputParity
from edgekit.bench.evaluation import Collected, Evaluated, SampleSet, collect
from edgekit.bench.evaluation.asking import Asked
from edgekit.bench.evaluation.judge import interval_of_drop, verdict
from edgekit.bench.evaluation.result import Agreement, Data, OnDevice
from edgekit.convert.budget import parse_max_drop
from edgekit.convert.held_out import HeldOut, held_out_data
from edgekit.convert.load import ModelRef, find_model, import_model, is_model_folder
from edgekit.devices import connect_runner, load_target
from edgekit.errors import DataError, ModelError, RuntimeMissingError, UnsuitableArtifactError
from edgekit.runner.compare import at_least, compare
from edgekit.specs import relaid

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import numpy as np

    from edgekit.artifact import Artifact
    from edgekit.bench.evaluation.collecting import Telling
    from edgekit.devices import RunnerDevice
    from edgekit.model import Model

DEFAULT_MAX_DROP = "1%"


@dataclass(frozen=True)
class Options:
    """How to evaluate.

    Args:
        limit: the first so many samples; None for all.
        batch: samples an answer, at most; None: by their size.
        threads: of the device's runtime.
        max_drop: what the device's metric may be worse than this machine's, as for `convert`.
        again: whether to go on after the link or the runner failed; else the first failure is raised.
    """

    limit: int | None = None
    batch: int | None = None
    threads: int = 1
    max_drop: str = DEFAULT_MAX_DROP
    again: bool = True


@dataclass(frozen=True)
class Subject:
    """A model with its held-out data, made once for all artifacts that are evaluated on them."""

    ref: ModelRef
    model: Model
    held_out: HeldOut
    sha256: str = field(default="")


def subject_of(artifact: Artifact, where: str | None, announce: Callable[[str], None] = lambda _: None) -> Subject:
    """The model that an artifact was made of.

    Args:
        artifact: of which the model's data are wanted.
        where: the model's folder; None: `models/NAME`.
        announce: told what is executed, before it is.

    Raises:
        ModelError: there is none, it has no code, or it is another one.
        DataError: its data cannot be used.
    """
    name = artifact.manifest.model
    try:
        ref = find_model(where or name, announce=announce)
    except ModelError as error:
        if where is not None:
            raise
        raise ModelError(
            f"{artifact.title} is evaluated on the data of its model, and there is no models/{name} here.",
            remedy="Say where the model's folder is: --model PATH.",
        ) from error
    if not is_model_folder(ref.path):
        raise ModelError(
            f"{ref.path} is a model file: it brings no data to evaluate {artifact.title} on.",
            remedy="Put a model.py with `evaluation` and `metric` around it (docs/models.md), or check the golden "
            "answers on the device: edgekit verify --on TARGET.",
        )
    return load_subject(ref, artifact)


def load_subject(ref: ModelRef, artifact: Artifact) -> Subject:
    """As `subject_of`, of a model that was found.

    Raises:
        ModelError: it is another model than the artifact's.
        DataError: its data cannot be used.
    """
    model = import_model(ref.path)
    if model.name != artifact.manifest.model:
        raise ModelError(
            f"{artifact.title} is of the model {artifact.manifest.model!r}, and {ref.path} is {model.name!r}.",
            remedy="Give the folder of the artifact's own model: --model PATH.",
        )
    held_out = held_out_data(model)
    return Subject(ref, model, held_out, held_out.sha256())


def evaluate(
    open_device: Callable[[], AbstractContextManager[RunnerDevice]], artifact: Artifact, subject: Subject,
    options: Options, telling: Telling | None = None,
) -> tuple[Evaluated, Collected]:  # fmt: skip
    """Evaluates an artifact on a device.

    Args:
        open_device: connects and takes the lock; called again after the link failed.
        artifact: here; pushed unless it is there.
        subject: its model, with data.
        options: how.
        telling: who is told how it goes on the device.

    Returns:
        What was found, and the answers: their `kept` is to be removed when the result is safe.

    Raises:
        RecipeError: no such budget.
        DataError: the data are not what the artifact takes.
        DeviceError: see `collect`.
    """
    manifest = artifact.manifest
    allowed = parse_max_drop(options.max_drop, manifest.accuracy.unit)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    samples = _samples(artifact, subject, options.limit)
    asked = Asked(artifact, samples, options.threads, samples.batch(options.batch))
    changed = _changes(artifact, subject)
    there = collect(open_device, asked, telling, again=options.again)
    here = _here(asked)
    agreement = _agreement(artifact, here, there, changed)
    accuracy = _accuracy(artifact, subject, here, there, allowed.amount_of, changed)
    outcome, because = verdict(
        accuracy.drop, accuracy.allowed or 0.0, accuracy.interval, agreement.outputs, agreed=agreement.agreed
    )
    of = len(next(iter(subject.held_out.inputs.values())))
    made = Evaluated(
        id=secrets.token_hex(6),
        started_at=started,
        artifact=artifact.id,
        model=manifest.model,
        recipe=manifest.recipe,
        context=there.answering.context,
        facts=there.answering.facts,
        data=Data(subject.sha256, samples.count, of, subject.held_out.said, changed),
        accuracy=accuracy,
        agreement=agreement,
        outcome=outcome,
        because=because,
        max_drop=options.max_drop,
        resumed=there.resumed,
        connections=there.connections,
    )
    if here is not None:
        here.kept.remove()
    return made, there


def _samples(artifact: Artifact, subject: Subject, limit: int | None) -> SampleSet:
    """The first samples as the payload takes them.

    Raises:
        DataError: the model has other inputs than the artifact.
    """
    manifest, inputs = artifact.manifest, []
    given = [spec.name for spec in subject.model.inputs]
    if given != [spec.name for spec in manifest.inputs]:
        raise _other_inputs(artifact, subject)
    for spec, stored in zip(subject.model.inputs, manifest.inputs, strict=True):
        array = relaid(subject.held_out.inputs[spec.name][:limit], spec, stored.layout)
        if array.shape[1:] != stored.shape:
            raise _other_inputs(artifact, subject)
        inputs.append(array)
    return SampleSet(tuple(inputs), manifest.outputs)


def _other_inputs(artifact: Artifact, subject: Subject) -> DataError:
    takes = ", ".join(f"{spec.name} {spec.describe()}" for spec in artifact.manifest.inputs)
    has = ", ".join(f"{spec.name} {spec.describe()}" for spec in subject.model.inputs)
    return DataError(
        f"{artifact.title} takes {takes}, and {subject.ref.path} has data of {has}.",
        remedy="Convert the model again, or give the folder that the artifact was made of: --model PATH.",
    )


def _changes(artifact: Artifact, subject: Subject) -> tuple[str, ...]:
    """In what the model differs from the one that the artifact was made of; data first."""
    made, count = artifact.manifest.provenance, len(next(iter(subject.held_out.inputs.values())))
    changed = []
    known = made.evaluation_sha256
    before = artifact.manifest.accuracy.samples
    if known and known != subject.sha256:
        changed.append(f"the data changed since it was converted (sha256 {known[:12]}, now {subject.sha256[:12]})")
    elif not known and before and before != count:
        changed.append(f"the data changed since it was converted ({before} samples, now {count})")
    elif subject.ref.sha256() != made.source_sha256:
        what = "but not its data" if known else "which may include its data"
        changed.append(f"the model's code, files or packages changed since it was converted, {what}")
    return tuple(changed)


def _here(asked: Asked) -> Collected | None:
    """The answers of this machine; None where it cannot run the artifact."""
    target = msgspec.structs.replace(load_target("local"), runner="python")
    mine = Asked(asked.artifact, asked.samples, 1, asked.batch, push=False)
    try:
        return collect(lambda: connect_runner(target), mine)
    except (RuntimeMissingError, UnsuitableArtifactError):
        return None


def _agreement(artifact: Artifact, here: Collected | None, there: Collected, changed: tuple[str, ...]) -> Agreement:
    """How far the device's answers are from this machine's, or from the golden ones."""
    import numpy as np

    golden, names = artifact.manifest.golden, [spec.name for spec in artifact.manifest.outputs]
    if here is not None:
        reference: list[np.ndarray] = list(here.outputs)
    elif changed:
        return Agreement(0, (), golden.min_snr_db, None)
    else:
        reference = [np.load(artifact.path / file, allow_pickle=False) for file in golden.outputs]
    count = min(len(reference[0]), len(there.outputs[0]))
    rows = [compare(a[:count], b[:count]) for a, b in zip(reference, there.outputs, strict=True)]
    agreed = all(at_least(row, golden.min_snr_db) for row in rows)
    outputs = tuple(OutputParity(output=name, **row) for name, row in zip(names, rows, strict=True))
    return Agreement(count, outputs, golden.min_snr_db, agreed)


def _accuracy(
    artifact: Artifact, subject: Subject, here: Collected | None, there: Collected,
    amount_of: Callable[[float], float], changed: tuple[str, ...],
) -> OnDevice:  # fmt: skip
    """The metric of both sides, with the drop and its interval."""
    import numpy as np

    metric, stated = subject.model.metric, artifact.manifest.accuracy
    made: dict[str, Any] = {
        "metric": metric.name if metric else None, "unit": metric.unit if metric else "",
        "higher_is_better": metric.higher_is_better if metric else True,
        "source": stated.source, "manifest": stated.artifact, "here": None, "here_by": "", "device": None,
        "drop": None, "interval": None, "allowed": None,
    }  # fmt: skip
    if metric is None or subject.held_out.targets is None:
        return OnDevice(**made, because=subject.model.no_metric_because)
    count = len(there.outputs[0])
    targets = subject.held_out.targets[:count]
    names = [spec.name for spec in artifact.manifest.outputs]
    device = dict(zip(names, there.outputs, strict=True))
    if not all(np.isfinite(array).all() for array in there.outputs):
        return OnDevice(**made, because="the device's answers are not all finite")
    made["device"] = float(metric.compute(device, targets))
    mine = dict(zip(names, here.outputs, strict=True)) if here else None
    is_whole = count == len(subject.held_out.targets) and not changed
    if mine is not None:
        made |= {"here": float(metric.compute(mine, targets)), "here_by": "computed"}
    elif is_whole and stated.artifact is not None:
        made |= {"here": stated.artifact, "here_by": "manifest"}
    if made["here"] is None:
        because = "this machine cannot run the artifact, and the manifest's metric is of other samples"
        return OnDevice(**made, because=because)
    drop = made["here"] - made["device"]
    made |= {"drop": drop if metric.higher_is_better else -drop, "allowed": amount_of(made["here"])}
    if mine is not None:
        made["interval"] = interval_of_drop(
            metric.compute, mine, device, targets, higher_is_better=metric.higher_is_better
        )
    return OnDevice(**made)
