"""Compressed weights and quantized activations.

`constexpr_*` operators are expanded by coremltools as well (`materialized_val_inference`): an independent opinion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - as coremltools calls it
from coremltools.converters.mil.mil import types

from tests.convert.mil.programs import evaluate, floats, program, same

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
UINT1 = types.np_uint1_dtype
UINT4 = types.np_uint4_dtype
INT4 = types.np_int4_dtype
MASK = (RNG.random((4, 6)) > 0.5).astype(UINT1)
COUNT = int(MASK.astype(np.int64).sum())


def packed(values: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of `bits` each, least significant bit first, into bytes."""
    stream = ((values.reshape(-1, 1) >> np.arange(bits)) & 1).astype(np.uint8)
    return np.packbits(stream.reshape(-1), bitorder="little")


WEIGHTS: list[tuple[str, str, Callable[[], Any]]] = [
    ("affine, per channel", "iOS16", lambda: mb.constexpr_affine_dequantize(
        quantized_data=RNG.integers(-128, 128, (4, 6)).astype(np.int8), zero_point=np.array([1, -2, 3, 0], np.int8),
        scale=np.array([0.1, 0.2, 0.05, 1], np.float32), axis=0)),
    ("affine, per tensor", "iOS16", lambda: mb.constexpr_affine_dequantize(
        quantized_data=RNG.integers(0, 256, (4, 6)).astype(np.uint8), zero_point=np.uint8(128), scale=np.float32(0.1),
        axis=1)),
    ("cast", "iOS16", lambda: mb.constexpr_cast(source_val=floats(4, 6).astype(np.float16), output_dtype="fp32")),
    *[(f"palette of {bits} bits", "iOS16", lambda bits=bits: mb.constexpr_lut_to_dense(
        indices=packed(RNG.integers(0, 1 << bits, 24), bits), lut=floats(1 << bits),
        shape=np.array([4, 6], np.uint32))) for bits in (1, 2, 4, 6, 8)],
    ("sparse", "iOS16", lambda: mb.constexpr_sparse_to_dense(
        nonzero_data=floats(5), mask=packed(np.array([1, 0, 1, 0, 1, 0, 1, 0, 1, 0]), 1),
        shape=np.array([2, 5], np.uint32))),
    ("blocks of int8", "iOS18", lambda: mb.constexpr_blockwise_shift_scale(
        data=RNG.integers(-128, 128, (4, 6)).astype(np.int8), scale=floats(4, 2),
        offset=RNG.integers(-9, 9, (4, 2)).astype(np.int8))),
    ("blocks of int4", "iOS18", lambda: mb.constexpr_blockwise_shift_scale(
        data=RNG.integers(-8, 8, (4, 6)).astype(INT4), scale=floats(2, 3))),
    ("palettes by group", "iOS18", lambda: mb.constexpr_lut_to_dense(
        indices=RNG.integers(0, 16, (4, 6)).astype(UINT4), lut=floats(2, 1, 16, 1))),
    *[(f"palette of vectors along {axis}", "iOS18", lambda axis=axis: mb.constexpr_lut_to_dense(
        indices=RNG.integers(0, 16, (4, 6)).astype(UINT4), lut=floats(1, 1, 16, 3), vector_axis=axis))
      for axis in (0, 1)],
    ("sparse, mask of bits", "iOS18", lambda: mb.constexpr_sparse_to_dense(nonzero_data=floats(COUNT), mask=MASK)),
]  # fmt: skip


@pytest.mark.parametrize(("opset", "build"), [case[1:] for case in WEIGHTS], ids=[case[0] for case in WEIGHTS])
def test_weights(opset: str, build: Callable[[], Any]) -> None:
    made = []

    def weight_plus_zero(x: Any) -> Any:
        made.append(build())
        return mb.add(x=made[0], y=x)

    (found,) = evaluate(weight_plus_zero, np.zeros(1, np.float32), opset=opset)
    same(made[0].op.materialized_val_inference(), found)


def test_sparse_blocks() -> None:
    made = []

    def build(x: Any) -> Any:
        mask, values = mb.constexpr_sparse_blockwise_shift_scale(
            data_mask=MASK, nonzero_data=RNG.integers(-128, 128, COUNT).astype(np.int8), scale=floats(4, 1)
        )
        made.append(mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask))
        return mb.add(x=made[0], y=x)

    (found,) = evaluate(build, np.zeros(1, np.float32), opset="iOS18")
    same(made[0].op.materialized_val_inference(), found)


@pytest.mark.parametrize(("vector", "axis"), [(1, None), (2, 0)])
def test_sparse_palettes(vector: int, axis: int | None) -> None:
    made = []

    def build(x: Any) -> Any:
        more = {} if axis is None else {"vector_axis": axis}
        mask, values = mb.constexpr_lut_to_sparse(
            indices_mask=MASK, indices_nonzero_data=RNG.integers(0, 16, COUNT).astype(UINT4),
            lut=floats(1, 1, 16, vector), **more,
        )  # fmt: skip
        made.append(mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask))
        return mb.add(x=made[0], y=x)

    (found,) = evaluate(build, np.zeros(1, np.float32), opset="iOS18")
    same(made[0].op.materialized_val_inference(), found)


def test_weights_in_float16_are_rounded_as_they_are_expanded() -> None:
    data, scale = np.array([[127, -3, 5]], np.int8), np.array([0.0123], np.float16)

    def build(x: Any) -> Any:
        weight = mb.constexpr_affine_dequantize(quantized_data=data, zero_point=np.int8(0), scale=scale, axis=0)
        return mb.add(x=weight, y=x)

    (found,) = evaluate(build, np.zeros((1, 3), np.float16))
    np.testing.assert_array_equal(found, (data.astype(np.float32) * scale[0].astype(np.float32)).astype(np.float16))


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("dtype", "low", "high"), [("int8", -128, 127), ("uint8", 0, 255)])
def test_quantize_and_dequantize(dtype: str, low: int, high: int, per_channel: bool) -> None:
    x = floats(2, 3, 4) * 40
    scale = np.array([0.1, 0.5, 2.0], np.float32) if per_channel else np.float32(0.2)
    zero = np.array([3, 100, 7], dtype) if per_channel else np.array(9, dtype)[()]
    more: dict[str, Any] = {"axis": 1} if per_channel else {}
    stored, back = evaluate(
        lambda x: (
            q := mb.quantize(input=x, scale=scale, zero_point=zero, output_dtype=dtype, **more),
            mb.dequantize(input=q, scale=scale, zero_point=zero, **more),
        ),
        x,
        opset="iOS17",
    )
    wide = (lambda a: np.asarray(a, np.float32).reshape(3, 1)) if per_channel else np.float32
    expected = np.clip(np.rint(x / wide(scale)) + wide(zero), low, high)
    np.testing.assert_array_equal(stored, expected)
    assert stored.dtype == np.dtype(dtype)
    assert stored.min() == low
    assert stored.max() == high
    same((expected - wide(zero)) * wide(scale), back)


def test_quantize_rounds_halves_to_the_even() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5], np.float32)
    (found,) = evaluate(lambda x: mb.quantize(input=x, scale=1.0, output_dtype="int8"), x, opset="iOS17")
    np.testing.assert_array_equal(found, [0, 2, 2, 0, -2])


def test_the_expanded_constant_alone_is_kept() -> None:
    """Indices and scales are dropped once the weight is expanded."""
    from edgekit.convert.mil import Evaluator

    made = program(lambda x: mb.add(x=WEIGHTS[0][2](), y=x), np.zeros(1, np.float32))
    (step,) = Evaluator(made)._plan.steps
    assert step.kind == "add"
    assert step.arguments["x"].shape == (4, 6)
