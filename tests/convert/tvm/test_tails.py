"""Lengths that are no multiple of a vector: equal to NumPy, in vectors all the same, and never beyond their row."""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.convert.tvm import kernels
from edgekit.convert.tvm.machine import Machine, canonical_triple

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="looks for x86 vectors in the code"),
]

MACHINES = {
    "avx2": Machine(canonical_triple(None), "x86-64-v3", 8, 16),
    "avx512's tiles": Machine("x86_64-linux-gnu", "x86-64-v4", 16, 32).imitated(),
    "neon's tiles": Machine("aarch64-linux-gnu", "generic", 4, 32).imitated(),
}
LENGTHS = (1, 2, 7, 8, 13, 21, 33, 101)
"""One, less than a vector, a vector, and more than one of every machine, with and without a rest."""
ROWS = 3
"""Several: what reads beyond a row reads the next one, and gives another answer."""


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _layer_norm(x: np.ndarray) -> np.ndarray:
    return np.asarray((x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5))


EXPECTED: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "sums": ("rows", lambda x: x.sum(-1)),
    "largest": ("rows", lambda x: x.max(-1)),
    "softmax": ("rows", _softmax),
    "layer_norm": ("rows", _layer_norm),
    "columns": ("columns", lambda x: x.sum(0)),
    "squares": ("elementwise", lambda x: x * x + 1),
}
"""By kernel, its schedule and what NumPy has for it."""


def computed(name: str, length: int) -> Any:
    """A kernel over float32[ROWS, length], as a function."""
    from tvm import te, tirx

    x = te.placeholder((ROWS, length), name="x")
    row, column = te.reduce_axis((0, length), name="k"), te.reduce_axis((0, ROWS), name="r")
    ones, zeros = (te.placeholder((length,), name=given) for given in ("ones", "zeros"))
    made = {
        "sums": lambda: te.compute((ROWS,), lambda i: te.sum(x[i, row], axis=row), name="sums"),
        "largest": lambda: te.compute((ROWS,), lambda i: te.max(x[i, row], axis=row), name="largest"),
        "softmax": lambda: kernels.softmax(x),
        "layer_norm": lambda: kernels.layer_norm(x, ones, zeros, 1e-5),
        "columns": lambda: te.compute((length,), lambda j: te.sum(x[column, j], axis=column), name="columns"),
        "squares": lambda: te.compute(x.shape, lambda *i: x(*i) * x(*i) + tirx.const(1.0, "float32"), name="squares"),
    }[name]()
    return te.create_prim_func([x, ones, zeros, made] if name == "layer_norm" else [x, made])


def compiled(machine: Machine, wanted: dict[str, tuple[str, int]]) -> Any:
    """One library; by its functions' names, kernels and lengths."""
    import tvm

    from edgekit.convert.tvm import pipeline
    from edgekit.convert.tvm.schedules import schedule_function

    functions = {}
    for symbol, (name, length) in wanted.items():
        function, what = schedule_function(symbol, computed(name, length), machine)
        assert what.schedule == EXPECTED[name][0], what
        functions[symbol] = function.with_attr("global_symbol", symbol)
    pipeline.register()
    with tvm.transform.PassContext(config=pipeline.OPTIONS):
        return tvm.tirx.build(tvm.IRModule(functions), machine.target(), pipeline.NAME)


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_every_length_is_equal_to_numpy(machine: Machine) -> None:
    import tvm

    wanted = {f"{name}_{length}": (name, length) for name in EXPECTED for length in LENGTHS}
    library = tvm.runtime.Executable(compiled(machine, wanted)).jit()
    random, wrong = np.random.default_rng(0), {}
    for symbol, (name, length) in wanted.items():
        x = random.standard_normal((ROWS, length)).astype("float32")
        expected = EXPECTED[name][1](x.astype("float64"))
        more = [np.ones(length, "float32"), np.zeros(length, "float32")] if name == "layer_norm" else []
        answer = tvm.runtime.tensor(np.full(expected.shape, np.nan, "float32"))
        library[symbol](*map(tvm.runtime.tensor, [x, *more]), answer)
        if not np.allclose(answer.numpy(), expected, rtol=1e-5, atol=2e-6):
            wrong[symbol] = float(np.abs(answer.numpy() - expected).max())
    assert not wrong


@pytest.mark.parametrize(
    ("name", "length", "scalars"),
    [("squares", 37, 2), ("columns", 21, 3 * ROWS), ("sums", 33, 20), ("layer_norm", 33, 60), ("softmax", 33, 80)],
)
def test_an_odd_length_is_computed_in_vectors(name: str, length: int, scalars: int) -> None:
    """In scalars are the last of an odd length, the sum over the lanes, and what is computed once a row."""
    code = compiled(MACHINES["avx2"], {"main": (name, length)}).inspect_source("asm")
    vectors = re.findall(r"v(?:add|sub|mul|max|min|fn?m\w+)ps\s.*%ymm", code)
    alone = re.findall(r"v(?:add|sub|mul|max|min|fn?m\w+)ss\s", code)
    assert len(vectors) >= length // 8 - 1, "the first is loaded"
    assert len(alone) <= scalars
