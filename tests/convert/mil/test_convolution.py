"""Convolutions against PyTorch; padding "same" against TensorFlow is in test_against_tensorflow.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from tests.convert.mil.programs import evaluate, floats, same

functional = torch.nn.functional
pytestmark = pytest.mark.slow

CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_conv_custom_padding(axes: int, stride: int, dilation: int, groups: int, bias: bool) -> None:
    x, weight = floats(2, 4, *[9, 8, 7][:axes]), floats(8, 4 // groups, *[3, 2, 3][:axes], seed=1)
    offset = floats(8, seed=2) if bias else None
    pad = [1, 2, 0, 1, 2, 0][: 2 * axes]
    more = {} if offset is None else {"bias": offset}
    (found,) = evaluate(
        lambda x: mb.conv(
            x=x, weight=weight, strides=[stride] * axes, dilations=[dilation] * axes, groups=groups, pad_type="custom",
            pad=pad, **more,
        ),
        x,
    )  # fmt: skip
    padded = functional.pad(torch.from_numpy(x), [n for i in reversed(range(axes)) for n in pad[2 * i : 2 * i + 2]])
    expected = CONVOLVE[axes](
        padded, torch.from_numpy(weight), None if offset is None else torch.from_numpy(offset), stride, 0, dilation,
        groups,
    )  # fmt: skip
    same(expected.numpy(), found)


def test_conv_with_weights_that_are_computed() -> None:
    x, weight = floats(1, 3, 6, 6), floats(4, 3, 3, 3, seed=1)
    (found,) = evaluate(lambda x, w: mb.conv(x=x, weight=w), x, weight)
    same(functional.conv2d(torch.from_numpy(x), torch.from_numpy(weight)).numpy(), found)


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_same_lower_pads_the_odd_element_first(kernel: int, stride: int) -> None:
    """The mirror image of "same": reversed input, reversed kernel, reversed output."""
    x, weight = floats(1, 2, 10), floats(3, 2, kernel, seed=1)
    (lower,) = evaluate(lambda x: mb.conv(x=x, weight=weight, pad_type="same_lower", strides=[stride]), x)
    mirrored = weight[..., ::-1].copy()
    (upper,) = evaluate(lambda x: mb.conv(x=x, weight=mirrored, pad_type="same", strides=[stride]), x[..., ::-1].copy())
    total = max(0, (-(-10 // stride) - 1) * stride + kernel - 10)
    padded = functional.pad(torch.from_numpy(x), (total - total // 2, total // 2))
    same(functional.conv1d(padded, torch.from_numpy(weight), None, stride).numpy(), lower)
    if stride == 1:
        same(upper[..., ::-1], lower)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (2, 2)])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_conv_transpose(axes: int, stride: int, dilation: int, groups: int) -> None:
    x, weight, offset = floats(2, 4, *[5, 4, 3][:axes]), floats(4, 3, *[3] * axes, seed=1), floats(3 * groups, seed=2)

    def expected(padding: int) -> Any:
        arrays = [torch.from_numpy(array) for array in (x, weight, offset)]
        return TRANSPOSE[axes](*arrays, stride, padding, 0, groups, dilation).numpy()

    options = {"strides": [stride] * axes, "dilations": [dilation] * axes, "groups": groups, "bias": offset}
    (found,) = evaluate(lambda x: mb.conv_transpose(x=x, weight=weight, **options), x)
    same(expected(0), found)
    (found,) = evaluate(
        lambda x: mb.conv_transpose(x=x, weight=weight, pad_type="custom", pad=[1] * 2 * axes, **options), x
    )
    same(expected(1), found)


def test_conv_transpose_to_a_given_size() -> None:
    """What PyTorch calls output padding: more elements at the end."""
    x, weight = floats(1, 2, 5, 5), floats(2, 3, 3, 3, seed=1)
    (found,) = evaluate(
        lambda x: mb.conv_transpose(
            x=x, weight=weight, strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1], output_shape=[1, 3, 10, 10]
        ),
        x,
    )
    expected = functional.conv_transpose2d(torch.from_numpy(x), torch.from_numpy(weight), None, 2, 1, 1)
    same(expected.numpy(), found)


def test_float16_is_one_rounding_of_the_float32_result() -> None:
    x = floats(1, 64, 6, 6).astype(np.float16)
    weight = floats(8, 64, 3, 3, seed=1).astype(np.float16)
    (found,) = evaluate(lambda x: mb.conv(x=x, weight=weight), x)
    exact = functional.conv2d(torch.from_numpy(x).float(), torch.from_numpy(weight).float())
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, exact.half().numpy())
