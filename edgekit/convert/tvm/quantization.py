"""int8 activations: which operators take them, and over which ranges.

An operator is computed in integers if its weights are constant and its kernel has a fast integer form: a matrix product
(also a 1×1 convolution, which is one by now) or a convolution of one group, over an even number of channels. Depthwise
convolutions, products of two activations and everything else are computed in float32.

Activations are quantized per tensor, asymmetric, to 256 values from the smallest to the largest that the calibration
data lead to; zero is one of them. They are kept in int16 with the zero point subtracted, so that sums need no
correction and padding is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgekit.convert.tvm.graph import constant_value, dtype_of, op_name, shape_of
from edgekit.convert.tvm.storage import SMALLEST


@dataclass(frozen=True)
class Activation:
    """How one tensor is quantized: to `round(x / scale)` from low to high, `high - low = 255`."""

    scale: float
    low: int
    high: int

    @classmethod
    def of_range(cls, smallest: float, largest: float) -> Activation:
        """256 values over a range, which is widened to contain zero."""
        smallest, largest = min(smallest, 0.0), max(largest, 0.0)
        scale = (largest - smallest) / 255 or 1.0
        low = round(smallest / scale)
        return cls(scale, low, low + 255)


def takes_integers(call: Any) -> bool:
    """Whether a call of a `plain` graph can be computed in integers."""
    if op_name(call) not in ("matmul", "nn.conv2d"):
        return False
    shape, weight = shape_of(call.args[0]), constant_value(call.args[1])
    if shape is None or weight is None or dtype_of(call) != "float32" or weight.size < SMALLEST:
        return False
    if op_name(call) == "matmul":
        return len(shape) == weight.ndim == 2 and shape[1] % 2 == 0
    given = call.attrs
    plain = given["data_layout"] == "NHWC" and given["kernel_layout"] == "HWIO" and int(given["groups"]) == 1
    return plain and shape[3] % 2 == 0
