"""One benchmark: the artifact and the runner are pushed, each block is a fresh process, the Run is assembled."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.artifact import OutputParity, SizeParity
from edgekit.bench.run import Block, Context, Facts, Run, new_run_id
from edgekit.bench.samples import Samples, pack
from edgekit.bench.sense import rebooted_meanwhile, same_boot, sensible, whole, whole_runtime
from edgekit.bench.statistics import summarise
from edgekit.devices.fitting import check_fits
from edgekit.devices.runner_client import run_request
from edgekit.devices.runners import runner_for
from edgekit.devices.store import Store
from edgekit.devices.upload import Progress
from edgekit.errors import ConnectionLostError, DeviceBusyError, RunnerError, WrongAnswerError
from edgekit.runner import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.artifact import Artifact, GoldenSize
    from edgekit.devices import Device
    from edgekit.devices.runners import Runner

NS = 1_000_000_000
QUIET_WAIT_S = 60.0
QUIET_POLL_S = 2.0

Event = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """An artifact that lies on a device, ready to be measured block by block."""

    artifact: Artifact
    threads: int
    request: Event
    runner: Runner
    started_at: str


@dataclass(frozen=True)
class Measured:
    """A block, and the runtime that the device measured it with."""

    block: Block
    runtime: Event


def bench(
    device: Device,
    artifact: Artifact,
    *,
    threads: int,
    blocks: int,
    on_event: Callable[[int, Event], None] = lambda _block, _event: None,
    on_bytes: Callable[[int], None] | None = None,
) -> Run:
    """Benchmarks an artifact; the caller holds the device's lock.

    Args:
        device: connected.
        artifact: pushed into the device's store first, unless it is there; not activated.
        threads: for the runtime.
        blocks: how many fresh processes.
        on_event: called with (block number from 0, runner event).
        on_bytes: called with the number of bytes each time some were sent.

    Raises:
        WrongAnswerError: the golden inputs gave other outputs than on the host: nothing was timed.
        RuntimeMissingError, RunnerError, ConnectionLostError, ...: see `edgekit.devices`.
    """
    prepared = prepare(device, artifact, threads=threads, on_bytes=on_bytes)
    return assemble(device, prepared, [measure(device, prepared, partial(on_event, k)) for k in range(blocks)])


def prepare(
    device: Device, artifact: Artifact, *, threads: int, on_bytes: Callable[[int], None] | None = None
) -> Prepared:
    """Brings an artifact to the device, unless it is there.

    Raises:
        UnsuitableArtifactError: it is compiled for another processor than the device's; nothing was sent.
        TransferError, DeviceStorageError, ConnectionLostError, ...: see `Store.push`.
    """
    check_fits(device, artifact)
    store = Store(device)
    store.push(artifact, Progress(on_bytes) if on_bytes else None)
    runner = runner_for(device)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    request = bench_request(device, artifact, store.artifact_path(artifact.id), threads)
    return Prepared(artifact, threads, request, runner, started)


def measure(device: Device, prepared: Prepared, on_event: Callable[[Event], None] = lambda _event: None) -> Measured:
    """Measures one block: a fresh process, its golden check, warm-up and samples.

    Raises:
        WrongAnswerError: the golden inputs gave other outputs than on the host: nothing was timed.
        DeviceBusyError: the device was too busy for too long.
        RebootedError: it started anew since the first block of this connection.
        RuntimeMissingError, RunnerError, ConnectionLostError, ...: see `run_request`.
    """
    step = f"measuring {prepared.artifact.title}"
    _wait_for_quiet(device)
    try:
        events = run_request(
            device, prepared.request, idle_timeout_s=device.target.bench.idle_timeout_s, on_event=on_event
        )
    except ConnectionLostError as error:
        raise rebooted_meanwhile(device, step) or error from error
    with sensible(device):
        by_name = {event["event"]: event for event in events if event["event"] != "facts"}
        facts = {event["when"]: _facts(event) for event in events if event["event"] == "facts"}
        _check_answers(device, prepared.artifact, by_name)
        block = whole(_block(device, by_name, facts, prepared.artifact))
        for when in ("before", "after"):
            same_boot(device, facts[when].values.get("boot_id"), step)
        return Measured(block, whole_runtime(by_name["runtime"]))


def assemble(device: Device, prepared: Prepared, measured: Sequence[Measured]) -> Run:
    """The Run of blocks that were measured; at least one."""
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
            runner=prepared.runner.kind,
            runner_sha256=prepared.runner.sha256,
        ),
        blocks=tuple(one.block for one in measured),
        summary=summarise(np.concatenate([one.block.samples.unpack() for one in measured]).tolist()),
        accuracy=manifest.accuracy,
    )


def _wait_for_quiet(device: Device) -> None:
    """Waits, with a bound, until the load of the last minute is below the target's limit, if it has one.

    Raises:
        DeviceBusyError: it never was. Nothing was measured.
    """
    limit = device.target.bench.max_load_1min
    if limit is None:
        return
    end = time.monotonic() + QUIET_WAIT_S
    while True:
        answer = device.run(["cat", "/proc/loadavg"], step="reading its load").stdout.decode(errors="replace")
        try:
            load = float(answer.split()[0])
        except (IndexError, ValueError):
            return  # a device that does not tell its load has none to wait for; the run's facts say so
        if load <= limit:
            return
        if time.monotonic() >= end:
            raise DeviceBusyError(
                f"{device.name} has a load of {load:.2f}, above the {limit:g} that its target allows, and kept it for "
                f"{QUIET_WAIT_S:.0f} s. Nothing was measured.",
                remedy="Stop what else runs there, or raise max_load_1min in the target.",
            )
        device.keep_lock()
        time.sleep(QUIET_POLL_S)


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


def check_every_size(artifact: Artifact, golden: Event, where: str) -> tuple[SizeParity, ...]:
    """What the golden check gave at the other sizes of an artifact whose dimensions vary.

    Raises:
        RunnerError: the runner left some out, as one from before there were any would.
    """
    wanted = [size.sizes for size in artifact.manifest.golden.sizes]
    found = golden.get("sizes", [])
    if [size["sizes"] for size in found] != wanted:
        raise RunnerError(
            f"The runner on {where} checked the golden answers of {artifact.title} at {len(found)} of "
            f"{len(wanted)} further sizes.",
            remedy="Fix the sizes with --shape when the model is converted, or use EdgeKit's Python runner there.",
        )
    names = [spec.name for spec in artifact.manifest.outputs]
    return tuple(
        SizeParity(
            size["sizes"], tuple(OutputParity(output=n, **o) for n, o in zip(names, size["outputs"], strict=True))
        )
        for size in found
    )


def bench_request(device: Device, artifact: Artifact, path: str, threads: int) -> Event:
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
    }


def _facts(event: Event) -> Facts:
    return Facts(values=event["values"], missing=event["missing"])


def _check_answers(device: Device, artifact: Artifact, by_name: dict[str, Event]) -> None:
    golden = by_name.get("golden")
    if golden is None:
        return
    others = check_every_size(artifact, golden, device.target.name)
    if golden["passed"]:
        return
    every = [*golden["outputs"], *(msgspec.structs.asdict(o) for size in others for o in size.outputs)]
    found = [o["snr_db"] for o in every if o["snr_db"] is not None]
    said = f"an SNR of {min(found):.1f} dB" if found else "answers that are not finite, or no signal"
    raise WrongAnswerError(
        f"{artifact.title} gives wrong answers on {device.target.name}: {said} against the host's on "
        f"{artifact.manifest.golden.samples} golden inputs, where {golden['min_snr_db']:.1f} dB is the least. "
        "Nothing was timed.",
        remedy="Compare the runtime's version there with the host's (`edgekit doctor`), or take another precision.",
    )


def _block(device: Device, by_name: dict[str, Event], facts: dict[str, Facts], artifact: Artifact) -> Block:
    missing = {"first", "golden", "warmup", "samples", "memory"} - by_name.keys()
    if missing or {"before", "after"} - facts.keys():
        raise RunnerError(
            f"The runner on {device.target.name} left out {', '.join(sorted(missing)) or 'the device facts'}.",
            remedy="Report this as a bug of EdgeKit, with the target's Python version.",
        )
    first, memory = by_name["first"], by_name["memory"]
    names = [spec.name for spec in artifact.manifest.outputs]
    return Block(
        init_ns=first["init_ns"],
        first_ns=first["first_ns"],
        input_ns=first["input_ns"],
        output_ns=first["output_ns"],
        golden=tuple(
            OutputParity(output=name, **result)
            for name, result in zip(names, by_name["golden"]["outputs"], strict=True)
        ),
        warmup=_samples(device, by_name["warmup"]),
        steady=by_name["warmup"]["steady"],
        samples=_samples(device, by_name["samples"]),
        stop=by_name["samples"]["stop"],
        median_half_width=by_name["samples"]["median_half_width"],
        peak_rss_bytes=memory["peak_rss_bytes"],
        before_load_bytes=memory["before_load_bytes"],
        before=facts["before"],
        after=facts["after"],
    )


def _samples(device: Device, event: Event) -> Samples:
    try:
        if not event["samples_ns"]:
            raise ValueError("there are none")  # noqa: TRY301 - one error for whatever is wrong with them
        return pack(event["samples_ns"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunnerError(
            f"The runner on {device.target.name} sent no latencies in its {event['event']!r} event: {error}.",
            remedy="Nothing of this run was kept. Check the device's clock, and run it again.",
        ) from error
