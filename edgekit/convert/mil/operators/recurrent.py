"""Recurrent layers: LSTM, GRU and plain RNN. Sequences are (steps, batch, features).

Float16 is rounded after the whole layer, not after each step: a layer is one operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from edgekit.convert.mil.values import Tensor, number

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
"""The others that MIL names (hard_sigmoid, scaled_tanh) have parameters that its documentation does not give."""


def lstm(
    x: Tensor,
    initial_h: Tensor,
    initial_c: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    peephole: Tensor | None = None,
    weight_ih_back: Tensor | None = None,
    weight_hh_back: Tensor | None = None,
    bias_back: Tensor | None = None,
    peephole_back: Tensor | None = None,
    direction: str = "forward",
    output_sequence: Tensor | None = None,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights hold the input, forget, output and cell gate, in this order, each with `hidden` rows.

    Returns:
        (the hidden state of every step, or of the last alone; the last hidden state; the last memory). Both directions
        are joined along the last axis.
    """
    gates = (ACTIVATIONS[recurrent_activation], ACTIVATIONS[cell_activation], ACTIVATIONS[activation])
    limit = None if clip is None else number(clip)

    def run(steps: Tensor, h: Tensor, c: Tensor, w: Tensor, u: Tensor, b: Tensor | None, p: Tensor | None) -> _Run:
        return _lstm_direction(steps, h, c, (w, u, b, p), gates, limit)

    if direction != "bidirectional":
        steps = x.flip(0) if direction == "reverse" else x
        sequence, h, c = run(steps, initial_h, initial_c, weight_ih, weight_hh, bias, peephole)
        return _sequence(sequence, output_sequence, reverse=direction == "reverse"), h, c
    assert weight_ih_back is not None
    assert weight_hh_back is not None
    half = weight_hh.shape[1]
    ahead = run(x, initial_h[:, :half], initial_c[:, :half], weight_ih, weight_hh, bias, peephole)
    back = run(
        x.flip(0), initial_h[:, half:], initial_c[:, half:], weight_ih_back, weight_hh_back, bias_back, peephole_back
    )
    joined = torch.cat(
        [_sequence(ahead[0], output_sequence, reverse=False), _sequence(back[0], output_sequence, reverse=True)], -1
    )
    return joined, torch.cat([ahead[1], back[1]], -1), torch.cat([ahead[2], back[2]], -1)


if TYPE_CHECKING:
    _Run = tuple[Tensor, Tensor, Tensor]
    _Gate = Callable[[Tensor], Tensor]


def _lstm_direction(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    activations: tuple[_Gate, _Gate, _Gate],
    clip: float | None,
) -> _Run:
    weight_ih, weight_hh, bias, peephole = weights
    gate, cell, out = activations
    from_inputs = x @ weight_ih.T if bias is None else x @ weight_ih.T + bias
    look = (0.0, 0.0, 0.0) if peephole is None else peephole.chunk(3)
    states = []
    for step in from_inputs:
        i, f, o, z = (step + h @ weight_hh.T).chunk(4, -1)
        candidate = cell(z)
        if clip is not None:
            candidate = candidate.clamp(-clip, clip)
        c = gate(f + look[1] * c) * c + gate(i + look[0] * c) * candidate
        h = gate(o + look[2] * c) * out(c)
        states.append(h)
    return torch.stack(states), h, c


def gru(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: Tensor | None = None,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
) -> tuple[Tensor, Tensor]:
    """Weights hold the reset, output and update gate, in this order.

    The reset gate multiplies what the output gate makes of the hidden state, as the documentation's formula has it. The
    inputs that iOS 18 adds (`reset_after`, `input_bias`) have no formula there, and are refused. No converter of
    coremltools writes this operator: it makes a loop of PyTorch's GRU.
    """
    gate, out = ACTIVATIONS[recurrent_activation], ACTIVATIONS[activation]
    steps = x.flip(0) if direction == "reverse" else x
    from_inputs = steps @ weight_ih.T if bias is None else steps @ weight_ih.T + bias
    h, states = initial_h, []
    for step in from_inputs:
        i_r, i_o, i_z = step.chunk(3, -1)
        h_r, h_o, h_z = (h @ weight_hh.T).chunk(3, -1)
        update = gate(i_z + h_z)
        h = (1 - update) * out(i_o + gate(i_r + h_r) * h_o) + update * h
        states.append(h)
    return _sequence(torch.stack(states), output_sequence, reverse=direction == "reverse"), h


def rnn(
    x: Tensor,
    initial_h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    direction: str = "forward",
    output_sequence: Tensor | None = None,
    activation: str = "tanh",
) -> tuple[Tensor, Tensor]:
    steps = x.flip(0) if direction == "reverse" else x
    from_inputs = steps @ weight_ih.T if bias is None else steps @ weight_ih.T + bias
    h, states = initial_h, []
    for step in from_inputs:
        h = ACTIVATIONS[activation](step + h @ weight_hh.T)
        states.append(h)
    return _sequence(torch.stack(states), output_sequence, reverse=direction == "reverse"), h


def _sequence(states: Tensor, output_sequence: Tensor | None, *, reverse: bool) -> Tensor:
    """All states in the order of the inputs, or the last one computed."""
    if output_sequence is None or not bool(output_sequence):
        return states[-1:]
    return states.flip(0) if reverse else states


OPERATORS: dict[str, Callable[..., tuple[Tensor, ...]]] = {"gru": gru, "lstm": lstm, "rnn": rnn}
