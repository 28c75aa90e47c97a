"""One connection of an evaluation: what it is that answers, and the samples that are missing, piece by piece.

Samples are pushed to the device's store, not streamed to the runner: the push verifies them there, goes on after a cut
where it was, compresses where that is faster, and a second artifact, or a second attempt, finds them there already
(docs/decisions/0029-samples-are-pushed-answers-are-kept.md).
"""

from __future__ import annotations

import base64
import tempfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.bench.measure import payload_request
from edgekit.bench.run import Context, Facts
from edgekit.bench.sense import sensible, whole, whole_runtime
from edgekit.devices.runner_client import run_request
from edgekit.devices.runners import install_remedy
from edgekit.errors import RemoteTimeoutError, RuntimeMissingError
from edgekit.files import digest_of
from edgekit.runner.answer import FLUSH_S
from edgekit.runner.session import to_real

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from edgekit.artifact import Artifact
    from edgekit.bench.evaluation.kept import KeptAnswers
    from edgekit.bench.evaluation.samples import Piece, SampleSet
    from edgekit.devices import RunnerDevice

KEPT_BYTES = 256 << 20
"""Samples that stay on a device for the next evaluation; larger data sets are there a piece at a time."""
IDENTITY = ("cpu_model", "machine", "os", "libc", "browser")
"""Facts that answers depend on. A device that reboots is the same one."""
_ANSWERS = "answers"


@dataclass(frozen=True)
class Asked:
    """What is asked for: an artifact's answers to samples, with a number of threads, so many samples an event.

    `push` says whether artifact and samples are brought to the device, or lie on it already, being this machine.
    """

    artifact: Artifact
    samples: SampleSet
    threads: int
    batch: int
    push: bool = True


@dataclass(frozen=True)
class Answering:
    """What answers: the runtime and how it is run, and what the device says of itself."""

    context: Context
    facts: Facts

    def key(self, asked: Asked) -> str:
        """A hash over all that the answers depend on."""
        device = {name: self.facts.values.get(name) for name in IDENTITY}
        context = {name: getattr(self.context, name) for name in self.context.__struct_fields__}
        return digest_of([asked.artifact.id, asked.samples.sha256, context, device])


def who_answers(device: RunnerDevice, asked: Asked) -> Answering:
    """Asks a device for its facts and the artifact's runtime.

    Raises:
        UnsuitableArtifactError: the artifact is compiled for another processor.
        RuntimeMissingError: there is no such runtime.
        DeviceError: the link or the runner failed.
    """
    device.check_fits(asked.artifact)
    name = asked.artifact.manifest.runtime
    bound = device.target.bench.idle_timeout_s
    events = run_request(device, {"do": "info", "runtimes": [name]}, idle_timeout_s=bound, runtime=name)
    runner = device.runner(name)
    with sensible(device):
        by_name = {event["event"]: event for event in events}
        if "no-runtime" in by_name:
            raise RuntimeMissingError(
                f"{device.name} has no runtime {name!r}: {str(by_name['no-runtime'].get('reason')).rstrip('.')}.",
                remedy=install_remedy(device, name),
            )
        facts, runtime = by_name["facts"], whole_runtime(by_name["runtime"])
        return Answering(
            whole(
                Context(
                    target=device.target.name, transport=device.target.transport, runtime=name,
                    package=runtime["package"], version=runtime["version"], threads=asked.threads,
                    runner_sha256=runner.sha256, execution=runner.execution, runner=runner.kind,
                )
            ),
            whole(Facts(facts["values"], facts["missing"])),
        )  # fmt: skip


def ask(device: RunnerDevice, asked: Asked, kept: KeptAnswers, on_batch: Callable[[int], None]) -> None:
    """Asks for every sample that has no answer yet.

    Args:
        device: connected, and ours.
        asked: what is asked for.
        kept: where answers go.
        on_batch: told how many were answered since it was last told.

    Raises:
        DeviceStorageError: artifact or samples do not fit there.
        RemoteTimeoutError: no answer came for too long.
        DeviceError: the link or the runner failed.
    """
    path = device.place(asked.artifact) if asked.push else str(asked.artifact.path)
    stays = asked.samples.total_bytes <= KEPT_BYTES
    there: list[str] = []
    for first, count in asked.samples.ranges():
        if not kept.missing(first, count) and not stays:
            continue
        piece = asked.samples.piece(first, count)
        with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
            folder = scratch
            sources = piece.write(Path(scratch))
            if asked.push:
                folder = device.place_samples(piece.name, sources, keeping=there if stays else ())
            there.append(piece.name)
            for gap in kept.missing(first, count):
                _Request(device, asked, kept, on_batch, path, folder, piece).run(*gap)
    if asked.push and not stays:
        device.keep_samples(())


class _Request:
    """One request of the runner, for a gap in one piece."""

    def __init__(
        self, device: RunnerDevice, asked: Asked, kept: KeptAnswers, on_batch: Callable[[int], None], path: str,
        folder: str, piece: Piece,
    ) -> None:  # fmt: skip
        self._device, self._asked, self._kept, self._on_batch = device, asked, kept, on_batch
        self._path, self._folder, self._piece = path, folder, piece
        self._next = 0
        self._last = time.monotonic()

    def run(self, first: int, count: int) -> None:
        """Asks for samples `first` to `first + count`, as the whole set counts them."""
        bench = self._device.target.bench
        request = {
            **payload_request(self._asked.artifact, self._path),
            "do": "answer",
            "threads": self._asked.threads,
            "samples": {
                "folder": self._folder,
                "inputs": list(self._piece.files),
                "first": first - self._piece.first,
                "count": count,
                "batch": self._asked.batch,
            },
        }
        self._next, self._last = first, time.monotonic()
        with sensible(self._device):
            run_request(
                self._device, request, idle_timeout_s=bench.idle_timeout_s, on_event=self._take,
                passing=frozenset({_ANSWERS}),
            )  # fmt: skip
            if self._next != first + count:
                raise ValueError(f"it answered {self._next - first} of {count} samples")

    def _take(self, event: dict[str, Any]) -> None:
        """One event; `answers` must go on where the last ones ended."""
        now = time.monotonic()
        bound = (
            2 * self._device.target.bench.idle_timeout_s + FLUSH_S
        )  # loading, then a batch: nothing is silent longer
        if event["event"] != _ANSWERS:
            if now - self._last > bound:
                raise RemoteTimeoutError(
                    f"{self._device.name} answered no sample for {now - self._last:.0f} s, sample {self._next} being "
                    "the next, though its runner gave signs of life.",
                    remedy="Raise bench.idle_timeout_s in its target, if the model takes that long there.",
                )
            return
        first, count = event["first"] + self._piece.first, event["count"]
        if first != self._next:
            raise ValueError(f"sample {first} was answered, and {self._next} was the next")
        arrays = [_array(output, count) for output in event["outputs"]]
        self._kept.add(first, arrays)
        self._next, self._last = first + count, now
        self._on_batch(count)


def _array(output: dict[str, Any], count: int) -> np.ndarray:
    """One output of an `answers` event, dequantized.

    Raises:
        ValueError, TypeError, ...: it is none.
    """
    import numpy as np

    dtype, shape = np.dtype(output["dtype"]).newbyteorder("<"), tuple(output["shape"])
    if dtype.kind not in "biuf" or not 0 < count < 1 << 31 or any(not 0 <= size < 1 << 31 for size in shape):
        raise ValueError(f"an output of type {output['dtype']!r} and shape {output['shape']!r}")
    expected = dtype.itemsize * count
    for size in shape:
        expected *= size
    raw = base64.b64decode(output["data"], validate=True)
    if output["packed"]:
        try:
            raw = zlib.decompressobj().decompress(raw, expected + 1)
        except zlib.error as error:
            raise ValueError(f"an output that cannot be unpacked: {error}") from error
    if len(raw) != expected:
        raise ValueError(f"an output of {len(raw)} bytes instead of {expected}")
    stored = np.frombuffer(raw, dtype).reshape(count, *shape).astype(dtype.newbyteorder("="))
    real: np.ndarray = to_real(stored, {"scale": output["scale"], "zero_point": output["zero_point"]})
    return real
