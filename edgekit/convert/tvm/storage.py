"""How weights are stored: float32, float16, or int8 with a scale per output channel.

Compute is float32 in all of them: kernels convert weights as they load them. int8 is symmetric; a scale is the
channel's largest magnitude / 127, applied to the sums. Embedding tables have a scale per row. Vectors (biases,
scales, the parameters of normalisations) and tensors of fewer than `SMALLEST` values stay float32: they would gain
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.convert.tvm.graph import Rewriter, constant, constant_value

SMALLEST = 256


@dataclass(frozen=True)
class Storage:
    """The dtype of stored weights: "float32", "float16" or "int8"."""

    dtype: str = "float32"

    def weight(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """A weight `(…, outputs)` as it is stored, and the float32 scales of its outputs or None."""
        if self.dtype == "float32" or weight.size < SMALLEST:
            return weight, None
        if self.dtype == "float16":
            return _half(weight), None
        return _int8(weight, tuple(range(weight.ndim - 1)))

    def table(self, rewriter: Rewriter, call: Any) -> Any:
        """A look-up `take(table, indices, axis=0)` in a constant table, stored in our dtype; None of others."""
        from tvm import relax

        table = constant_value(call.args[0])
        if self.dtype == "float32" or table is None or table.dtype != np.float32 or table.ndim != 2:
            return None
        if call.attrs["axis"] is None or int(call.attrs["axis"]) != 0 or table.size < SMALLEST:
            return None

        def rows(values: np.ndarray) -> Any:
            return rewriter.emit(relax.Call(call.op, [constant(values), call.args[1]], call.attrs))

        if self.dtype == "float16":
            return relax.op.astype(rows(_half(table)), "float32")
        stored, scale = _int8(table, (1,))
        values = rewriter.emit(relax.op.astype(rows(stored), "float32"))
        return relax.op.multiply(values, rows(scale.reshape(-1, 1)))


def _half(weight: np.ndarray) -> np.ndarray:
    limit = float(np.finfo(np.float16).max)
    return np.clip(weight, -limit, limit).astype(np.float16)


def _int8(weight: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric, with one scale for all values along `axes`."""
    largest = np.abs(weight).max(axis=axes, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1.0).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale.reshape(-1)
