"""What activations a graph has over calibration data: it is compiled for this machine, and returns them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.convert.tvm.graph import Rewriter
from edgekit.convert.tvm.pipeline import build, prepare
from edgekit.convert.tvm.quantization import Activation, takes_integers
from edgekit.convert.tvm.schedules import schedule
from edgekit.convert.tvm.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgekit.convert.tvm.machine import Machine


def calibrated(graph: Any, machine: Machine, samples: Mapping[str, np.ndarray]) -> tuple[Activation, ...]:
    """Runs a graph in float32 and looks at what the operators that take integers are given.

    Args:
        graph: `plain`.
        machine: this one.
        samples: by input, `(n, *shape)`, in the order of the graph's inputs.

    Returns:
        for each call that `takes_integers`, in the graph's order, how its activations are quantized
    """
    import tvm
    from tvm import relax

    positions: list[int] = []

    def observed(rewriter: Rewriter, call: Any) -> None:
        if takes_integers(call):
            x = call.args[0]
            if not any(x.same_as(known) for known in rewriter.returned):
                rewriter.returned.append(x)
            positions.append(next(i for i, known in enumerate(rewriter.returned) if x.same_as(known)))

    watched = Rewriter(observed).run(graph)
    if not positions:
        return ()
    scheduled, _ = schedule(prepare(watched, machine, Storage()), machine)
    main = relax.VirtualMachine(build(scheduled, machine), tvm.cpu())["main"]
    smallest, largest = np.full(max(positions) + 1, np.inf), np.full(max(positions) + 1, -np.inf)
    for sample in zip(*samples.values(), strict=True):
        seen = [tensor.numpy() for tensor in main(*(tvm.runtime.tensor(np.ascontiguousarray(x)) for x in sample))]
        smallest = np.minimum(smallest, [x.min() for x in seen])
        largest = np.maximum(largest, [x.max() for x in seen])
    ranges = [Activation.of_range(float(a), float(b)) for a, b in zip(smallest, largest, strict=True)]
    return tuple(ranges[position] for position in positions)
