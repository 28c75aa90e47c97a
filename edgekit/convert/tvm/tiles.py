"""How large a tile of a matrix product should be.

A tile of `rows` × `vectors` accumulators stays in registers while the reduction runs. Each step of it loads `vectors`
vectors of weights and `rows` broadcast scalars, and does `rows * vectors` fused multiply-adds. The constants are
cycles, fitted to a sweep over all tiles on an AVX-512 processor with two FMA units (docs/tvm.md): half a cycle an
FMA; .57 a load; 3 for 64 bytes of weights, which come from the L2 cache; and 4.5 at least, since an accumulator waits
4 cycles for its last FMA. A tail of rows or columns costs code: a tile without one is preferred where the two are
within 2 %. The model does not see caches; `tuning` measures the tiles that it puts first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.convert.tvm.machine import Machine

FMA, OVERHEAD, LOAD, WEIGHT_STREAM, LATENCY = 0.5, 0.5, 0.57, 0.19, 4.5
TAIL = 1.02
MOST_VECTORS = 8
AS_USUAL, ROWS_OUTSIDE, COLUMNS_OUTSIDE = 0, 1, 2
"""Orders of a product's tiles: as its schedule decides by their number; the outer loop over rows; over columns."""


@dataclass(frozen=True)
class Tile:
    """Accumulators of one tile: rows × vectors of `lanes` floats; and the order in which tiles are computed."""

    rows: int
    vectors: int
    lanes: int
    order: int = AS_USUAL

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """As a kernel's annotation has it."""
        return self.rows, self.vectors, self.lanes, self.order


@dataclass(frozen=True)
class Product:
    """A matrix product with constant weights: `(rows, depth) × (depth, columns)`, these stored in a dtype."""

    rows: int
    depth: int
    columns: int
    stored: str

    def __str__(self) -> str:
        return f"{self.rows}x{self.depth}x{self.columns} {self.stored}"


def cycles(rows: int, vectors: int, lanes: int) -> float:
    """Estimated cycles of one reduction step of a tile."""
    return max(
        FMA * rows * vectors + OVERHEAD,
        LOAD * (rows + vectors),
        WEIGHT_STREAM * vectors * lanes,
        LATENCY,
    )


def choose(rows: int, columns: int, machine: Machine, panel: int | None = None, *, whole: bool = False) -> Tile:
    """The tile with the fewest estimated cycles for a product with so many rows and columns, tails included.

    A product narrower than a vector gets vectors of its own width. With `panel`, the weights are packed already, that
    many columns together, and only tiles that divide a panel are considered; with `whole`, only those that divide the
    rows.
    """
    return candidates(rows, columns, machine, panel, whole=whole)[0]


def candidates(
    rows: int, columns: int, machine: Machine, panel: int | None = None, *, whole: bool = False
) -> list[Tile]:
    """Every tile that fits the registers, the one with the fewest estimated cycles first; arguments as of `choose`."""
    lanes = min(machine.lanes, columns)
    across = -(-columns // lanes)
    found: list[tuple[float, int, int]] = []
    for vectors in range(1, min(across, MOST_VECTORS) + 1):
        if panel is not None and panel % (vectors * lanes):
            continue
        for height in range(1, rows + 1):
            if height * vectors + vectors + 1 > machine.registers:
                break
            if whole and rows % height:
                continue
            total = 0.0
            for tile_rows, times in ((height, rows // height), (rows % height, 1)):
                if tile_rows:
                    total += times * (across // vectors) * cycles(tile_rows, vectors, lanes)
                    total += times * cycles(tile_rows, across % vectors, lanes) if across % vectors else 0.0
            total *= (TAIL if rows % height else 1.0) * (TAIL if across % vectors else 1.0)
            found.append((total, -vectors, height))
    assert found, "one accumulator fits any machine, and panels are whole vectors"
    return [Tile(height, -vectors, lanes) for _, vectors, height in sorted(found)]
