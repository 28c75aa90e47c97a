"""LSTM, GRU and RNN, unrolled over time: no converter needs to know them, and a long sequence makes a long program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from edgekit.convert.onnx_to_torch.node import Node, Operator, UnsupportedNodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    Activation = Callable[[Tensor], Tensor]
    Cell = Callable[..., tuple[Tensor, ...]]

_ACTIVATIONS: dict[str, Activation] = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


def _activations(node: Node, defaults: Sequence[str]) -> list[list[Activation]]:
    """The activation functions of each direction."""
    directions = 2 if node.get("direction", "forward") == "bidirectional" else 1
    names = [name.lower() for name in node.get("activations", list(defaults) * directions)]
    unknown = sorted({name for name in names if name not in _ACTIVATIONS})
    if unknown or node.get("clip") is not None:
        raise UnsupportedNodeError(f"the activation {', '.join(unknown)}" if unknown else "clipped cells")
    functions = [_ACTIVATIONS[name] for name in names]
    return [functions[d * len(defaults) : (d + 1) * len(defaults)] for d in range(directions)]


def _run(
    node: Node, x: Tensor, lengths: np.ndarray | None, states: list[Tensor | None], hidden: int,
    cells: list[Cell],
) -> tuple[Tensor, ...]:  # fmt: skip
    """Runs each direction's cell over time.

    Args:
        x: `(time, batch, features)`, or `(batch, time, features)` where `layout` is 1 (opset 14).
        lengths: of each sequence; only whole ones are supported.
        states: initial states, `(directions, batch, hidden)`, None for zeros.
        cells: by direction, `(x_t, *states) -> states`, whose first is the output.

    Returns:
        All outputs `(time, directions, batch, hidden)`, then the last value of each state.
    """
    batch_first = bool(node.get("layout", 0))
    x = x.transpose(0, 1) if batch_first else x
    time, batch = x.shape[:2]
    if lengths is not None and any(int(n) != time for n in lengths):
        raise UnsupportedNodeError("sequences of different lengths")
    outputs, last = [], []
    for d, cell in enumerate(cells):
        backwards = node.get("direction", "forward") == "reverse" or d == 1
        current = tuple(_initial(state, d, batch, hidden, x, batch_first=batch_first) for state in states)
        steps = []
        for t in range(time - 1, -1, -1) if backwards else range(time):
            current = cell(x[t], *current)
            steps.append(current[0])
        outputs.append(torch.stack(steps[::-1] if backwards else steps))
        last.append(current)
    y = torch.stack(outputs, dim=1)
    finals = tuple(torch.stack([state[k] for state in last]) for k in range(len(states)))
    if batch_first:
        return y.permute(2, 0, 1, 3), *(final.transpose(0, 1) for final in finals)
    return y, *finals


def _initial(state: Tensor | None, d: int, batch: int, hidden: int, x: Tensor, *, batch_first: bool) -> Tensor:
    if state is None:
        return torch.zeros(batch, hidden, dtype=x.dtype)
    return state[:, d] if batch_first else state[d]


def _lstm(
    node: Node, x: Tensor, w: Tensor, r: Tensor, bias: Tensor | None = None, lengths: np.ndarray | None = None,
    h: Tensor | None = None, c: Tensor | None = None, peepholes: Tensor | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gates in the order input, output, forget, cell (Hochreiter and Schmidhuber 1997, with peepholes)."""
    if node.get("input_forget", 0):
        raise UnsupportedNodeError("coupled input and forget gates")
    hidden = r.shape[-1]

    def cell_of(d: int, f: Activation, g: Activation, out: Activation) -> Cell:
        p = [None] * 3 if peepholes is None else list(peepholes[d].split(hidden))

        def cell(x_t: Tensor, h_t: Tensor, c_t: Tensor) -> tuple[Tensor, Tensor]:
            gates = _gates(x_t, w[d]) + _gates(h_t, r[d])
            if bias is not None:
                gates = gates + bias[d, : 4 * hidden] + bias[d, 4 * hidden :]
            i, o, forget, new = gates.split(hidden, dim=-1)
            i = i if p[0] is None else i + p[0] * c_t
            forget = forget if p[2] is None else forget + p[2] * c_t
            c_next = f(forget) * c_t + f(i) * g(new)
            o = o if p[1] is None else o + p[1] * c_next
            return f(o) * out(c_next), c_next

        return cell

    cells = [cell_of(d, *three) for d, three in enumerate(_activations(node, ("Sigmoid", "Tanh", "Tanh")))]
    return _run(node, x, lengths, [h, c], hidden, cells)


def _gru(
    node: Node, x: Tensor, w: Tensor, r: Tensor, bias: Tensor | None = None, lengths: np.ndarray | None = None,
    h: Tensor | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gates in the order update, reset, hidden (Cho et al. 2014); `linear_before_reset` is the variant of cuDNN."""
    hidden, before = r.shape[-1], bool(node.get("linear_before_reset", 0))

    def cell_of(d: int, f: Activation, g: Activation) -> Cell:
        zeros = torch.zeros(6 * hidden, dtype=x.dtype)
        bw, br = (zeros if bias is None else bias[d]).split(3 * hidden)

        def cell(x_t: Tensor, h_t: Tensor) -> tuple[Tensor]:
            xz, xr, xh = (_gates(x_t, w[d]) + bw).split(hidden, dim=-1)
            rz, rr, rh = r[d].split(hidden)
            bz, b_reset, bh = br.split(hidden)
            z = f(xz + _gates(h_t, rz) + bz)
            reset = f(xr + _gates(h_t, rr) + b_reset)
            new = reset * (_gates(h_t, rh) + bh) if before else _gates(reset * h_t, rh) + bh
            return ((1 - z) * g(xh + new) + z * h_t,)

        return cell

    cells = [cell_of(d, *two) for d, two in enumerate(_activations(node, ("Sigmoid", "Tanh")))]
    return _run(node, x, lengths, [h], hidden, cells)


def _rnn(
    node: Node, x: Tensor, w: Tensor, r: Tensor, bias: Tensor | None = None, lengths: np.ndarray | None = None,
    h: Tensor | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    hidden = r.shape[-1]

    def cell_of(d: int, f: Activation) -> Cell:
        def cell(x_t: Tensor, h_t: Tensor) -> tuple[Tensor]:
            total = _gates(x_t, w[d]) + _gates(h_t, r[d])
            return (f(total if bias is None else total + bias[d, :hidden] + bias[d, hidden:]),)

        return cell

    cells = [cell_of(d, *one) for d, one in enumerate(_activations(node, ("Tanh",)))]
    return _run(node, x, lengths, [h], hidden, cells)


def _gates(x: Tensor, weight: Tensor) -> Tensor:
    return torch.nn.functional.linear(x, weight)


OPERATORS = {
    "GRU": Operator(_gru, static=(4,)),
    "LSTM": Operator(_lstm, static=(4,)),
    "RNN": Operator(_rnn, static=(4,)),
}
