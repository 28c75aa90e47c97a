"""What runs in a worker process: `python -m edgekit.convert.worker WORK_FOLDER`, a job a line on standard input.

One step, in a process of its own: a crash, a leak or an abort in a converter costs that step, never the chain. Events
(stage, error, done) go to standard output, one JSON line each; everything that converters print goes to standard
error, which the chain keeps as the step's log.

A step that leaves a `torch.export` program in memory says so (`holds`), and its worker waits a while for one job more:
the chain may send it the first step that reads that program, which then needs not be read back.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.artifact import MANIFEST, Build, Cost, DriftReference, FileEntry, Manifest, Provenance, open_artifact
from edgekit.convert.budget import search_layers
from edgekit.convert.formats import Exported
from edgekit.convert.prepare import derive_export, prepare_source
from edgekit.convert.programs import holds_program, torch_is_as_new, torch_put_back
from edgekit.convert.prove import prove
from edgekit.convert.steps import (
    CALIBRATION,
    COST,
    EXPLANATION,
    SENSITIVITY,
    Job,
    SourceFacts,
    load_arrays,
    read_facts,
)
from edgekit.convert.watching import DRIFT_REFERENCE
from edgekit.errors import ConversionError, EdgeKitError, first_line
from edgekit.files import explain_os_error, no_space, sha256_of
from edgekit.runner.memory import peak_rss_bytes, reset_peak
from edgekit.runner.protocol import Events

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from edgekit.convert.formats import Format, Precision

BUILD = "build.json"
IDLE_S = 60.0
"""How long a worker that holds a program waits for the job that reads it."""


def _die_with_parent() -> None:
    """A worker whose chain was killed must not go on (Linux only; elsewhere it ends at its next event)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _source(job: Job, stage: Callable[[str], None]) -> None:
    if "torch" not in plugins.load("source", job.source).distributions:
        prepare_source(job, stage)
        return
    stage("importing torch")
    with torch_put_back():
        prepare_source(job, stage)


def _lower(job: Job, stage: Callable[[str], None]) -> None:
    form: Format = plugins.load("format", str(job.format))()
    plugins.require(form.required(job.kind), extra=form.extra, purpose=f"The format {form.name}")
    stage("lowering")
    form.lower(_exported(job), Path(job.work))


def _exported(job: Job) -> Exported:
    facts = read_facts(Path(str(job.source_folder)))
    return Exported(job.kind, Path(str(job.exported_folder)), facts.inputs, facts.outputs)


def calibration_of(job: Job, facts: SourceFacts, precision: Precision) -> dict[str, np.ndarray]:
    """The calibration data by input name, or nothing if the precision reads none."""
    if not precision.needs_calibration:
        return {}
    arrays = load_arrays(Path(str(job.source_folder)), CALIBRATION, len(facts.inputs))
    return {spec.name: array for spec, array in zip(facts.inputs, arrays, strict=True)}


def _check_dtypes(precision: Precision, stored: dict[str, int], job: Job) -> None:
    missing = [dtype for dtype in precision.must_store if not stored.get(dtype)]
    forbidden = [dtype for dtype in precision.must_not_store if stored.get(dtype)]
    if missing or forbidden:
        held = ", ".join(f"{count} × {dtype}" for dtype, count in stored.items())
        raise ConversionError(
            f"{job.model_name} {job.recipe}: the payload is not what it is called: it holds {held}"
            + (f", but no {', '.join(missing)}." if missing else f", among them {', '.join(forbidden)}."),
            remedy="The model may have no layer that this precision applies to: take another one.",
        )


def _recipe(job: Job, stage: Callable[[str], None]) -> None:
    began = time.perf_counter()
    assert job.recipe is not None
    work, source = Path(job.work), Path(str(job.source_folder))
    form: Format = plugins.load("format", job.recipe.format)()
    tools = plugins.require(form.required(job.kind), extra=form.extra, purpose=f"The format {form.name}")
    precision = form.validate(job.recipe)
    facts = read_facts(source)
    calibration = calibration_of(job, facts, precision)
    stage("converting")
    form.load(job.kind)
    form.progress = stage
    (work / "payload").mkdir()
    payload = work / "payload" / form.payload
    converted = form.convert(_exported(job), Path(str(job.lower_folder)), job.recipe, calibration, payload)
    stored = form.stored_dtypes(payload)
    _check_dtypes(precision, stored, job)
    proof = prove(job, facts, payload, converted, form, stage)

    stage("writing")
    if facts.drift_reference is not None:
        shutil.copyfile(source / DRIFT_REFERENCE, work / DRIFT_REFERENCE)
    files = sorted(p for p in work.rglob("*") if p.is_file())
    manifest = Manifest(
        model=job.model_name,
        recipe=job.recipe,
        runtime=form.runtime,
        payload=f"payload/{form.payload}",
        inputs=proof.inputs,
        outputs=proof.outputs,
        bindings=converted.bindings,
        stored_dtypes=stored,
        files=tuple(FileEntry(p.relative_to(work).as_posix(), p.stat().st_size, sha256_of(p)) for p in files),
        parity=proof.parity,
        accuracy=proof.accuracy,
        golden=proof.golden,
        reference=DriftReference(
            file=None if facts.drift_reference is None else DRIFT_REFERENCE,
            id=facts.drift_reference,
            samples=facts.drift_samples,
            because=facts.no_drift_because,
        ),
        provenance=Provenance(
            source_kind=job.source,
            source_sha256=job.source_sha256,
            calibration_sha256=facts.calibration_sha256 if calibration else None,
            calibration_samples=facts.calibration_samples if calibration else 0,
            tools={"edgekit": plugins.versions(("edgekit",)).get("edgekit", "unknown"), **tools},
            origin=facts.origin,
            licence=facts.licence,
            route=job.kind,
            evaluation_sha256=facts.held_out_sha256,
        ),
        notes=converted.notes,
        budget=job.budget,
        labels={
            spec.name: facts.labels[spec.name]
            for spec in proof.outputs
            if spec.name in facts.labels and spec.shape[-1:] == (len(facts.labels[spec.name]),)  # else its layout moved
        },
    )
    (work / MANIFEST).write_bytes(manifest.encode())
    build = Build(
        built_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        seconds=round(time.perf_counter() - began, 3),
        peak_rss_bytes=peak_rss_bytes(),
        host=os.uname().machine,
        shared=job.shared,
    )
    (work / BUILD).write_bytes(msgspec.json.encode(build))


def _explain(job: Job, stage: Callable[[str], None]) -> None:
    assert job.recipe is not None
    form: Format = plugins.load("format", job.recipe.format)()
    artifact = open_artifact(Path(str(job.artifact)))
    stage("explaining")
    form.load(job.kind)
    told = form.explain(
        _exported(job), Path(str(job.lower_folder)), job.recipe, artifact.path / artifact.manifest.payload
    )
    (Path(job.work) / EXPLANATION).write_bytes(msgspec.json.encode(told))


def _sensitivity(job: Job, stage: Callable[[str], None]) -> None:
    assert job.recipe is not None
    form: Format = plugins.load("format", job.recipe.format)()
    facts = read_facts(Path(str(job.source_folder)))
    calibration = calibration_of(job, facts, form.validate(job.recipe))
    form.load(job.kind)
    found = search_layers(job, facts, form, _exported(job), calibration, lambda done: stage(f"layer by layer, {done}"))
    (Path(job.work) / SENSITIVITY).write_bytes(msgspec.json.encode(found))


_STEPS: dict[str, Callable[[Job, Callable[[str], None]], None]] = {
    "source": _source,
    "derive": derive_export,
    "lower": _lower,
    "recipe": _recipe,
    "explain": _explain,
    "sensitivity": _sensitivity,
}


def _carry_out(job: Job, events: Events) -> bool:
    """Whether there is a program in memory that another step may go on with."""
    began = time.perf_counter()
    _STEPS[job.step](job, lambda name: events.emit("stage", name=name))
    cost = Cost(round(time.perf_counter() - began, 3), peak_rss_bytes())
    if job.step in ("source", "derive", "lower"):
        (Path(job.work) / COST).write_bytes(msgspec.json.encode(cost))
    holds = holds_program() and torch_is_as_new()
    events.emit("done", seconds=cost.seconds, peak_rss_bytes=cost.peak_rss_bytes, holds=holds)
    return holds


def _log_traceback() -> None:
    with suppress(OSError):  # the disk that holds the log may be the one that is full
        traceback.print_exc()


def _next_job() -> Job | None:
    """The next line of standard input; nothing if it ends, or stays silent for too long."""
    ready, _, _ = select.select([sys.stdin], [], [], IDLE_S)
    line = sys.stdin.buffer.readline() if ready else b""
    return msgspec.json.decode(line, type=Job) if line else None


def _print_to(log: str) -> None:
    """From now on, whatever is printed goes to this file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with Path(log).open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def main() -> int:
    """Carries out the jobs; 0 if their folders are filled, 1 if an `error` event says why not."""
    _die_with_parent()
    events = Events.on_stdout()
    holds = True
    while holds and (job := _next_job()) is not None:
        if job.log:
            _print_to(job.log)
            reset_peak()
        try:
            holds = _carry_out(job, events)
        except EdgeKitError as error:
            _log_traceback()
            events.emit("error", **error.as_dict())
            return 1
        except OSError as error:
            _log_traceback()
            events.emit("error", **explain_os_error(error, error.filename or job.work).as_dict())
            return 1
        except Exception as error:  # whatever a converter throws becomes one clear error, and its trace the log
            _log_traceback()
            full = no_space(Path(job.work))
            told = full or ConversionError(f"{type(error).__name__}: {first_line(error)}.")
            events.emit("error", **told.as_dict())
            return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The work is on disk. Interpreters with half a dozen native libraries do not always unload cleanly.
    os._exit(status)
