"""Products of matrices, and attention, against NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from tests.convert.mil.programs import evaluate, floats, same, whole

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape: tuple[int, ...], bias: bool) -> None:
    x, weight, offset = floats(*shape), floats(4, 5, seed=1), floats(4, seed=2)
    more = {"bias": offset} if bias else {}
    (found,) = evaluate(lambda x: mb.linear(x=x, weight=weight, **more), x)
    same(x @ weight.T + (offset if bias else 0), found)


@pytest.mark.parametrize(
    ("x", "y", "flip_x", "flip_y"),
    [
        ((4, 3), (3, 2), False, False),
        ((10, 4, 3), (5, 10, 3, 2), False, False),
        ((3,), (3, 4), False, False),
        ((2, 3, 4), (2, 3, 5), True, False),
        ((2, 4, 3), (2, 5, 3), False, True),
        ((2, 3, 4), (1, 5, 3), True, True),
    ],
    ids=str,
)
def test_matmul(x: tuple[int, ...], y: tuple[int, ...], flip_x: bool, flip_y: bool) -> None:
    a, b = floats(*x), floats(*y, seed=1)
    (found,) = evaluate(lambda a, b: mb.matmul(x=a, y=b, transpose_x=flip_x, transpose_y=flip_y), a, b)
    same(np.matmul(a.swapaxes(-1, -2) if flip_x else a, b.swapaxes(-1, -2) if flip_y else b), found)


def test_matmul_of_integers() -> None:
    a, b = whole(3, 4), whole(4, 2, seed=1)
    (found,) = evaluate(lambda a, b: mb.matmul(x=a, y=b), a, b)
    same(a @ b, found)


@pytest.mark.parametrize(
    ("equation", "x", "y"),
    [("nchw,nwhu->nchu", (2, 3, 4, 5), (2, 5, 4, 6)), ("nchw,nwhu->nchu", (1, 3, 4, 5), (2, 5, 1, 6)),
     ("chw,whr->chr", (3, 4, 5), (5, 4, 6))],
)  # fmt: skip
def test_einsum(equation: str, x: tuple[int, ...], y: tuple[int, ...]) -> None:
    a, b = floats(*x), floats(*y, seed=1)
    (found,) = evaluate(lambda a, b: mb.einsum(values=(a, b), equation=equation), a, b)
    sizes = (max(x[0], y[0]), max(x[2], y[2])) if len(x) == 4 else None
    if sizes:
        a = np.broadcast_to(a, (sizes[0], x[1], sizes[1], x[3]))
        b = np.broadcast_to(b, (sizes[0], y[1], sizes[1], y[3]))
    same(np.einsum(equation, a, b), found)


@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_attention(mask: str) -> None:
    q, k, v = floats(2, 3, 4, 8), floats(2, 3, 5, 8, seed=1), floats(2, 3, 5, 6, seed=2)
    masks = {"none": None, "bool": floats(4, 5, seed=3) > -1, "float": floats(2, 1, 4, 5, seed=3)}
    given = masks[mask]
    more = {} if given is None else {"attn_mask": given}
    (found,) = evaluate(
        lambda q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v, **more), q, k, v, opset="iOS18"
    )
    tensors = [torch.from_numpy(array) for array in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(
        *tensors, attn_mask=None if given is None else torch.from_numpy(given)
    )
    same(expected.numpy(), found)
