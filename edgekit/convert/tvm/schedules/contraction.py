"""Sums of products: matrix products, batched products and convolutions.

The last two spatial axes are the rows and the columns of a tile that stays in registers, the columns in vectors. The
reduction runs around the tile: for each step a few vectors of weights and one scalar a row are loaded, and all
accumulators are updated. What follows (bias, activation, a residual) is computed on the tile before it is stored.

    for outer axes, row tiles:                  in parallel; or column tiles outside, row tiles inside
      for column tiles:
        accumulators = 0
        for the reduction:
          for rows, vectors:                    unrolled, vectorised
            accumulators += a[row] * w[columns]
        for rows, vectors:                      unrolled, vectorised
          result = epilogue(accumulators)

A number of rows or columns that the tile does not divide leaves a last tile with a condition, which `LoopPartition`
takes out of the others.

A reduction of integers whose weights lie in pairs (`kernels`) goes two steps at a time, and one vector of a row's
accumulators becomes one instruction (`integers`).
"""

from __future__ import annotations

from typing import Any

from edgekit.convert.tvm.kernels import PAIR, TILE
from edgekit.convert.tvm.schedules.blocks import SPATIAL, annotation, extent, inline_chain, kinds
from edgekit.convert.tvm.schedules.integers import pairs_of
from edgekit.convert.tvm.tiles import AS_USUAL, ROWS_OUTSIDE

FEW = 4
"""With fewer row tiles than this, threads share out the columns instead."""


def schedule_contraction(schedule: Any, block: Any) -> None:
    pair = int(annotation(schedule, block, PAIR) or 1)
    rows, vectors, lanes, order = (int(size) for size in annotation(schedule, block, TILE))
    epilogue = inline_chain(schedule, block)
    if epilogue is None:
        epilogue = schedule.cache_write(block, 0, "local")
    else:
        schedule.set_scope(block, 0, "local")
    loops = schedule.get_loops(block)
    spatial = [loop for loop, kind in zip(loops, kinds(schedule, block), strict=True) if kind == SPATIAL]
    reduction = loops[len(spatial) :]
    *outer, row, column = spatial
    shared = extent(schedule, row) >= FEW * rows or extent(schedule, column) <= vectors * lanes
    shared = shared if order == AS_USUAL else order == ROWS_OUTSIDE
    row_tile, row = schedule.split(row, [None, rows])
    column_tile, vector, lane = schedule.split(column, [None, vectors, lanes])
    first, second = (row_tile, column_tile) if shared else (column_tile, row_tile)
    inner = [row, vector, lane]
    if pair > 1:
        *others, last = reduction
        step, both = schedule.split(last, [None, pair])
        reduction = [*others, step]
        inner.append(both)
    schedule.reorder(*outer, first, second, *reduction, *inner)
    schedule.reverse_compute_at(epilogue, second)
    parallel = schedule.fuse(*outer) if len(outer) > 1 else (outer[0] if outer else first)
    schedule.parallel(parallel if extent(schedule, parallel) > 1 or not outer else first)
    schedule.unroll(row)
    schedule.unroll(vector)
    if pair == 1:
        schedule.vectorize(lane)
    *_, epilogue_row, epilogue_column = schedule.get_loops(epilogue)
    split = schedule.split(epilogue_column, [None, lanes])
    _tile_loops(schedule, epilogue_row, *split)
    initial = schedule.decompose_reduction(block, reduction[0])
    _tile_loops(schedule, *schedule.get_loops(initial)[-3:])
    if pair > 1:
        schedule.tensorize(lane, pairs_of(lanes))


def _tile_loops(schedule: Any, row: Any, vector: Any, lane: Any) -> None:
    schedule.unroll(row)
    schedule.unroll(vector)
    schedule.vectorize(lane)
