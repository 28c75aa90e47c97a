"""A sustained run: latency against time, with temperature and frequency beside it.

"Ranking at minute 1 is not ranking at minute 30": a device that is fast when cold may throttle. The figure of merit is
the median of the steady end against the median of the first minute. Both come from what the runner keeps of every
second: its number of inferences, and an evenly spread sample of at most 200 latencies. Memory is bounded on both sides,
and an hour fits into a few megabytes.

A link that is cut ends it. What had arrived by then is kept, marked as incomplete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from edgekit.bench.samples import Samples, pack
from edgekit.bench.sense import sensible
from edgekit.devices.runner_client import run_request
from edgekit.errors import ConnectionLostError, RemoteTimeoutError, WrongAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekit.bench.measure import Prepared
    from edgekit.devices import RunnerDevice

NS = 1_000_000_000
CHUNK_S = 1.0
WINDOW_S = 60.0
"""The first minute, and the last; a third of a run that is shorter than three of them."""
AGREE = 0.02
"""The end is steady if the medians of its two halves differ by no more than this share."""
MOST_S = 3 * 3600.0
SETUP_S = 600.0


class Sustained(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds of a sustained run, one value each, in order.

    seconds: when it ended, since the start. n: inferences in it. p50_ns: their median. max_ns: the slowest.
    temperature_c: the hottest zone at its end. frequency_hz: the fastest core's. kept_n: how many of `kept` are its.
    missing: why temperature or frequency is None. `complete` unless it was cut short, `because` of something.

    window_s: the length of the first and the last window; first_ns, end_ns: their medians; ratio: the end's against the
    first one's (1.25 is a quarter slower), None of a run that was cut short. settled: whether the end is steady; if it
    is not, a longer run would show something else.
    """

    asked_s: float
    complete: bool
    seconds: tuple[float, ...]
    n: tuple[int, ...]
    p50_ns: tuple[float, ...]
    max_ns: tuple[int, ...]
    temperature_c: tuple[float | None, ...]
    frequency_hz: tuple[float | None, ...]
    kept: Samples
    kept_n: tuple[int, ...]
    missing: dict[str, str]
    window_s: float
    first_ns: float | None
    end_ns: float | None
    ratio: float | None
    settled: bool
    because: str | None = None


def sustain(
    device: RunnerDevice,
    prepared: Prepared,
    duration_s: float,
    on_event: Callable[[dict[str, Any]], None] = lambda _event: None,
) -> Sustained:
    """Runs an artifact that lies on a device for that long; the caller holds the device's lock.

    Returns:
        What was recorded; not complete if the link went down or the runner fell silent half-way.

    Raises:
        WrongAnswerError: the golden inputs gave other outputs than on the host: nothing was run.
        ConnectionLostError, RemoteTimeoutError: it went down before anything was recorded.
        RuntimeMissingError, RunnerError, ...: see `run_request`.
    """
    chunks: list[dict[str, Any]] = []
    wrong = False

    def listen(event: dict[str, Any]) -> None:
        nonlocal wrong
        if event["event"] == "chunk":
            chunks.append(event)
        wrong = wrong or (event["event"] == "golden" and event.get("passed") is not True)
        on_event(event)

    settings = device.target.bench
    fields = {"duration_ns": int(duration_s * NS), "chunk_ns": int(CHUNK_S * NS)}
    request = {**prepared.request, **fields, "do": "sustain"}
    for unused in ("max_warmup_ns", "min_samples", "min_ns", "max_ns"):
        request.pop(unused)
    because = None
    try:
        run_request(
            device, request, idle_timeout_s=settings.idle_timeout_s, total_timeout_s=duration_s + SETUP_S,
            on_event=listen,
        )  # fmt: skip
    except (ConnectionLostError, RemoteTimeoutError) as error:
        if not chunks:
            raise
        because = error.what
    if wrong:
        raise WrongAnswerError(
            f"{prepared.artifact.title} gives wrong answers on {device.target.name}. It was not run any longer.",
            remedy="Compare the runtime's version there with the host's (`edgekit doctor`).",
        )
    with sensible(device):
        return read_chunks(chunks, duration_s, because)


def nothing(asked_s: float, because: str) -> Sustained:
    """A sustained run of which nothing was recorded."""
    return Sustained(
        asked_s, complete=False, seconds=(), n=(), p50_ns=(), max_ns=(), temperature_c=(), frequency_hz=(),
        kept=pack([]), kept_n=(), missing={}, window_s=0.0, first_ns=None, end_ns=None, ratio=None, settled=False,
        because=because,
    )  # fmt: skip


def read_chunks(chunks: Sequence[dict[str, Any]], asked_s: float, because: str | None) -> Sustained:
    """From the runner's `chunk` events.

    Raises:
        KeyError, TypeError, ValueError, msgspec.ValidationError: they make no sense, or there are none.
    """
    import numpy as np

    if not chunks or any(not chunk["kept_ns"] or chunk["n"] < len(chunk["kept_ns"]) for chunk in chunks):
        raise ValueError("a second without any inference")
    ends = [chunk["at_ns"] / NS for chunk in chunks]
    if any(b <= a for a, b in zip([0.0, *ends], ends, strict=False)):
        raise ValueError("time does not go on")
    last = ends[-1]
    window = min(WINDOW_S, last / 3)
    first, end = _median(chunks, 0.0, window), _median(chunks, last - window, last)
    halves = _median(chunks, last - window, last - window / 2), _median(chunks, last - window / 2, last)
    complete = because is None
    made = Sustained(
        asked_s=asked_s,
        complete=complete,
        seconds=tuple(ends),
        n=tuple(chunk["n"] for chunk in chunks),
        p50_ns=tuple(float(np.median(chunk["kept_ns"])) for chunk in chunks),
        max_ns=tuple(chunk["max_ns"] for chunk in chunks),
        temperature_c=tuple(chunk["temperature_c"] for chunk in chunks),
        frequency_hz=tuple(chunk["frequency_hz"] for chunk in chunks),
        kept=pack([ns for chunk in chunks for ns in chunk["kept_ns"]]),
        kept_n=tuple(len(chunk["kept_ns"]) for chunk in chunks),
        missing=dict(chunks[-1]["missing"]),
        window_s=window,
        first_ns=first,
        end_ns=end,
        ratio=end / first if complete and first and end is not None else None,
        settled=complete and _agree(*halves),
        because=because,
    )
    return msgspec.json.decode(msgspec.json.encode(made), type=Sustained)


def _agree(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and abs(b - a) <= AGREE * a


def _median(chunks: Sequence[dict[str, Any]], begin_s: float, end_s: float) -> float | None:
    """The median of the seconds whose middle lies between two times: what was kept of each counts by its inferences."""
    import numpy as np

    starts = [0, *(chunk["at_ns"] for chunk in chunks)]
    within = [
        chunk for start, chunk in zip(starts, chunks, strict=False)
        if begin_s * NS <= (start + chunk["at_ns"]) / 2 <= end_s * NS
    ]  # fmt: skip
    if not within:
        return None
    values = np.concatenate([np.asarray(chunk["kept_ns"], dtype=np.float64) for chunk in within])
    weights = np.concatenate([np.full(len(c["kept_ns"]), c["n"] / len(c["kept_ns"])) for c in within])
    order = np.argsort(values, kind="stable")
    summed = np.cumsum(weights[order])
    return float(values[order][int(np.searchsorted(summed, summed[-1] / 2))])
