"""An upload on its way in, what became of it, and how its frames are read before a transaction begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgekit.telemetry.collector import scan
from edgekit.telemetry.collector.layout import Layout, too_large
from edgekit.telemetry.reporter import wire
from edgekit.telemetry.reporter.errors import WireError
from edgekit.telemetry.reporter.window import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit.telemetry.collector.layout import Moments, Vector
    from edgekit.telemetry.reporter.envelope import Envelope

UNKNOWN_TEXTS = 10_000
"""How many different names and labels are remembered as checked, before all are forgotten."""
COHORT = "cohort"


class Result(Enum):
    """What became of an upload."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    MALFORMED = "malformed"
    REFUSED = "refused"
    BUSY = "busy"


@dataclass
class Upload:
    """A body whose signature was good when it came.

    Attributes:
        envelope: as it was parsed.
        cohort: the one that its device was enrolled into; "" for none.
        received_ns: when it came, by this machine's clock.
        generation: of the keys that it was verified with.
    """

    envelope: Envelope
    cohort: str
    received_ns: int
    generation: int


@dataclass(frozen=True)
class Outcome:
    """The answer to one upload.

    Attributes:
        result: what became of it.
        accepted, duplicates: windows of it that are new, and that were there before.
        reason: for people; empty if it was taken.
    """

    result: Result
    accepted: int = 0
    duplicates: int = 0
    reason: str = ""


class StreamName(NamedTuple):
    """What windows may be added up with each other: those of one model and one reference."""

    model: str
    reference: str


@dataclass
class Arrival:
    """A window that was read and is to be stored.

    Attributes:
        upload: index of its upload.
        row: index of its row in the matrix of its stream; -1 if it waits for its reference.
        the rest: as in `Window`.
    """

    upload: int
    name: StreamName
    boot: bytes
    seq: int
    artifact: str
    start_ns: int
    end_ns: int
    bootstrapped: bool
    label: str
    frame: bytes
    row: int = -1


@dataclass
class Batch:
    """What was read of several uploads.

    Attributes:
        arrivals: windows of uploads that are sound throughout.
        refused: outcomes of those that are not, by their index.
        rows: integers and moments by stream; `Arrival.row` points into them.
    """

    arrivals: list[Arrival] = field(default_factory=list)
    refused: dict[int, Outcome] = field(default_factory=dict)
    rows: dict[StreamName, tuple[Vector, Moments]] = field(default_factory=dict)


class FrameReader:
    """Reads bodies into batches. Remembers which names and labels were checked, so that most frames go the fast way.

    Args:
        max_body_bytes: what a body may have after decompression.
    """

    def __init__(self, *, max_body_bytes: int) -> None:
        self._limit = max_body_bytes
        self._streams: dict[tuple[bytes, bytes], StreamName] = {}
        self._labels: dict[bytes, str] = {b"\0": ""}

    def read(self, uploads: Sequence[Upload], layouts: dict[StreamName, Layout]) -> Batch:
        """Everything of the uploads; one that is wrong anywhere is refused as a whole."""
        batch = Batch()
        pending: dict[StreamName, list[tuple[Arrival, scan.Sections | Window]]] = {}
        for index, upload in enumerate(uploads):
            try:
                found = self._frames(index, upload, layouts)
            except WireError as error:
                batch.refused[index] = Outcome(Result.MALFORMED, reason=str(error))
                continue
            for arrival, counts in found:
                batch.arrivals.append(arrival)
                if arrival.name in layouts:
                    pending.setdefault(arrival.name, []).append((arrival, counts))
        for name, members in pending.items():
            self._assemble(batch, uploads, name, layouts[name], members)
        if batch.refused:
            batch.arrivals = [each for each in batch.arrivals if each.upload not in batch.refused]
        return batch

    def _frames(
        self, index: int, upload: Upload, layouts: dict[StreamName, Layout]
    ) -> list[tuple[Arrival, scan.Sections | Window]]:
        body = upload.envelope.unpack(self._limit)
        device = upload.envelope.device
        raw_device = device.encode()
        found = []
        for start, end in wire.frames(body):
            frame = body[start:end]
            fast = self._fast(index, frame, raw_device, layouts)
            found.append(fast or self._slow(index, frame, device, layouts))
        return found

    def _fast(
        self, index: int, frame: bytes, device: bytes, layouts: dict[StreamName, Layout]
    ) -> tuple[Arrival, scan.Sections | Window] | None:
        head = scan.head(frame, device)
        if head is None:
            return None
        name = self._streams.get((head.model, head.reference))
        label = self._labels.get(head.labels)
        layout = None if name is None else layouts.get(name)
        if name is None or label is None or layout is None:
            return None
        sections = scan.sections(frame, head.at, layout)
        if sections is None:
            return None
        artifact = head.artifact.hex() if any(head.artifact) else ""
        times = (head.start_ns, head.end_ns, head.bootstrapped)
        return Arrival(index, name, head.boot, head.seq, artifact, *times, label, frame), sections

    def _slow(
        self, index: int, frame: bytes, device: str, layouts: dict[StreamName, Layout]
    ) -> tuple[Arrival, scan.Sections | Window]:
        window = wire.decode(frame)
        name = StreamName(window.model, window.reference)
        if window.device != device:
            raise WireError("a window of another device than the one that signed")
        if too_large(window):
            raise WireError("a window with a count that no device reaches")
        if name in layouts and not layouts[name].fits(window):
            raise WireError("a window that counts other cells than its reference has")
        label = dict(window.labels).get(COHORT, "")
        self._remember(frame, device, name, label)
        times = (window.start_ns, window.end_ns, window.bootstrapped)
        boot = bytes.fromhex(window.boot)
        return Arrival(index, name, boot, window.seq, window.artifact, *times, label, frame), window

    def _remember(self, frame: bytes, device: str, name: StreamName, label: str) -> None:
        head = scan.head(frame, device.encode())
        if head is None:
            return
        for memory in (self._streams, self._labels):
            if len(memory) >= UNKNOWN_TEXTS:
                memory.clear()
        self._streams[head.model, head.reference] = name
        self._labels[head.labels] = label

    def _assemble(
        self,
        batch: Batch,
        uploads: Sequence[Upload],
        name: StreamName,
        layout: Layout,
        members: list[tuple[Arrival, scan.Sections | Window]],
    ) -> None:
        fast = [(arrival, counts) for arrival, counts in members if isinstance(counts, scan.Sections)]
        slow = [(arrival, counts) for arrival, counts in members if isinstance(counts, Window)]
        vectors = []
        moments = []
        at = 0
        if fast:
            rows, fast_moments, sound = scan.matrix([counts for _, counts in fast], layout)
            vectors.append(rows)
            moments.append(fast_moments)
            for i, (arrival, _) in enumerate(fast):
                arrival.row = i
                if not sound[i]:
                    self._second_look(batch, uploads, arrival, layout, rows, fast_moments)
            at = len(fast)
        for arrival, window in slow:
            arrival.row = at
            at += 1
            vectors.append(layout.vector(window)[None])
            moments.append(layout.moments(window)[None])
        only = len(vectors) == 1
        batch.rows[name] = (vectors[0], moments[0]) if only else (np.concatenate(vectors), np.concatenate(moments))

    def _second_look(
        self,
        batch: Batch,
        uploads: Sequence[Upload],
        arrival: Arrival,
        layout: Layout,
        rows: Vector,
        moments: Moments,
    ) -> None:
        """Lets `wire` decide on a window whose numbers looked odd to the fast way."""
        try:
            _, window = self._slow(
                arrival.upload, arrival.frame, uploads[arrival.upload].envelope.device, {arrival.name: layout}
            )
        except WireError as error:
            batch.refused[arrival.upload] = Outcome(Result.MALFORMED, reason=str(error))
            return
        assert isinstance(window, Window)
        rows[arrival.row] = layout.vector(window)
        moments[arrival.row] = layout.moments(window)
