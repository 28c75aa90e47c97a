"""Tiles fit their machine's registers, and are the shapes that the sweep in docs/tvm.md found good."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.convert.tvm.lowering import _Tiling
from edgekit.convert.tvm.machine import Machine
from edgekit.convert.tvm.tiles import choose

AVX2 = Machine("x86_64-linux-gnu", "x86-64-v3", 8, 16)
AVX512 = Machine("x86_64-linux-gnu", "x86-64-v4", 16, 32)
NEON = Machine("aarch64-linux-gnu", "generic", 4, 32)

sizes = st.integers(1, 2000)


@given(sizes, sizes, st.sampled_from([AVX2, AVX512, NEON]))
def test_a_tile_fits(rows: int, columns: int, machine: Machine) -> None:
    tile = choose(rows, columns, machine)
    assert tile.rows * tile.vectors + tile.vectors + 1 <= machine.registers
    assert 1 <= tile.rows <= rows
    assert tile.lanes <= machine.lanes
    assert (tile.vectors - 1) * tile.lanes < columns


@given(sizes, sizes)
def test_a_tile_over_panels_of_another_machine_divides_them(rows: int, columns: int) -> None:
    wide, panel = _Tiling(AVX512, AVX512)(rows, columns)
    tile, same = _Tiling(AVX2, AVX512)(rows, columns)
    assert panel == same, "the weights are stored once"
    assert panel >= wide.columns
    assert panel % tile.columns == 0
    assert tile.rows * tile.vectors + tile.vectors + 1 <= AVX2.registers
    assert tile.lanes <= AVX2.lanes


@given(sizes, sizes, st.sampled_from([AVX2, AVX512, NEON]))
def test_a_whole_tile_leaves_no_rows_over(rows: int, columns: int, machine: Machine) -> None:
    assert rows % choose(rows, columns, machine, whole=True).rows == 0


@pytest.mark.parametrize(
    ("rows", "columns", "machine", "accumulators"), [(1200, 64, AVX2, 12), (196, 64, AVX512, 24), (128, 192, NEON, 20)]
)
def test_a_large_product_uses_the_registers(rows: int, columns: int, machine: Machine, accumulators: int) -> None:
    tile = choose(rows, columns, machine)
    assert tile.rows * tile.vectors >= accumulators


def test_a_tail_is_avoided_where_that_is_free() -> None:
    assert 12544 % choose(12544, 16, AVX512).rows == 0
    assert 96 % choose(784, 96, AVX512).columns == 0
