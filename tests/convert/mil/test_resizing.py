"""Resizing and sampling against PyTorch; the modes that only TensorFlow has are in test_against_tensorflow.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from edgekit.errors import ConversionError
from tests.convert.mil.programs import evaluate, floats, same

functional = torch.nn.functional
pytestmark = pytest.mark.slow

X = floats(2, 3, 5, 7)
TENSOR = torch.from_numpy(X)


def interpolated(size: Any, mode: str, align: bool | None = None) -> np.ndarray:
    return np.asarray(functional.interpolate(TENSOR, size=size, mode=mode, align_corners=align).numpy())


@pytest.mark.parametrize("size", [(10, 14), (8, 9), (3, 4), (1, 1)], ids=str)
@pytest.mark.parametrize(("mode", "align"), [("STRICT_ALIGN_CORNERS", True), ("UNALIGN_CORNERS", False)])
def test_resize_bilinear(mode: str, align: bool, size: tuple[int, int]) -> None:
    (found,) = evaluate(
        lambda x: mb.resize_bilinear(x=x, target_size_height=size[0], target_size_width=size[1], sampling_mode=mode),
        X,
    )
    same(interpolated(size, "bilinear", align), found)


@pytest.mark.parametrize(
    ("mode", "new", "points"),
    [
        ("UNALIGN_CORNERS", 5, [0, 0.1, 0.5, 0.9, 1]),
        ("ALIGN_CORNERS", 5, [0, 0.25, 0.5, 0.75, 1]),
        ("DEFAULT", 5, [0, 0.4, 0.8, 1, 1]),
        ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("STRICT_ALIGN_CORNERS", 6, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ("OFFSET_CORNERS", 6, [1 / 12, 0.25, 5 / 12, 7 / 12, 0.75, 11 / 12]),
        ("ALIGN_CORNERS", 1, [0.5]),
        ("STRICT_ALIGN_CORNERS", 1, [0]),
    ],
)
def test_the_grids_of_the_documentation(mode: str, new: int, points: list[float]) -> None:
    """An input of 0 and 1 shows where the output's elements lie (MIL's documentation of resize_bilinear)."""
    x = np.array([[[[0.0, 1.0]]]], np.float32)
    (found,) = evaluate(
        lambda x: mb.resize_bilinear(x=x, target_size_height=1, target_size_width=new, sampling_mode=mode), x
    )
    np.testing.assert_allclose(found[0, 0, 0], points, atol=1e-6)


@pytest.mark.parametrize(("factors", "size"), [((2, 3), (10, 21)), ((1.5, 0.5), (7, 3))], ids=str)
@pytest.mark.parametrize("align", [True, False])
def test_upsample_bilinear(factors: tuple[float, float], size: tuple[int, int], align: bool) -> None:
    (found,) = evaluate(
        lambda x: mb.upsample_bilinear(
            x=x, scale_factor_height=factors[0], scale_factor_width=factors[1], align_corners=align
        ),
        X,
    )
    same(interpolated(size, "bilinear", align), found)


@pytest.mark.parametrize(("factors", "size"), [((2, 3), (10, 21)), ((1.5, 2.0), (7, 14))], ids=str)
def test_upsample_nearest_neighbor(factors: tuple[float, float], size: tuple[int, int]) -> None:
    (found,) = evaluate(
        lambda x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=factors[0], scale_factor_width=factors[1]), X
    )
    same(interpolated(size, "nearest"), found)


@pytest.mark.parametrize("size", [(10, 14), (8, 9), (3, 4)], ids=str)
def test_resize_nearest_neighbor(size: tuple[int, int]) -> None:
    (found,) = evaluate(
        lambda x: mb.resize_nearest_neighbor(x=x, target_size_height=size[0], target_size_width=size[1]), X
    )
    same(interpolated(size, "nearest-exact"), found)


def test_resize_to_a_shape_that_is_computed() -> None:
    shape = np.array([0, 10, 9], np.int32)
    (found,) = evaluate(
        lambda x, s: mb.resize(x=x, shape=s, resized_dims=np.uint32(3), sampling_mode="UNALIGN_CORNERS"),
        X, shape, opset="iOS17",
    )  # fmt: skip
    same(interpolated((10, 9), "bilinear", False), found)
    (found,) = evaluate(
        lambda x: mb.resize(
            x=x, shape=[10, 14], resized_dims=np.uint32(2), interpolation_mode="NEAREST_NEIGHBOR",
            sampling_mode="UNALIGN_CORNERS",
        ),
        X, opset="iOS17",
    )  # fmt: skip
    same(interpolated((10, 14), "nearest"), found)


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("sampling", ["bilinear", "nearest"])
@pytest.mark.parametrize(("padding", "torchs"), [("constant", "zeros"), ("border", "border"), ("mirror", "reflection")])
def test_resample(padding: str, torchs: str, sampling: str, align: bool) -> None:
    if padding == "mirror":
        padding = "reflection" if align else "symmetric"
    grid = floats(2, 4, 6, 2, seed=1)
    (found,) = evaluate(
        lambda x, g: mb.resample(
            x=x, coordinates=g, sampling_mode=sampling, padding_mode=padding, padding_value=0.0,
            coordinates_mode="normalized_minus_one_to_one", align_corners=align,
        ),
        X, grid,
    )  # fmt: skip
    same(functional.grid_sample(TENSOR, torch.from_numpy(grid), sampling, torchs, align).numpy(), found)


@pytest.mark.parametrize("align", [True, False])
def test_resample_at_pixels(align: bool) -> None:
    """Coordinates (x, y) of pixels, however they are told, give the pixels."""
    rows, columns = np.mgrid[:5, :7].astype(np.float32)
    pixels = np.stack([columns, rows], -1)[None].repeat(2, 0)
    sizes = np.array([7, 5], np.float32)
    told = {
        "unnormalized": pixels,
        "normalized_zero_to_one": pixels / (sizes - 1) if align else (pixels + 0.5) / sizes,
    }
    for mode, coordinates in told.items():
        (found,) = evaluate(
            lambda x, c, mode=mode: mb.resample(
                x=x, coordinates=c, sampling_mode="bilinear", padding_mode="constant", padding_value=9.0,
                coordinates_mode=mode, align_corners=align,
            ),
            X, coordinates.astype(np.float32),
        )  # fmt: skip
        np.testing.assert_allclose(found, X, atol=1e-5)


def test_resample_outside_gives_the_padding() -> None:
    grid = np.full((2, 1, 1, 2), 5.0, np.float32)
    (found,) = evaluate(
        lambda x, g: mb.resample(
            x=x, coordinates=g, sampling_mode="bilinear", padding_mode="constant", padding_value=9.0,
            coordinates_mode="normalized_minus_one_to_one", align_corners=True,
        ),
        X, grid,
    )  # fmt: skip
    same(np.full((2, 3, 1, 1), 9.0), found)


def test_a_reflection_that_nobody_documents_is_refused() -> None:
    with pytest.raises(ConversionError, match="at resample .*padding_mode symmetric with align_corners=True"):
        evaluate(
            lambda x, g: mb.resample(
                x=x, coordinates=g, sampling_mode="bilinear", padding_mode="symmetric", padding_value=0.0,
                coordinates_mode="normalized_minus_one_to_one", align_corners=True,
            ),
            X, floats(2, 1, 1, 2),
        )  # fmt: skip


def test_affine() -> None:
    theta = np.array([[0.8, 0.1, 0.2, -0.1, 1.1, 0.0]], np.float32)
    (found,) = evaluate(
        lambda x, t: mb.affine(
            x=x, transform_matrix=t, output_height=4, output_width=6, sampling_mode="bilinear",
            padding_mode="constant", padding_value=0.0, coordinates_mode="normalized_minus_one_to_one",
            align_corners=True,
        ),
        X, theta,
    )  # fmt: skip
    grid = functional.affine_grid(torch.from_numpy(theta).reshape(1, 2, 3).repeat(2, 1, 1), [2, 3, 4, 6], True)
    same(functional.grid_sample(TENSOR, grid, "bilinear", "zeros", True).numpy(), found)
