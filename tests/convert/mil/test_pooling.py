"""Pools against PyTorch; padding "same" against TensorFlow is in test_against_tensorflow.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from tests.convert.mil.programs import evaluate, floats, same

functional = torch.nn.functional
pytestmark = pytest.mark.slow

MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
MEAN = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1), (3, 3)])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_max_and_mean(axes: int, kernel: int, stride: int, padding: int, ceil: bool) -> None:
    if ceil and axes == 3:
        pytest.skip("MIL has no ceil mode over three axes")
    x = floats(2, 3, *[10, 9, 8][:axes])
    options = {
        "kernel_sizes": [kernel] * axes, "strides": [stride] * axes, "pad_type": "custom",
        "pad": [padding] * 2 * axes, "ceil_mode": ceil,
    }  # fmt: skip
    (found,) = evaluate(lambda x: mb.max_pool(x=x, **options), x)
    same(MAX[axes](torch.from_numpy(x), kernel, stride, padding, ceil_mode=ceil).numpy(), found)
    for exclude in (False, True):
        (found,) = evaluate(
            lambda x, exclude=exclude: mb.avg_pool(x=x, exclude_padding_from_average=exclude, **options), x
        )
        expected = MEAN[axes](torch.from_numpy(x), kernel, stride, padding, ceil, not exclude)
        same(expected.numpy(), found)


def test_padding_never_wins_the_maximum() -> None:
    x = -np.ones((1, 1, 4, 4), np.float32)
    (found,) = evaluate(lambda x: mb.max_pool(x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="same"), x)
    same(-np.ones((1, 1, 2, 2)), found)


def test_valid() -> None:
    x = floats(1, 2, 7, 7)
    (found,) = evaluate(lambda x: mb.avg_pool(x=x, kernel_sizes=[7, 7], pad_type="valid"), x)
    same(x.mean((2, 3), keepdims=True), found)


@pytest.mark.parametrize("axes", [1, 2])
def test_l2_pool(axes: int) -> None:
    x = floats(2, 3, *[8, 6][:axes])
    (found,) = evaluate(lambda x: mb.l2_pool(x=x, kernel_sizes=[2] * axes, strides=[2] * axes, pad_type="valid"), x)
    pool = functional.lp_pool1d if axes == 1 else functional.lp_pool2d
    same(pool(torch.from_numpy(x), 2.0, 2, 2).numpy(), found)
