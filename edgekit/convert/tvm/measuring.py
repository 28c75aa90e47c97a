"""Measures tiles of matrix products: `python -m edgekit.convert.tvm.measuring MACHINE`, a process that may be killed.

MACHINE is a JSON object of `Machine`'s fields. A line of standard input is a product and the tiles to try, the usual
one first; each tile but the usual is answered by a line on standard output: how long it took, as a share of what the
usual one took in turn with it on the same data.

    {"rows": 49, "depth": 960, "columns": 160, "stored": "float32", "tiles": [[13, 2, 16, 0], [7, 3, 16, 1]]}
    {"tile": [7, 3, 16, 1], "ratio": 0.85}

A tile whose answers are not the usual one's has the ratio null. One thread: how many a device will have is not known.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.convert.imports import not_installed
from edgekit.convert.tvm import kernels, pipeline
from edgekit.convert.tvm.machine import Machine
from edgekit.convert.tvm.schedules import DEFAULT, schedule_function
from edgekit.convert.tvm.tiles import Tile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROUNDS, REPEATS = 8, 12
REPEAT_S = 0.0001
"""The two take turns; in each turn so many stretches of this length are timed, and the fastest of all counts: other
programs interrupt many of them, but hardly all."""
GAIN = 0.97
"""Another tile is better if it needs less than this share of the usual one's time, twice: less could be noise."""
_SEED = 0


class _Product:
    """One product with one tile, compiled, with data to run on."""

    def __init__(self, asked: Mapping[str, Any], tile: Tile, machine: Machine) -> None:
        import tvm
        from tvm import te

        rows, depth, columns, stored = (asked[name] for name in ("rows", "depth", "columns", "stored"))
        random = np.random.default_rng(_SEED)
        a = random.standard_normal((rows, depth)).astype("float32")
        weight = random.integers(-127, 128, (depth, columns)).astype(stored)
        packed = kernels.pack(weight, tile.columns)
        given, panels = te.placeholder(a.shape, name="a"), te.placeholder(packed.shape, stored, name="w")
        function = te.create_prim_func([given, panels, kernels.product(given, panels, columns, tile.sizes)])
        function, what = schedule_function("main", function, machine)
        if what.schedule == DEFAULT:
            raise ValueError(what.because)
        module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
        with tvm.transform.PassContext(opt_level=3, config=pipeline.OPTIONS):
            self._code = tvm.tirx.build(module, machine.target(), pipeline.NAME)
        self._arguments = [tvm.runtime.tensor(x) for x in (a, packed, np.zeros((rows, columns), "float32"))]
        self._code["main"](*self._arguments)
        self._number = 1
        self._number = max(1, int(REPEAT_S / max(self.seconds(), 1e-8)))

    def answers(self) -> np.ndarray:
        """What it computes."""
        found: np.ndarray = self._arguments[-1].numpy()
        return found

    def seconds(self) -> float:
        """The fastest of one turn."""
        import tvm

        evaluator = self._code.time_evaluator("main", tvm.cpu(), number=self._number, repeat=REPEATS)
        return float(min(evaluator(*self._arguments).results))


def _ratio(base: _Product, other: _Product) -> float:
    turns = [(base.seconds(), other.seconds()) for _ in range(ROUNDS)]
    return min(mine for _, mine in turns) / min(usual for usual, _ in turns)


def measured(asked: Mapping[str, Any], machine: Machine) -> Iterator[dict[str, Any]]:
    """The answers to one line."""
    usual, *others = (Tile(*sizes) for sizes in asked["tiles"])
    base = _Product(asked, usual, machine)
    for tile in others:
        ratio = None
        try:
            other = _Product(asked, tile, machine)
        except Exception as error:  # TVM raises what it likes where a tile cannot be had; others can
            sys.stderr.write(f"{tile}: {error}\n")
        else:
            if np.allclose(base.answers(), other.answers(), rtol=1e-3, atol=1e-2 * float(np.abs(base.answers()).max())):
                ratio = _ratio(base, other)
                ratio = max(ratio, _ratio(base, other)) if ratio < GAIN else ratio
        yield {"tile": list(tile.sizes), "ratio": ratio}


def main() -> None:
    os.environ["TVM_NUM_THREADS"] = "1"
    machine = Machine(**json.loads(sys.argv[1]))
    with not_installed(["torch"]):  # which takes longer than the first product
        import tvm  # noqa: F401 - likewise
    pipeline.register()
    for line in sys.stdin:
        for answer in measured(json.loads(line), machine):
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
