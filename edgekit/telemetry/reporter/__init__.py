"""The reporter: it runs inside the user's program on the device and counts what the model sees and answers.

    from edgekit.telemetry.reporter import Reporter      (or, installed alone: from edgekit_reporter import Reporter)

    with Reporter.open("artifact", collector="https://telemetry.example.com", token=...) as reporter:
        reporter.observe(inputs, outputs, latency_ns=elapsed)

It needs Python 3.8 and the standard library, uses NumPy where the program has imported it already, and imports
nothing of EdgeKit: the same files are packed as a wheel or a zipapp of their own (`edgekit_reporter`), which is why
every import in here is relative. docs/telemetry-reporter.md is the guide.

What windows are:

    reference    what was normal: cells per feature, from the data that the model was made with
    features     its parts: tensors, and the features that are counted of them
    joint        how features go together, as whole numbers that add up
    cells        how cells are cut from data: equal mass, atoms, tails
    window       what was seen between two instants, as counts over those cells; windows merge exactly
    wire         windows as bytes, in frames (wire_layout, wire_writing, wire_reading: the window itself)
    envelope     the signed envelope that they travel in
    distance     how far a window is from its reference, and what counts as drift

How they come about:

    summaries    tensors as a few numbers (summaries_stdlib, summaries_numpy: the two ways to compute them)
    counting     rows of numbers into cells (counting_numpy, counting_native, _native.c and build: the faster ways)
    joint_counting    the same rows into a joint's vector
    sources      from the program's values to rows, and to the counters of their features
    recorder     counts of a stretch of time;  bootstrap: the same without a reference, which it makes
    opening      the open window: since when, until when

How they are kept and sent:

    journal      an append-only file that may be cut anywhere
    outbox       windows that wait, bounded; nothing sealed is lost
    directory    the state directory of one device, for several processes
    upload       requests to the collector, and what its answers mean
    sender, background    the threads
    settings, reporter    what the program calls
    records      named tuples without the import of typing
"""

from __future__ import annotations

from .records import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from .reporter import Drift, Reporter
else:

    def __getattr__(name: str) -> Any:
        if name not in ("Drift", "Reporter"):
            raise AttributeError("module %r has no attribute %r" % (__name__, name))
        from . import reporter

        return getattr(reporter, name)


__all__ = ["Drift", "Reporter"]
