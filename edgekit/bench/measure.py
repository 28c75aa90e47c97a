"""One benchmark: the artifact and the runner are pushed, each block is a fresh process, the Run is assembled."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.bench.extras import Extras, add_extras
from edgekit.bench.guards import Patience, await_limits, disturbances, guard, violations
from edgekit.bench.reading import block_of, check_answers, facts_of
from edgekit.bench.run import Block, Context, GivenUp, Run, new_run_id
from edgekit.bench.sense import rebooted_meanwhile, same_boot, sensible, whole, whole_runtime
from edgekit.bench.size import shipped_bytes
from edgekit.bench.statistics import summarise
from edgekit.devices.progress import Progress
from edgekit.devices.runner_client import run_request
from edgekit.errors import ConnectionLostError, OutsideLimitsError
from edgekit.runner import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.artifact import Artifact, GoldenSize
    from edgekit.devices import RunnerDevice
    from edgekit.devices.runners import Runner

NS = 1_000_000_000

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


@dataclass(frozen=True)
class Measured:
    """A block, and the runtime that the device measured it with."""

    block: Block
    runtime: Event


class GaveUpError(OutsideLimitsError):
    """A block was given up; `given_up` has the reason, and what was measured."""

    def __init__(self, given_up: GivenUp, what: str, *, remedy: str) -> None:
        super().__init__(what, remedy=remedy)
        self.given_up = given_up


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
            given_up.append(msgspec.structs.replace(error.given_up, number=number))
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

    target, attempts, last = device.target, 0, None
    while True:
        patience = prepared.patience.left_s
        before, outside = await_limits(device, prepared.patience, tell)
        if outside:
            raise _gave_up(device, attempts, outside, last, waited_s=target.limits.wait_s)
        attempts += 1
        found = _attempt(device, prepared, on_event)
        after = device.conditions(watch_s=0)
        trouble = "; ".join([*disturbances(before, after), *violations(after, target, before=False)])
        seen = guard(before, after, target, patience - prepared.patience.left_s)
        last = msgspec.structs.replace(found.block, guard=seen, attempts=attempts, disturbed=trouble)
        if not trouble:
            return Measured(last, found.runtime)
        if attempts > target.limits.retries:
            raise _gave_up(device, attempts, trouble, last)
        tell(trouble)


def _gave_up(
    device: RunnerDevice, attempts: int, because: str, block: Block | None, *, waited_s: float | None = None
) -> GaveUpError:
    how = (
        f"was measured {attempts} times, and each time something disturbed it, at last this"
        if waited_s is None
        else f"is outside of the limits of its target, and EdgeKit has waited for {waited_s:g} s"
    )
    return GaveUpError(
        GivenUp(0, attempts, because, block),
        f"{device.name} {how}: {because}. Nothing was measured that counts.",
        remedy="Let it cool down, stop what else runs there, or change [limits] in the target.",
    )


def _attempt(device: RunnerDevice, prepared: Prepared, on_event: Callable[[Event], None]) -> Measured:
    """One process: its golden check, warm-up and samples."""
    step = f"measuring {prepared.artifact.title}"
    try:
        events = run_request(
            device, prepared.request, idle_timeout_s=device.target.bench.idle_timeout_s, on_event=on_event
        )
    except ConnectionLostError as error:
        raise rebooted_meanwhile(device, step) or error from error
    with sensible(device):
        by_name = {event["event"]: event for event in events if event["event"] != "facts"}
        facts = {event["when"]: facts_of(event) for event in events if event["event"] == "facts"}
        check_answers(device, prepared.artifact, by_name)
        block = whole(block_of(device, by_name, facts, prepared.artifact))
        for when in ("before", "after"):
            same_boot(device, facts[when].values.get("boot_id"), step)
        return Measured(block, whole_runtime(by_name["runtime"]))


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
            execution=prepared.runner.execution,
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
