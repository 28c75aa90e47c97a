"""Samples of the host's through the payload, and what it answers, batch by batch.

The host judges answers (a metric is code of the model's, and its targets stay where they are), so the device gives
them as the payload stores them: an int8 output is a quarter of its floats. Memory is bounded by the batch: the samples
lie in files that are mapped, not read, and a batch leaves as one event line before the next is begun. A slow device
sends smaller ones, so that a link that is cut costs seconds of its work, never minutes.
"""

from __future__ import annotations

import base64
import os
import time
import zlib
from typing import TYPE_CHECKING, Any

from .session import get_stored, run_samples

if TYPE_CHECKING:
    from .protocol import Events

FLUSH_S = 2.0
"""A batch leaves at the latest this long after the one before."""
_WORTH = 0.9
"""The share of its size below which compressing an output is worth the time."""


def answer_samples(session: Any, samples: dict[str, Any], events: Events) -> None:
    """Runs a range of samples and emits their answers.

    Args:
        session: a runtime's session.
        samples: of the request: `folder`, `inputs` (files in it, one an input, `(n, *shape)`), the range `first` and
            `count`, and the most samples of one event, `batch`.
        events: `answers`, in the samples' order without gaps.

    Raises:
        ValueError: the files do not have those samples.
    """
    import numpy as np

    paths = [os.path.join(samples["folder"], name) for name in samples["inputs"]]
    arrays = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
    first, end = samples["first"], samples["first"] + samples["count"]
    if not all(0 <= first < end <= len(array) for array in arrays):
        raise ValueError("there are no samples %d to %d" % (first, end))
    packs = [True] * len(session.outputs)
    while first < end:
        collected: list[list[Any]] = []
        began = time.monotonic()
        while first + len(collected) < end and len(collected) < samples["batch"]:
            k = first + len(collected)
            collected.append(run_samples(session, [a[k : k + 1] for a in arrays], events.heartbeat, get_stored))
            if time.monotonic() - began > FLUSH_S:
                break
        outputs = [np.concatenate(some) for some in zip(*collected)]
        told = [_told(array, tensor, pack) for array, tensor, pack in zip(outputs, session.outputs, packs)]
        packs = [output["packed"] for output in told]
        events.emit("answers", first=first, count=len(collected), outputs=told)
        first += len(collected)


def _told(array: Any, tensor: dict[str, Any], pack: bool) -> dict[str, Any]:
    """One output of a batch; `pack` if compressing it was worth it so far."""
    import numpy as np

    raw = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    packed = zlib.compress(raw, 1) if pack else raw
    pack = len(packed) < _WORTH * len(raw)
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape[1:]),
        "scale": tensor["scale"],
        "zero_point": tensor["zero_point"],
        "packed": pack,
        "data": base64.b64encode(packed if pack else raw).decode("ascii"),
    }
