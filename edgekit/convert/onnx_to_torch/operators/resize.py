"""Resize and Upsample: each axis on its own, by a constant matrix or index.

Shapes are static, so how a coordinate of the result maps to the input, which neighbours it takes and with which
weights, is known now. For every axis that is a matrix `(out, in)` (an index, for "nearest"), computed in float64 by
the formulas of the standard. Where it is the very matrix of torch's own `interpolate`, that is called, because
converters know it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgekit.convert.onnx_to_torch.node import Node, Operator, UnsupportedNodeError
from edgekit.convert.onnx_to_torch.tensors import axis_of, ints

if TYPE_CHECKING:
    from collections.abc import Sequence

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


class _Axis:
    """One axis: its size, the result's size, the scale that coordinates are computed with, the region of interest."""

    def __init__(self, size: int, scale: float, out: int, roi: tuple[float, float]) -> None:
        self.size = size
        self.scale = scale
        self.out = out
        self.roi = roi

    @property
    def same(self) -> bool:
        return self.out == self.size and self.scale == 1.0 and self.roi == (0.0, 1.0)

    def coordinates(self, transform: str) -> np.ndarray:
        """Where in the input each element of the result lies."""
        x, size, scale = np.arange(self.out, dtype=np.float64), self.size, self.scale
        length = scale * size  # not rounded
        if transform == "half_pixel":
            return (x + 0.5) / scale - 0.5
        if transform == "half_pixel_symmetric":
            middle, adjustment = size / 2, self.out / length
            return middle * (1 - adjustment) + (x + 0.5) / scale - 0.5
        if transform == "pytorch_half_pixel":
            return (x + 0.5) / scale - 0.5 if self.out > 1 else np.zeros(1)
        if transform == "asymmetric":
            return x / scale
        if transform == "align_corners":
            return x * (size - 1) / (length - 1) if self.out > 1 and length != 1 else np.zeros(self.out)
        if transform == "tf_half_pixel_for_nn":
            return (x + 0.5) / scale
        if transform == "tf_crop_and_resize":
            start, end = self.roi
            if self.out > 1:
                return start * (size - 1) + x * (end - start) * (size - 1) / (length - 1)
            return np.full(1, 0.5 * (start + end) * (size - 1))
        raise UnsupportedNodeError(f"the coordinate transformation {transform}")


_ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _kernel(mode: str, a: float) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """The weight of a neighbour by its distance, and how far neighbours reach. Cubic: Keys 1981."""

    def linear(d: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(0.0, 1.0 - np.abs(d)))

    def cubic(d: np.ndarray) -> np.ndarray:
        d = np.abs(d)
        near = (a + 2) * d**3 - (a + 3) * d**2 + 1
        far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0.0))

    return (linear, 1) if mode == "linear" else (cubic, 2)


def _matrix(axis: _Axis, node: Node, coordinates: np.ndarray) -> np.ndarray:
    """Weights `(out, in)`. Beyond the edge the edge's value counts, or with `exclude_outside` nothing."""
    weigh, reach = _kernel(node.get("mode"), node.get("cubic_coeff_a", -0.75))
    stretch = max(1.0, 1.0 / axis.scale) if node.get("antialias", 0) else 1.0
    outside = bool(node.get("exclude_outside", 0))
    matrix = np.zeros((axis.out, axis.size))
    for row, x in enumerate(coordinates):
        places = np.arange(np.floor(x - reach * stretch), np.ceil(x + reach * stretch) + 1).astype(np.int64)
        weights = weigh((places - x) / stretch)
        inside = (places >= 0) & (places < axis.size)
        if outside:
            weights = np.where(inside, weights, 0.0)
        if outside or stretch > 1.0:
            weights = weights / weights.sum()
        np.add.at(matrix[row], np.clip(places, 0, axis.size - 1), weights)
    return matrix


def _axes(node: Node, x: Tensor, roi: Any, scales: Any, sizes: Any) -> list[_Axis]:
    """What is to become of each axis of x; `scales` or `sizes` may name some axes only (opset 18)."""
    chosen = [axis_of(a, x.ndim) for a in node.get("axes", range(x.ndim))]
    result = [_Axis(n, 1.0, n, (0.0, 1.0)) for n in x.shape]
    regions = [float(v) for v in roi] if roi is not None and roi.size else [0.0] * len(chosen) + [1.0] * len(chosen)
    if node.get("coordinate_transformation_mode") != "tf_crop_and_resize":
        regions = [0.0] * len(chosen) + [1.0] * len(chosen)
    factors = [float(s) for s in scales] if scales is not None and scales.size else []
    wanted = ints(sizes) if not factors else []
    if wanted:
        factors = [n / x.shape[axis] for n, axis in zip(wanted, chosen, strict=True)]
        policy = node.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            factor = min(factors) if policy == "not_larger" else max(factors)
            factors = [factor] * len(chosen)
            wanted = [int(np.floor(factor * x.shape[axis] + 0.5)) for axis in chosen]
    for i, axis in enumerate(chosen):
        region = (regions[i], regions[i + len(chosen)])
        cropped = x.shape[axis] * (region[1] - region[0]) * factors[i]
        out = wanted[i] if wanted else int(np.floor(cropped))
        result[axis] = _Axis(x.shape[axis], factors[i], out, region)
    return result


def _resize(node: Node, x: Tensor, *inputs: np.ndarray | None) -> Tensor:
    """Inputs are (scales) in opset 10, (roi, scales, sizes) since."""
    roi, scales, sizes = (None, inputs[0], None) if node.opset < 11 else (*inputs, None, None, None)[:3]
    mode = node.get("mode", "nearest")
    default = "asymmetric" if node.opset < 11 else "half_pixel"
    transform = node.get("coordinate_transformation_mode", default)
    axes = _axes(node, x, roi, scales, sizes)
    moved = [i for i, axis in enumerate(axes) if not axis.same]
    if mode == "nearest":
        rounding = _ROUNDINGS["floor" if node.opset < 11 else node.get("nearest_mode", "round_prefer_floor")]
        return _nearest(x, axes, moved, transform, rounding, node)
    matrices = {i: _matrix(axes[i], node, axes[i].coordinates(transform)) for i in moved}
    native = None if transform == "tf_crop_and_resize" else _native(x, axes, moved, matrices, mode)
    if native is not None:
        return native
    return _crop_outside(_by_matrix(x, matrices), axes, moved, transform, node)


def _nearest(x: Tensor, axes: list[_Axis], moved: Sequence[int], transform: str, rounding: Any, node: Node) -> Tensor:
    places = {}
    for i in moved:
        rounded = rounding(axes[i].coordinates(transform))
        places[i] = np.clip(rounded, 0, axes[i].size - 1).astype(np.int64)
    if transform != "tf_crop_and_resize" and _spatial(x, moved):
        sizes = [axes[i].out for i in range(2, x.ndim)]
        if all(
            np.array_equal(places.get(i, np.arange(axes[i].size)), np.arange(axes[i].out) * axes[i].size // axes[i].out)
            for i in range(2, x.ndim)
        ):
            return functional.interpolate(x, size=sizes, mode="nearest")
    result = x
    for i in moved:
        result = result.index_select(i, torch.from_numpy(places[i]))
    return _crop_outside(result, axes, moved, transform, node)


def _spatial(x: Tensor, moved: Sequence[int]) -> bool:
    return 3 <= x.ndim <= 5 and x.is_floating_point() and all(i >= 2 for i in moved)


def _native(
    x: Tensor, axes: list[_Axis], moved: Sequence[int], matrices: dict[int, np.ndarray], mode: str
) -> Tensor | None:
    """torch's interpolate, if its matrices are ours."""
    if mode != "linear" or not _spatial(x, moved):
        return None
    for align in (False, True):
        if all(np.allclose(_torch_matrix(axes[i].size, axes[i].out, align), matrices[i], atol=1e-6) for i in moved):
            sizes = [axes[i].out for i in range(2, x.ndim)]
            return functional.interpolate(x, size=sizes, mode=_LINEAR[x.ndim - 2], align_corners=align)
    return None


def _torch_matrix(size: int, out: int, align: bool) -> np.ndarray:
    """The weights `(out, in)` of `interpolate(mode="linear")`."""
    if align:
        coordinates = np.arange(out) * ((size - 1) / (out - 1) if out > 1 else 0.0)
    else:
        coordinates = np.maximum(0.0, (np.arange(out) + 0.5) * size / out - 0.5)
    low = np.minimum(np.floor(coordinates).astype(np.int64), size - 1)
    share = coordinates - low
    matrix = np.zeros((out, size))
    np.add.at(matrix, (np.arange(out), low), 1.0 - share)
    np.add.at(matrix, (np.arange(out), np.minimum(low + 1, size - 1)), share)
    return matrix


def _by_matrix(x: Tensor, matrices: dict[int, np.ndarray]) -> Tensor:
    dtype = x.dtype
    x = x if x.is_floating_point() else x.float()
    for i, matrix in matrices.items():
        weights = torch.from_numpy(matrix).to(x.dtype)
        x = torch.matmul(x.movedim(i, -1), weights.t()).movedim(-1, i)
    return x.to(dtype)


def _crop_outside(x: Tensor, axes: list[_Axis], moved: Sequence[int], transform: str, node: Node) -> Tensor:
    """tf_crop_and_resize fills what lies outside of the input with `extrapolation_value`."""
    if transform != "tf_crop_and_resize":
        return x
    for i in moved:
        coordinates = axes[i].coordinates(transform)
        inside = (coordinates >= 0) & (coordinates <= axes[i].size - 1)
        shape = [1] * x.ndim
        shape[i] = len(inside)
        fill = torch.full((), node.get("extrapolation_value", 0.0), dtype=x.dtype)
        x = torch.where(torch.from_numpy(inside).reshape(shape), x, fill)
    return x


def _upsample(node: Node, x: Tensor, scales: np.ndarray | None = None) -> Tensor:
    """Resize's predecessor (until opset 9): asymmetric, floor; scales an attribute before 9."""
    given = scales if scales is not None else np.asarray(node.get("scales"))
    return _resize(Node("Resize", node.name, 10, node.inputs, node.outputs, node.attributes), x, given)


OPERATORS = {
    "Resize": Operator(_resize, static=(1, 2, 3)),
    "Upsample": Operator(_upsample, static=(1,)),
}
