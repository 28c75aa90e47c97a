"""Recurrent layers against PyTorch, whose gates have another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it

from edgekit.errors import ConversionError
from tests.convert.mil.programs import evaluate, floats, same

pytestmark = pytest.mark.slow

STEPS, BATCH, SIZE, HIDDEN = 6, 2, 3, 4
X = floats(STEPS, BATCH, SIZE)


def gates(array: Any, order: list[int]) -> np.ndarray:
    """PyTorch's rows in MIL's order."""
    return np.concatenate([np.split(array.detach().numpy(), len(order))[i] for i in order])


def weights(layer: Any, order: list[int], suffix: str = "") -> dict[str, np.ndarray]:
    name = "_back" if suffix else ""
    return {
        f"weight_ih{name}": gates(getattr(layer, f"weight_ih_l0{suffix}"), order),
        f"weight_hh{name}": gates(getattr(layer, f"weight_hh_l0{suffix}"), order),
        f"bias{name}": gates(getattr(layer, f"bias_ih_l0{suffix}") + getattr(layer, f"bias_hh_l0{suffix}"), order),
    }


@pytest.mark.parametrize("sequence", [True, False])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm(direction: str, sequence: bool) -> None:
    torch.manual_seed(0)
    both = direction == "bidirectional"
    layer = torch.nn.LSTM(SIZE, HIDDEN, bidirectional=both)
    order = [0, 1, 3, 2]  # PyTorch: input, forget, cell, output; MIL: input, forget, output, cell
    options = weights(layer, order) | (weights(layer, order, "_reverse") if both else {})
    h, c = floats(BATCH, HIDDEN * (1 + both), seed=1), floats(BATCH, HIDDEN * (1 + both), seed=2)
    found = evaluate(
        lambda x, h, c: mb.lstm(
            x=x, initial_h=h, initial_c=c, direction=direction, output_sequence=sequence, **options
        ),
        X, h, c,
    )  # fmt: skip
    states = [torch.from_numpy(np.stack(np.split(s, 1 + both, 1))) for s in (h, c)]
    x = torch.from_numpy(X[::-1].copy() if direction == "reverse" else X)
    with torch.no_grad():
        outputs, (last_h, last_c) = layer(x, tuple(states))
    every = outputs.numpy()[::-1] if direction == "reverse" else outputs.numpy()
    ends = [np.concatenate(list(s.numpy()), -1) for s in (last_h, last_c)]
    for expected, got in zip([every if sequence else ends[0][None], *ends], found, strict=True):
        same(expected, got)


def test_lstm_with_peepholes_and_a_clip() -> None:
    """Against the formulas, step by step."""
    w, u, b = floats(4 * HIDDEN, SIZE), floats(4 * HIDDEN, HIDDEN, seed=1), floats(4 * HIDDEN, seed=2)
    peep, h, c = floats(3 * HIDDEN, seed=3), floats(BATCH, HIDDEN, seed=4), floats(BATCH, HIDDEN, seed=5)
    found = evaluate(
        lambda x, h, c: mb.lstm(
            x=x, initial_h=h, initial_c=c, weight_ih=w, weight_hh=u, bias=b, peephole=peep, clip=0.5,
            output_sequence=True, activation="relu",
        ),
        X, h, c,
    )  # fmt: skip

    def sigmoid(a: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-a))

    p_i, p_f, p_o = np.split(peep, 3)
    every = []
    for step in X:
        i, f, o, z = np.split(step @ w.T + h @ u.T + b, 4, -1)
        c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.clip(np.tanh(z), -0.5, 0.5)
        h = sigmoid(o + p_o * c) * np.maximum(c, 0)
        every.append(h)
    for expected, got in zip([np.stack(every), h, c], found, strict=True):
        same(expected, got)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_gru(direction: str) -> None:
    torch.manual_seed(0)
    layer = torch.nn.GRU(SIZE, HIDDEN)
    with torch.no_grad():  # MIL adds one bias outside of the reset gate
        layer.bias_hh_l0.zero_()
    options = weights(layer, [0, 2, 1])  # PyTorch: reset, update, new; MIL: reset, output, update
    h = floats(BATCH, HIDDEN, seed=1)
    every, last = evaluate(
        lambda x, h: mb.gru(x=x, initial_h=h, direction=direction, output_sequence=True, **options), X, h
    )
    x = torch.from_numpy(X[::-1].copy() if direction == "reverse" else X)
    with torch.no_grad():
        outputs, state = layer(x, torch.from_numpy(h)[None])
    same(outputs.numpy()[::-1] if direction == "reverse" else outputs.numpy(), every)
    same(state.numpy()[0], last)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_rnn(activation: str, direction: str) -> None:
    torch.manual_seed(0)
    layer = torch.nn.RNN(SIZE, HIDDEN, nonlinearity=activation)
    h = floats(BATCH, HIDDEN, seed=1)
    every, last = evaluate(
        lambda x, h: mb.rnn(
            x=x, initial_h=h, direction=direction, output_sequence=True, activation=activation, **weights(layer, [0])
        ),
        X, h,
    )  # fmt: skip
    x = torch.from_numpy(X[::-1].copy() if direction == "reverse" else X)
    with torch.no_grad():
        outputs, state = layer(x, torch.from_numpy(h)[None])
    same(outputs.numpy()[::-1] if direction == "reverse" else outputs.numpy(), every)
    same(state.numpy()[0], last)


def test_an_activation_without_documented_parameters_is_refused() -> None:
    torch.manual_seed(0)
    options = weights(torch.nn.RNN(SIZE, HIDDEN), [0])
    with pytest.raises(ConversionError, match="at rnn .*scaled_tanh"):
        evaluate(lambda x, h: mb.rnn(x=x, initial_h=h, activation="scaled_tanh", **options), X, floats(BATCH, HIDDEN))
