"""What runs in a worker process: `python -m edgekit.convert.worker JOB.json`.

One step, in a process of its own: a crash, a leak or an abort in a converter costs that step, never the chain. Events
(stage, error, done) go to standard output, one JSON line each; everything that converters print goes to standard
error, which the chain keeps as the step's log.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgekit import plugins
from edgekit.artifact import MANIFEST, Build, FileEntry, Manifest, Provenance
from edgekit.convert.prepare import prepare_source
from edgekit.convert.prove import prove
from edgekit.convert.steps import CALIBRATION, EXPORTED, Job, load_arrays, read_facts
from edgekit.errors import ConversionError, EdgeKitError
from edgekit.files import explain_os_error, no_space, sha256_of
from edgekit.runner.memory import peak_rss_bytes
from edgekit.runner.protocol import Events

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.convert.formats import Format, Precision

BUILD = "build.json"


def _die_with_parent() -> None:
    """A worker whose chain was killed must not go on (Linux only; elsewhere it ends at its next event)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _lower(job: Job, stage: Callable[[str], None]) -> None:
    form: Format = plugins.load("format", str(job.format))()
    plugins.require(form.distributions, extra=form.extra, purpose=f"The format {form.name}")
    stage("lowering")
    form.lower(Path(str(job.source_folder)) / EXPORTED, Path(job.work))


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
    tools = plugins.require(form.distributions, extra=form.extra, purpose=f"The format {form.name}")
    precision = form.validate(job.recipe)
    facts = read_facts(source)
    calibration = {}
    if precision.needs_calibration:
        arrays = load_arrays(source, CALIBRATION, len(facts.inputs))
        calibration = {spec.name: array for spec, array in zip(facts.inputs, arrays, strict=True)}
    stage("converting")
    (work / "payload").mkdir()
    payload = work / "payload" / form.payload
    bindings = form.convert(source / EXPORTED, Path(str(job.lower_folder)), job.recipe, calibration, payload)
    stored = form.stored_dtypes(payload)
    _check_dtypes(precision, stored, job)
    proof = prove(job, facts, payload, bindings, form.runtime, precision.min_snr_db, stage)

    stage("writing")
    files = sorted(p for p in work.rglob("*") if p.is_file())
    manifest = Manifest(
        model=job.model_name,
        recipe=job.recipe,
        runtime=form.runtime,
        payload=f"payload/{form.payload}",
        inputs=proof.inputs,
        outputs=proof.outputs,
        bindings=bindings,
        stored_dtypes=stored,
        files=tuple(FileEntry(p.relative_to(work).as_posix(), p.stat().st_size, sha256_of(p)) for p in files),
        parity=proof.parity,
        accuracy=proof.accuracy,
        golden=proof.golden,
        provenance=Provenance(
            source_kind=job.source,
            source_sha256=job.source_sha256,
            calibration_sha256=facts.calibration_sha256 if calibration else None,
            calibration_samples=facts.calibration_samples if calibration else 0,
            tools={"edgekit": plugins.versions(("edgekit",)).get("edgekit", "unknown"), **tools},
            origin=facts.origin,
            licence=facts.licence,
        ),
    )
    (work / MANIFEST).write_bytes(manifest.encode())
    build = Build(
        built_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        seconds=round(time.perf_counter() - began, 3),
        peak_rss_bytes=peak_rss_bytes(),
        host=os.uname().machine,
    )
    (work / BUILD).write_bytes(msgspec.json.encode(build))


_STEPS: dict[str, Callable[[Job, Callable[[str], None]], None]] = {
    "source": prepare_source,
    "lower": _lower,
    "recipe": _recipe,
}


def _log_traceback() -> None:
    with suppress(OSError):  # the disk that holds the log may be the one that is full
        traceback.print_exc()


def main(argv: list[str]) -> int:
    """Carries out the job; 0 if its folder is filled, 1 if an `error` event says why not."""
    _die_with_parent()
    events = Events.on_stdout()
    job = msgspec.json.decode(Path(argv[1]).read_bytes(), type=Job)
    try:
        _STEPS[job.step](job, lambda name: events.emit("stage", name=name))
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
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        full = no_space(Path(job.work))
        told = full or ConversionError(f"{type(error).__name__}: {first}")
        events.emit("error", **told.as_dict())
        return 1
    events.emit("done")
    return 0


if __name__ == "__main__":
    status = main(sys.argv)
    sys.stdout.flush()
    sys.stderr.flush()
    # The work is on disk. Interpreters with half a dozen native libraries do not always unload cleanly.
    os._exit(status)
