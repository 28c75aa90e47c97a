"""What TensorFlow defines: padding "same", half-pixel grids, blocks of pixels, batches of positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from tests.convert.mil.programs import evaluate, floats, same, whole

pytestmark = pytest.mark.slow


def last(x: np.ndarray) -> np.ndarray:
    """NCHW to NHWC."""
    return np.moveaxis(x, 1, -1)


def first(x: Any) -> np.ndarray:
    return np.moveaxis(np.asarray(x), -1, 1)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_padding(size: int, kernel: int, stride: int) -> None:
    x, weight = floats(2, 3, size, size + 1), floats(4, 3, kernel, kernel, seed=1)
    strides, window = [stride, stride], [kernel, kernel]
    (found,) = evaluate(lambda x: mb.conv(x=x, weight=weight, strides=strides, pad_type="same"), x)
    same(first(tf.nn.conv2d(last(x), weight.transpose(2, 3, 1, 0), strides, "SAME")), found)
    options = {"kernel_sizes": window, "strides": strides, "pad_type": "same"}
    (found,) = evaluate(lambda x: mb.max_pool(x=x, **options), x)
    same(first(tf.nn.max_pool2d(last(x), window, strides, "SAME")), found)
    (found,) = evaluate(lambda x: mb.avg_pool(x=x, exclude_padding_from_average=True, **options), x)
    same(first(tf.nn.avg_pool2d(last(x), window, strides, "SAME")), found)


def test_same_padding_with_dilation() -> None:
    x, weight = floats(1, 3, 9, 9), floats(4, 3, 3, 3, seed=1)
    (found,) = evaluate(lambda x: mb.conv(x=x, weight=weight, dilations=[2, 2], pad_type="same"), x)
    same(first(tf.nn.conv2d(last(x), weight.transpose(2, 3, 1, 0), 1, "SAME", dilations=2)), found)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_conv_transpose_same(kernel: int, stride: int) -> None:
    x, weight = floats(1, 3, 5, 4), floats(3, 2, kernel, kernel, seed=1)
    (found,) = evaluate(lambda x: mb.conv_transpose(x=x, weight=weight, strides=[stride] * 2, pad_type="same"), x)
    shape = (1, 5 * stride, 4 * stride, 2)
    same(first(tf.nn.conv2d_transpose(last(x), weight.transpose(2, 3, 1, 0), shape, stride, "SAME")), found)


@pytest.mark.parametrize("size", [(10, 14), (7, 9), (3, 4)], ids=str)
def test_resize_without_half_pixels(size: tuple[int, int]) -> None:
    x = floats(2, 3, 5, 7)
    (found,) = evaluate(
        lambda x: mb.resize_bilinear(
            x=x, target_size_height=size[0], target_size_width=size[1], sampling_mode="DEFAULT"
        ),
        x,
    )
    same(first(tf.raw_ops.ResizeBilinear(images=last(x), size=size)), found)


@pytest.mark.parametrize("half", [True, False])
def test_upsample_with_and_without_half_pixels(half: bool) -> None:
    x = floats(2, 3, 5, 7)
    (found,) = evaluate(
        lambda x: mb.upsample_bilinear(
            x=x, scale_factor_height=2, scale_factor_width=3, align_corners=False, half_pixel_centers=half
        ),
        x,
    )
    same(first(tf.raw_ops.ResizeBilinear(images=last(x), size=(10, 21), half_pixel_centers=half)), found)


@pytest.mark.parametrize("size", [(10, 14), (7, 9), (3, 4)], ids=str)
def test_nearest_with_half_pixels(size: tuple[int, int]) -> None:
    x = floats(2, 3, 5, 7)
    (found,) = evaluate(
        lambda x: mb.resize_nearest_neighbor(x=x, target_size_height=size[0], target_size_width=size[1]), x
    )
    same(first(tf.raw_ops.ResizeNearestNeighbor(images=last(x), size=size, half_pixel_centers=True)), found)


def test_blocks() -> None:
    x = floats(2, 8, 4, 6)
    deep, wide = evaluate(lambda x: (mb.space_to_depth(x=x, block_size=2), mb.depth_to_space(x=x, block_size=2)), x)
    same(first(tf.nn.space_to_depth(last(x), 2)), deep)
    same(first(tf.nn.depth_to_space(last(x), 2)), wide)


def test_batches_of_blocks() -> None:
    x = floats(1, 3, 5, 6)
    there, back = evaluate(
        lambda x: (
            b := mb.space_to_batch(x=x, block_shape=[2, 3], paddings=[[1, 0], [2, 1]]),
            mb.batch_to_space(x=b, block_shape=[2, 3], crops=[[1, 0], [2, 1]]),
        ),
        x,
    )
    same(first(tf.space_to_batch(last(x), [2, 3], [[1, 0], [2, 1]])), there)
    same(x, back)


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_gather_nd_by_batch(batch: int) -> None:
    x, indices = floats(2, 3, 4, 5), whole(2, 3, 2, 1 if batch == 2 else 2, low=0, high=2)
    (found,) = evaluate(lambda x, i: mb.gather_nd(x=x, indices=i, batch_dims=batch), x, indices)
    same(tf.gather_nd(x, indices, batch_dims=batch), found)


@pytest.mark.parametrize(("along", "batch"), [(1, 0), (0, 1), (2, 0)])
def test_reverse_sequence(along: int, batch: int) -> None:
    x = floats(3, 3, 4)
    lengths = np.array([1, 3, 2], np.int32)
    (found,) = evaluate(lambda x, n: mb.reverse_sequence(x=x, lengths=n, seq_axis=along, batch_axis=batch), x, lengths)
    same(tf.reverse_sequence(x, lengths, seq_axis=along, batch_axis=batch), found)
