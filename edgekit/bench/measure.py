"""One benchmark: the artifact and the runner are pushed, each block is a fresh process, the Run is assembled."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.bench.extras import Extras, add_extras
from edgekit.bench.guards import Patience
from edgekit.bench.reading import read_block
from edgekit.bench.run import Context, GivenUp, Run, new_run_id
from edgekit.bench.sense import rebooted_meanwhile
from edgekit.bench.size import shipped_bytes
from edgekit.bench.statistics import summarise
from edgekit.bench.undisturbed import GaveUpError, Measured, undisturbed
from edgekit.devices.progress import Progress
from edgekit.devices.runner_client import run_request
from edgekit.errors import ConnectionLostError
from edgekit.runner import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.artifact import Artifact, GoldenSize
    from edgekit.devices import RunnerDevice
    from edgekit.devices.runners import Runner

NS = 1_000_000_000

TURNS = "process, in turns"
"""The way of running of blocks whose processes took turns (`edgekit.bench.turns`): chosen processors, and a neighbour
in their caches, give other latencies."""

Event = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """An artifact that lies on a device, ready to be measured block by block."""

    artifact: Artifact
    threads: int
    request: Event
    runner: Runner
    started_at: str
    patience: Patience
    shipped_bytes: int | None


def bench(
    device: RunnerDevice,
    artifact: Artifact,
    *,
    threads: int,
    blocks: int,
    extras: Extras = Extras(),  # noqa: B008 - a frozen value
    on_event: Callable[[int, Event], None] = lambda _block, _event: None,
    on_bytes: Callable[[int], None] | None = None,
) -> Run:
    """Benchmarks an artifact; the caller holds the device's lock.

    Args:
        device: connected.
        artifact: pushed into the device's store first, unless it is there; not activated.
        threads: for the runtime.
        blocks: how many fresh processes.
        extras: what is run after the blocks, and not mixed with them.
        on_event: called with (block number from 0, runner event); `waiting` is an event too, with its `because`. An
            extra run's come with `blocks` as their number.
        on_bytes: called with the number of bytes each time some were sent.

    Raises:
        WrongAnswerError: the golden inputs gave other outputs than on the host: nothing was timed.
        OutsideLimitsError: every block was given up.
        RuntimeMissingError, RunnerError, ConnectionLostError, ...: see `edgekit.devices`.
    """
    prepared = prepare(device, artifact, threads=threads, on_bytes=on_bytes)
    run = measure_blocks(device, prepared, blocks, on_event)
    return add_extras(device, prepared, run, extras, partial(on_event, blocks))


def measure_blocks(
    device: RunnerDevice, prepared: Prepared, blocks: int, on_event: Callable[[int, Event], None]
) -> Run:
    """The Run of that many blocks, less those that had to be given up; raises as `bench`."""
    measured: list[Measured] = []
    given_up: list[GivenUp] = []
    last: GaveUpError | None = None
    for number in range(blocks):
        try:
            measured.append(measure(device, prepared, partial(on_event, number)))
        except GaveUpError as error:  # noqa: PERF203 - seconds are measured here
            given_up += [msgspec.structs.replace(one, number=number) for one in error.given_up]
            last = error
    if last is not None and not measured:
        raise last
    return assemble(device, prepared, measured, given_up)


def prepare(
    device: RunnerDevice, artifact: Artifact, *, threads: int, on_bytes: Callable[[int], None] | None = None
) -> Prepared:
    """Brings an artifact to the device, unless it is there.

    Raises:
        UnsuitableArtifactError: it is compiled for another processor than the device's; nothing was sent.
        RuntimeMissingError: the device has nothing that runs it; nothing was sent.
        TransferError, DeviceStorageError, ConnectionLostError, ...: see `RunnerDevice.place`.
    """
    device.check_fits(artifact)
    runner = device.runner(artifact.manifest.runtime)
    path = device.place(artifact, Progress(on_bytes) if on_bytes else None)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    request = bench_request(device, artifact, path, threads)
    patience = Patience(device.target.limits.wait_s)
    return Prepared(artifact, threads, request, runner, started, patience, shipped_bytes(artifact))


def measure(
    device: RunnerDevice, prepared: Prepared, on_event: Callable[[Event], None] = lambda _event: None
) -> Measured:
    """Measures one block within the target's limits, again if something disturbs it: see `edgekit.bench.guards`.

    Raises:
        GaveUpError: the device did not come within its limits, or was disturbed every time.
        WrongAnswerError: the golden inputs gave other outputs than on the host: nothing was timed.
        RebootedError: it started anew since the first block of this connection.
        RuntimeMissingError, RunnerError, ConnectionLostError, ...: see `run_request`.
    """

    def tell(outside: str) -> None:
        on_event({"event": "waiting", "because": outside})

    def attempt() -> list[Measured]:
        return [_attempt(device, prepared, on_event)]

    (found,) = undisturbed(device, prepared.patience, attempt, tell, count=1)
    return found


def _attempt(device: RunnerDevice, prepared: Prepared, on_event: Callable[[Event], None]) -> Measured:
    """One process: its golden check, warm-up and samples."""
    step = f"measuring {prepared.artifact.title}"
    try:
        events = run_request(
            device, prepared.request, idle_timeout_s=device.target.bench.idle_timeout_s, on_event=on_event
        )
    except ConnectionLostError as error:
        raise rebooted_meanwhile(device, step) or error from error
    return read_block(device, prepared.artifact, events, step)


def assemble(
    device: RunnerDevice, prepared: Prepared, measured: Sequence[Measured], given_up: Sequence[GivenUp] = ()
) -> Run:
    """The Run of blocks that were measured; at least one. Those that were given up count for nothing."""
    import numpy as np

    manifest, runtime = prepared.artifact.manifest, measured[-1].runtime
    return Run(
        id=new_run_id(),
        started_at=prepared.started_at,
        artifact=prepared.artifact.id,
        model=manifest.model,
        recipe=manifest.recipe,
        payload_bytes=manifest.payload_bytes,
        context=Context(
            target=device.target.name,
            transport=device.target.transport,
            runtime=runtime["name"],
            package=runtime["package"],
            version=runtime["version"],
            threads=prepared.threads,
            execution=TURNS if measured[-1].block.turns else prepared.runner.execution,
            runner=prepared.runner.kind,
            runner_sha256=prepared.runner.sha256,
            delegate=prepared.request.get("delegate"),
        ),
        blocks=tuple(one.block for one in measured),
        summary=summarise(
            np.concatenate([one.block.samples.unpack() for one in measured]).tolist(),
            max(one.block.invokes_per_sample for one in measured),
        ),
        accuracy=manifest.accuracy,
        given_up=tuple(given_up),
        shipped_bytes=prepared.shipped_bytes,
    )


def payload_request(artifact: Artifact, path: str) -> Event:
    """What every request that runs an artifact at `path` has in common."""
    manifest = artifact.manifest
    return {
        "schema": SCHEMA,
        "artifact": path,
        "payload": manifest.payload,
        "runtime": manifest.runtime,
        "bindings": {"inputs": list(manifest.bindings.inputs), "outputs": list(manifest.bindings.outputs)},
    }


def golden_request(artifact: Artifact, path: str) -> Event:
    """What every request that runs the golden inputs of an artifact at `path` has in common."""
    manifest = artifact.manifest
    return {
        **payload_request(artifact, path),
        "golden": {
            "inputs": list(manifest.golden.inputs),
            "outputs": list(manifest.golden.outputs),
            "min_snr_db": manifest.golden.min_snr_db,
            **({"sizes": [_golden_size(size) for size in manifest.golden.sizes]} if manifest.golden.sizes else {}),
        },
    }


def _golden_size(size: GoldenSize) -> Event:
    return {"sizes": size.sizes, "inputs": list(size.inputs), "outputs": list(size.outputs)}


def bench_request(device: RunnerDevice, artifact: Artifact, path: str, threads: int) -> Event:
    """The runner's request for one block."""
    settings = device.target.bench
    return {
        **golden_request(artifact, path),
        "do": "bench",
        "threads": threads,
        "max_warmup_ns": int(settings.max_warmup_s * NS),
        "min_samples": settings.min_samples,
        "min_ns": int(settings.min_s * NS),
        "max_ns": int(settings.max_s * NS),
        **({"delegate": settings.delegate} if settings.delegate is not None else {}),
    }
