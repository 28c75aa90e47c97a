"""Resizing of images, and sampling them at given places.

Every resize is separable: along each axis an output element lies at a grid point between two input elements. The grid
follows MIL's documentation of `resize_bilinear` ("sampling mode") and `upsample_bilinear`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from edgekit.convert.mil.values import Tensor, ints, number

if TYPE_CHECKING:
    from collections.abc import Callable


def resize(
    x: Tensor,
    shape: Tensor,
    resized_dims: Tensor,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """The last `resized_dims` axes to the last sizes in `shape`; 0 keeps a size."""
    count = ints(resized_dims)[0]
    for i, size in enumerate(ints(shape)[-count:] if count else []):
        axis = x.ndim - count + i
        if size in (0, x.shape[axis]):
            continue
        points = _grid(x.shape[axis], size, sampling_mode)
        x = _linear(x, axis, points) if interpolation_mode == "LINEAR" else x.index_select(axis, _nearest(points))
    return x


def resize_bilinear(
    x: Tensor, target_size_height: Tensor, target_size_width: Tensor, sampling_mode: str = "DEFAULT"
) -> Tensor:
    for axis, size in ((x.ndim - 2, ints(target_size_height)[0]), (x.ndim - 1, ints(target_size_width)[0])):
        x = _linear(x, axis, _grid(x.shape[axis], size, sampling_mode))
    return x


def resize_nearest_neighbor(x: Tensor, target_size_height: Tensor, target_size_width: Tensor) -> Tensor:
    """The input element under the middle of the output element: it stands for TensorFlow's half-pixel centres."""
    for axis, size in ((x.ndim - 2, ints(target_size_height)[0]), (x.ndim - 1, ints(target_size_width)[0])):
        middles = (torch.arange(size, dtype=torch.float64) + 0.5) * x.shape[axis] / size
        x = x.index_select(axis, middles.floor().to(torch.int64).clamp(0, x.shape[axis] - 1))
    return x


def upsample_bilinear(
    x: Tensor,
    scale_factor_height: Tensor | None = None,
    scale_factor_width: Tensor | None = None,
    align_corners: Tensor | None = None,
    half_pixel_centers: Tensor | None = None,
) -> Tensor:
    """To floor(size · factor) elements; the grid's spacing is computed from the sizes, not from the factor."""
    align = align_corners is None or bool(align_corners)
    half = not align if half_pixel_centers is None else bool(half_pixel_centers)
    mode = "STRICT_ALIGN_CORNERS" if align else "UNALIGN_CORNERS" if half else "DEFAULT"
    for axis, factor in ((x.ndim - 2, scale_factor_height), (x.ndim - 1, scale_factor_width)):
        x = _linear(x, axis, _grid(x.shape[axis], _scaled(x.shape[axis], factor), mode))
    return x


def upsample_nearest_neighbor(
    x: Tensor, scale_factor_height: Tensor | None = None, scale_factor_width: Tensor | None = None
) -> Tensor:
    """To floor(size · factor) elements; each is the input element floor(i · size / new size)."""
    for axis, factor in ((x.ndim - 2, scale_factor_height), (x.ndim - 1, scale_factor_width)):
        size = _scaled(x.shape[axis], factor)
        x = x.index_select(axis, torch.arange(size) * x.shape[axis] // size)
    return x


def resample(
    x: Tensor,
    coordinates: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Tensor,
    coordinates_mode: str,
    align_corners: Tensor,
) -> Tensor:
    """Samples (n, C, H, W) at `coordinates` (n, H', W', 2), which hold x and y.

    Raises:
        ValueError: reflection at the edge of the other convention, which `grid_sample` does not have.
    """
    align = bool(align_corners)
    places = coordinates.to(torch.float32)
    sizes = torch.tensor([x.shape[3], x.shape[2]], dtype=torch.float32)
    if coordinates_mode == "normalized_zero_to_one":
        places = places * 2 - 1
    elif coordinates_mode == "unnormalized":
        places = 2 * places / (sizes - 1) - 1 if align else (2 * places + 1) / sizes - 1
    if padding_mode in ("reflection", "symmetric") and (padding_mode == "reflection") != align:
        raise ValueError(f"padding_mode {padding_mode} with align_corners={align}")
    padding = {"constant": "zeros", "border": "border"}.get(padding_mode, "reflection")
    # Zeros are what grid_sample knows outside; another value is subtracted before and added afterwards.
    value = number(padding_value) if padding_mode == "constant" else 0.0
    sampled = functional.grid_sample(x - value, places, sampling_mode, padding, align)
    return sampled + value


def affine(
    x: Tensor,
    transform_matrix: Tensor,
    output_height: Tensor,
    output_width: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Tensor,
    coordinates_mode: str,
    align_corners: Tensor,
) -> Tensor:
    """Samples at an affine map of the output's own coordinates; `transform_matrix` is (n or 1, 6)."""
    theta = transform_matrix.reshape(-1, 2, 3).expand(x.shape[0], 2, 3)
    size = [x.shape[0], x.shape[1], ints(output_height)[0], ints(output_width)[0]]
    grid = functional.affine_grid(theta.contiguous(), size, align_corners=bool(align_corners))
    return resample(x, grid, sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners)


def _scaled(size: int, factor: Tensor | None) -> int:
    """The new size. The factor may be a float32 just below the fraction that was meant, such as 7 / 5."""
    return size if factor is None else int(torch.floor(factor.to(torch.float32) * size + 1e-5))


def _grid(size: int, new: int, mode: str) -> Tensor:
    """(new,) float64: where each output element lies among the input elements 0 to size - 1."""
    i = torch.arange(new, dtype=torch.float64)
    if mode == "UNALIGN_CORNERS":
        points = (i + 0.5) * size / new - 0.5
    elif mode == "OFFSET_CORNERS":
        points = (i + 0.5) * max(1, size - 1) / new
    elif mode == "DEFAULT":
        points = i * size / new
    elif new == 1:  # the spacing of aligned corners has no meaning
        points = i + ((size - 1) / 2 if mode == "ALIGN_CORNERS" else 0.0)
    else:
        points = i * (size - 1) / (new - 1)
    return points.clamp(0, size - 1)


def _linear(x: Tensor, axis: int, points: Tensor) -> Tensor:
    below = points.floor().to(torch.int64)
    above = (below + 1).clamp(max=x.shape[axis] - 1)
    weight = (points - below).to(torch.float32).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    return x.index_select(axis, below) * (1 - weight) + x.index_select(axis, above) * weight


def _nearest(points: Tensor) -> Tensor:
    """Halves go up, so that corners at the edge of a pixel fall into it."""
    return (points + 0.5).floor().to(torch.int64)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function
    for function in (
        affine, resample, resize, resize_bilinear, resize_nearest_neighbor, upsample_bilinear,
        upsample_nearest_neighbor,
    )
}  # fmt: skip
