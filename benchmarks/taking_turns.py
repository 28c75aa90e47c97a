"""Two programs that take turns on this machine: they hand a byte to each other (docs/formats/runner-protocol.md)."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgekit.bench.measure import golden_request
from edgekit.runner import SCHEMA

if TYPE_CHECKING:
    from edgekit.artifact import Artifact

Command = Callable[[int, int], list[str]]
"""From the descriptors that it takes and gives its turn by, to an argv."""


def request_of(artifact: Artifact, **more: object) -> str:
    """What a runner is asked for: a second of samples in turns of 20 ms, on one processor."""
    settings = {"schema": SCHEMA, "do": "bench", "threads": 1, "cores": 1, "turn_ns": 20_000_000,
                "max_warmup_ns": 10**10, "min_samples": 50, "min_ns": 10**9, "max_ns": 150 * 10**9}  # fmt: skip
    return json.dumps({**golden_request(artifact, str(artifact.path)), **settings, **more})


def both(first: Command, second: Command) -> tuple[str, str]:
    """Runs two programs in turns, `first` first; what they print."""
    to_first, to_second = os.pipe(), os.pipe()
    os.write(to_first[1], b"m")
    ends = [(to_first[0], to_second[1]), (to_second[0], to_first[1])]
    processes = [
        subprocess.Popen(command(*fds), pass_fds=fds, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for command, fds in zip((first, second), ends, strict=True)
    ]
    for end in (*to_first, *to_second):
        os.close(end)
    one, other = (process.communicate()[0] for process in processes)
    return one, other


def turns_of(output: str) -> list[list[int]]:
    """The samples of a runner's turns, in ns."""
    (taken,) = [event for event in map(json.loads, output.splitlines()) if event["event"] == "samples"]
    ends = [*itertools.accumulate(taken["turns"])]
    return [taken["samples_ns"][end - count : end] for count, end in zip(taken["turns"], ends, strict=True)]


def ratio(over: list[list[int]], under: list[list[int]]) -> float:
    """The median of the ratios of neighbouring turns' medians."""
    return statistics.median(statistics.median(a) / statistics.median(b) for a, b in zip(over, under, strict=True))
