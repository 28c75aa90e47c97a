"""Normalisations against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from tests.convert.mil.programs import evaluate, floats, same

functional = torch.nn.functional
pytestmark = pytest.mark.slow

GAMMA, BETA = floats(4, seed=1), floats(4, seed=2)
MEAN, VARIANCE = floats(4, seed=3), np.abs(floats(4, seed=4)) + 0.1


def tensors(*arrays: np.ndarray) -> list[object]:
    return [torch.from_numpy(array) for array in arrays]


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("scaled", [True, False])
def test_batch_norm(axes: int, scaled: bool) -> None:
    x = floats(2, 4, *[5, 4, 3][:axes])
    more = {"gamma": GAMMA, "beta": BETA} if scaled else {}
    (found,) = evaluate(lambda x: mb.batch_norm(x=x, mean=MEAN, variance=VARIANCE, epsilon=0.001, **more), x)
    scale = tensors(GAMMA, BETA) if scaled else [None, None]
    same(functional.batch_norm(*tensors(x, MEAN, VARIANCE), *scale, eps=0.001).numpy(), found)


@pytest.mark.parametrize("axes", [1, 2])
def test_instance_norm(axes: int) -> None:
    x = floats(2, 4, *[6, 5][:axes])
    (found,) = evaluate(lambda x: mb.instance_norm(x=x, gamma=GAMMA, beta=BETA, epsilon=1e-3), x)
    expected = functional.instance_norm(torch.from_numpy(x), weight=tensors(GAMMA)[0], bias=tensors(BETA)[0], eps=1e-3)
    same(expected.numpy(), found)


@pytest.mark.parametrize("shape", [[4], [3, 4], [2, 3, 4]])
def test_layer_norm(shape: list[int]) -> None:
    x, gamma, beta = floats(2, 3, 4), floats(*shape, seed=1), floats(*shape, seed=2)
    axes = list(range(-len(shape), 0))
    (found,) = evaluate(lambda x: mb.layer_norm(x=x, axes=axes, gamma=gamma, beta=beta, epsilon=1e-4), x)
    same(functional.layer_norm(torch.from_numpy(x), shape, *tensors(gamma, beta), 1e-4).numpy(), found)


def test_layer_norm_far_from_zero() -> None:
    """A mean a thousand times the deviation: squares must be taken of the differences."""
    x = floats(2, 64) * 0.1 + 100
    (found,) = evaluate(lambda x: mb.layer_norm(x=x, axes=[-1], epsilon=1e-5), x)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(found, exact, atol=2e-3)


@pytest.mark.parametrize("rank", [3, 4])
def test_l2_norm(rank: int) -> None:
    x = floats(*[2, 3, 4, 5][-rank:])
    (found,) = evaluate(lambda x: mb.l2_norm(x=x, epsilon=1e-3), x)
    same(x / np.sqrt((x * x).sum((-3, -2, -1), keepdims=True) + 1e-3), found)


@pytest.mark.parametrize("size", [3, 5])
def test_local_response_norm(size: int) -> None:
    x = floats(2, 8, 4, 4) * 5
    (found,) = evaluate(lambda x: mb.local_response_norm(x=x, size=size, alpha=0.5, beta=0.75, k=2.0), x)
    same(functional.local_response_norm(torch.from_numpy(x), size, 0.5, 0.75, 2.0).numpy(), found)
