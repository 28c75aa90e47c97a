"""Activations against PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from tests.convert.mil.programs import evaluate, floats, same

if TYPE_CHECKING:
    from collections.abc import Callable

functional = torch.nn.functional
pytestmark = pytest.mark.slow

ALPHA = np.array([0.1, 0.25, -0.5], np.float32)
BETA = np.array([1.0, 2.0, 0.5], np.float32)


def per_channel(values: np.ndarray) -> Any:
    return torch.from_numpy(values).reshape(1, 3, 1, 1)


CASES: list[tuple[str, Callable[..., Any], Callable[..., Any]]] = [
    ("clamped_relu", lambda x: mb.clamped_relu(x=x, alpha=0.1, beta=0.7),
     lambda x: torch.minimum(functional.leaky_relu(x, 0.1), torch.tensor(0.7))),
    ("elu", lambda x: mb.elu(x=x, alpha=1.5), lambda x: functional.elu(x, 1.5)),
    ("gelu", lambda x: mb.gelu(x=x), functional.gelu),
    ("gelu tanh", lambda x: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
     lambda x: functional.gelu(x, approximate="tanh")),
    ("gelu sigmoid", lambda x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"), lambda x: x / (1 + torch.exp(-1.702 * x))),
    ("leaky_relu", lambda x: mb.leaky_relu(x=x, alpha=0.2), lambda x: functional.leaky_relu(x, 0.2)),
    ("linear_activation", lambda x: mb.linear_activation(x=x, alpha=2.0, beta=-1.0), lambda x: 2 * x - 1),
    ("prelu", lambda x: mb.prelu(x=x, alpha=ALPHA), lambda x: functional.prelu(x, torch.from_numpy(ALPHA))),
    ("relu", lambda x: mb.relu(x=x), functional.relu),
    ("relu6", lambda x: mb.relu6(x=x), functional.relu6),
    ("scaled_tanh", lambda x: mb.scaled_tanh(x=x, alpha=1.7, beta=0.6), lambda x: 1.7 * torch.tanh(0.6 * x)),
    ("sigmoid", lambda x: mb.sigmoid(x=x), torch.sigmoid),
    ("sigmoid_hard", lambda x: mb.sigmoid_hard(x=x, alpha=1 / 6, beta=0.5), functional.hardsigmoid),
    ("silu", lambda x: mb.silu(x=x), functional.silu),
    ("softplus", lambda x: mb.softplus(x=x), lambda x: torch.log1p(torch.exp(x))),
    ("softplus_parametric", lambda x: mb.softplus_parametric(x=x, alpha=ALPHA, beta=BETA),
     lambda x: per_channel(ALPHA) * torch.log1p(torch.exp(per_channel(BETA) * x))),
    ("softsign", lambda x: mb.softsign(x=x), functional.softsign),
    ("softmax", lambda x: mb.softmax(x=x, axis=1), lambda x: torch.softmax(x, 1)),
    ("softmax, default axis", lambda x: mb.softmax(x=x), lambda x: torch.softmax(x, -1)),
    ("thresholded_relu", lambda x: mb.thresholded_relu(x=x, alpha=0.5), lambda x: functional.threshold(x, 0.5, 0.0)),
]  # fmt: skip


@pytest.mark.parametrize(("build", "reference"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_against_torch(build: Callable[..., Any], reference: Callable[..., Any]) -> None:
    x = floats(2, 3, 4, 5) * 4
    (found,) = evaluate(build, x)
    same(reference(torch.from_numpy(x)).numpy(), found)
