"""From a runner's events to a block: what a device sent of one process, checked before it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.artifact import OutputParity, SizeParity
from edgekit.bench.delegation import read_delegation
from edgekit.bench.energy import read_energy
from edgekit.bench.facts import Facts
from edgekit.bench.run import Block, PageMemory
from edgekit.bench.samples import Samples, pack
from edgekit.bench.sense import same_boot, sensible, whole, whole_runtime
from edgekit.bench.undisturbed import Measured
from edgekit.errors import RunnerError, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.artifact import Artifact
    from edgekit.devices import RunnerDevice

Event = dict[str, Any]


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


def read_block(device: RunnerDevice, artifact: Artifact, events: Sequence[Event], step: str) -> Measured:
    """A block from all events of one `bench` request.

    Raises:
        WrongAnswerError: the golden inputs gave other outputs than on the host.
        RebootedError: the device started anew since the first block of this connection.
        RunnerError: what the events say cannot be.
    """
    with sensible(device):
        by_name = {event["event"]: event for event in events if event["event"] != "facts"}
        facts = {event["when"]: facts_of(event) for event in events if event["event"] == "facts"}
        check_answers(device, artifact, by_name)
        block = whole(block_of(device, by_name, facts, artifact))
        for when in ("before", "after"):
            same_boot(device, facts[when].values.get("boot_id"), step)
        return Measured(block, whole_runtime(by_name["runtime"]))


def facts_of(event: Event) -> Facts:
    """From a `facts` event."""
    return Facts(values=event["values"], missing=event["missing"])


def check_answers(device: RunnerDevice, artifact: Artifact, by_name: dict[str, Event]) -> None:
    """Raises if the golden check failed.

    Raises:
        WrongAnswerError: the golden inputs gave other outputs than on the host.
        RunnerError: the runner left some of them out.
    """
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


def block_of(device: RunnerDevice, by_name: dict[str, Event], facts: dict[str, Facts], artifact: Artifact) -> Block:
    """From the events of one `bench` request; inside `sensible`.

    Raises:
        RunnerError: one is missing, or has no latencies.
    """
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
        delegation=read_delegation(by_name.get("delegation")),
        energy=read_energy(by_name.get("energy")),
        invokes_per_sample=_at_least_one(by_name["samples"].get("invokes_per_sample", 1)),
        page_memory=_page_memory(memory),
        turns=_turns(by_name["samples"]),
    )


def _page_memory(event: Event) -> PageMemory | None:
    if "page_bytes" not in event:
        return None
    return PageMemory(event["page_bytes"], event["page_before_load_bytes"], event["wasm_bytes"], event["because"])


def _turns(event: Event) -> tuple[int, ...]:
    """How many samples each turn has; none of a block that had the device to itself."""
    counts = tuple(map(_at_least_one, event.get("turns", ())))
    if counts and sum(counts) != len(event["samples_ns"]):
        raise ValueError(f"{sum(counts)} samples in turns are not {len(event['samples_ns'])}")
    return counts


def _at_least_one(count: Any) -> int:
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"{count!r} invokes a sample, or samples a turn")
    return count


def _samples(device: RunnerDevice, event: Event) -> Samples:
    try:
        if not event["samples_ns"]:
            raise ValueError("there are none")  # noqa: TRY301 - one error for whatever is wrong with them
        return pack(event["samples_ns"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunnerError(
            f"The runner on {device.target.name} sent no latencies in its {event['event']!r} event: {error}.",
            remedy="Nothing of this run was kept. Check the device's clock, and run it again.",
        ) from error
