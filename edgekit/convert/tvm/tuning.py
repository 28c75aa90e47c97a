"""Tuning: the tiles of matrix products measured instead of estimated, within a bound, and remembered.

`tiles` orders the tiles of a product by a model of registers and loads that knows nothing of caches. Tuning measures
the first few of that order, and both orders of the loops around them, one at a time, in a process of its own
(`measuring`), which is killed when the time is over. The products of a model are taken by their share of its
operations, so that little time goes where it helps most.

What is found is kept, in one file in EdgeKit's cache, by the product, the code's target, the version of TVM, and the
processor that measured. A later conversion that may tune takes from it what is there; one that may not never looks, so
that an artifact depends on nothing but its recipe. Meta-schedule, TVM's own tuner, searches far more and took far
longer than its bound here (docs/tvm.md).
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.convert.tvm.graph import Rewriter, constant_value, dtype_of, op_name, shape_of
from edgekit.convert.tvm.measuring import GAIN
from edgekit.convert.tvm.tiles import COLUMNS_OUTSIDE, ROWS_OUTSIDE, Product, Tile, candidates, choose
from edgekit.errors import ConversionError
from edgekit.files import cache_folder, write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgekit.convert.tvm.machine import Machine

SCHEMA = 1
MOST_TILES = 4
"""Of the cost model's order; each with both orders of its loops."""
PATIENCE_S = 10.0
"""For a process that was killed to end."""


@dataclass(frozen=True)
class Tuned:
    """What tuning found.

    Args:
        tiles: by product, where another tile than the usual one is faster.
        products: how many the model has.
        known: of how many of them the database had all.
        measured: of how many all tiles were measured now.
    """

    tiles: Mapping[Product, Tile]
    products: int
    known: int
    measured: int

    @property
    def note(self) -> str:
        """A sentence for the artifact."""
        left = self.products - self.known - self.measured
        return (
            f"Tuned on {processor()}: of {self.products} matrix products {len(self.tiles)} have another tile than "
            f"estimated; {self.measured} were measured now, {self.known} before, {left} not for want of time."
        )


def products_of(module: Any, stored: str, smallest: int) -> Counter[Product]:
    """The products of a `plain` module, and how often each occurs.

    Weights are stored in the dtype `stored`, those of fewer values than `smallest` in float32.
    """
    found: Counter[Product] = Counter()

    def note(_: Rewriter, call: Any) -> Any:
        if op_name(call) == "matmul" and (weight := constant_value(call.args[1])) is not None and weight.ndim == 2:
            left = shape_of(call.args[0])
            if left is not None and len(left) == 2 and dtype_of(call) == "float32":
                dtype = stored if weight.size >= smallest else "float32"
                depth, columns = weight.shape
                found[Product(left[0], depth, columns, dtype)] += 1

    Rewriter(note).run(module)
    return found


def tiles_to_try(product: Product, machine: Machine) -> list[Tile]:
    """The usual tile, and the others that are measured against it."""
    first = candidates(product.rows, product.columns, machine)[:MOST_TILES]
    orders = (ROWS_OUTSIDE, COLUMNS_OUTSIDE)
    return [choose(product.rows, product.columns, machine), *(replace(t, order=o) for t in first for o in orders)]


def tune(
    products: Counter[Product], machine: Machine, minutes: float, database: Database, progress: Callable[[str], None]
) -> Tuned:
    """Measures what the database does not know, for so many minutes at most; with 0, takes what it knows."""
    wanted = sorted(products, key=lambda p: -products[p] * p.rows * p.depth * p.columns)
    missing = [product for product in wanted if not database.knows(product)]
    known, measured = len(wanted) - len(missing), 0
    if missing and minutes > 0:
        for product, answers, whole in _answers(missing, machine, minutes * 60, progress):
            best = min(answers, key=lambda answer: answer[1], default=None)
            database.note(product, best[0] if best is not None and best[1] < GAIN else None, best and best[1], whole)
            measured += whole
        database.save()
    tiles = {product: tile for product in wanted if (tile := database.tile(product)) is not None}
    return Tuned(tiles, len(wanted), known, measured)


def _answers(products: Sequence[Product], machine: Machine, seconds: float, progress: Callable[[str], None]) -> Any:
    """Product by product: (it, [(tile, ratio to the usual one's time)], whether every tile was measured)."""
    arguments = [sys.executable, "-m", "edgekit.convert.tvm.measuring", json.dumps(asdict(machine))]
    child = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    killer = threading.Timer(seconds, child.kill)
    killer.start()
    end = time.monotonic() + seconds
    try:
        for i, product in enumerate(products):
            tiles = tiles_to_try(product, machine)
            progress(f"tuning, product {i + 1} of {len(products)}, {max(0.0, end - time.monotonic()):.0f} s left")
            with suppress(BrokenPipeError):
                child.stdin.write(json.dumps({**asdict(product), "tiles": [tile.sizes for tile in tiles]}) + "\n")
                child.stdin.flush()
            lines = [line for _ in tiles[1:] if (line := child.stdout.readline()).endswith("\n")]
            told = [json.loads(line) for line in lines]
            yield product, [(Tile(*t["tile"]), t["ratio"]) for t in told if t["ratio"]], len(told) == len(tiles) - 1
            if len(told) < len(tiles) - 1:
                _ended_in_time(child, end)
                break
    finally:
        killer.cancel()
        child.kill()
        child.wait()
        child.stdout.close()
        with suppress(BrokenPipeError):
            child.stdin.close()


def _ended_in_time(child: subprocess.Popen[str], end: float) -> None:
    """A process that stopped answering must be one that was killed for want of time; what it told counts.

    Raises:
        ConversionError: it went down by itself.
    """
    status = child.wait(PATIENCE_S)
    if time.monotonic() < end:
        raise ConversionError(
            f"What measures tiles ended with status {status}.",
            remedy="Look at the log; without the option tune_minutes nothing is measured.",
        )


class Database:
    """What was measured, for one machine. A damaged file is as good as none: it is measured again.

    The file: `{"schema": 1, "machines": {MACHINE: {PRODUCT: {"tile": sizes or null, "ratio", "whole"}}}}`.
    """

    def __init__(self, machine: Machine, path: Path | None = None) -> None:
        import tvm

        self._path = path or cache_folder() / "tvm-tiles.json"
        self._machine = f"{machine.triple} {machine.cpu}, tvm {tvm.__version__}, {processor()}"
        self._records = self._read().get(self._machine, {})

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self._path.read_text())
            return dict(found["machines"]) if found["schema"] == SCHEMA else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def knows(self, product: Product) -> bool:
        """Whether every tile of the product was measured."""
        return bool(self._records.get(str(product), {}).get("whole"))

    def tile(self, product: Product) -> Tile | None:
        """The best tile that was measured; None where that is the usual one, or nothing was."""
        sizes = self._records.get(str(product), {}).get("tile")
        return Tile(*sizes) if sizes else None

    def note(self, product: Product, tile: Tile | None, ratio: float | None, whole: bool) -> None:
        """Notes what was found of a product, if it was all, or better than nothing."""
        if whole or tile is not None:
            sizes = list(tile.sizes) if tile is not None else None
            rounded = None if ratio is None else round(ratio, 3)
            self._records[str(product)] = {"tile": sizes, "ratio": rounded, "whole": whole}

    def save(self) -> None:
        """Writes the file, with what others noted meanwhile."""
        machines = self._read()
        machines[self._machine] = {**machines.get(self._machine, {}), **self._records}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_file(self._path, json.dumps({"schema": SCHEMA, "machines": machines}, indent=1).encode())


def processor() -> str:
    """This machine's processor, in the system's words."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
