"""What ranges the values of a graph have over the calibration data, and how 8 bits or fewer span a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.convert.pt2e.graph import samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from edgekit.convert.pt2e.graph import Graph, Node

SMALLEST_SCALE = 2.0**-24


@dataclass(frozen=True)
class Range:
    """The smallest and largest value of a tensor over all calibration samples."""

    low: float
    high: float

    def parameters(self, bits: int) -> tuple[float, int]:
        """(scale, zero point) with which 0 and the whole range are representable in `bits` bits, unsigned."""
        levels = 2**bits - 1
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        scale = max((high - low) / levels, SMALLEST_SCALE)
        return scale, min(levels, max(0, round(-low / scale)))


def observe(graph: Graph, calibration: Mapping[str, np.ndarray]) -> dict[str, Range]:
    """The ranges of all floating-point values of the graph, by node name."""
    import torch

    found: dict[str, Range] = {}

    class Observer(torch.fx.Interpreter):  # type: ignore[misc]  # torch is not followed by mypy
        def run_node(self, n: Node) -> Any:
            result = super().run_node(n)
            if isinstance(result, torch.Tensor) and result.is_floating_point() and result.numel():
                low, high = (float(x) for x in result.aminmax())
                seen = found.get(n.name, Range(low, high))
                found[n.name] = Range(min(low, seen.low), max(high, seen.high))
            return result

    with torch.no_grad():
        for sample in samples(calibration):
            Observer(graph).run(*sample)
    return found
