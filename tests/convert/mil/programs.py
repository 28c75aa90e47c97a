"""Small MIL programs, built with coremltools' Builder and run in the evaluator."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.convert.mil import Evaluator, Program

if TYPE_CHECKING:
    from collections.abc import Callable

SNR_DB = 90.0


def program(build: Callable[..., Any], *arrays: np.ndarray, opset: str = "iOS16") -> Program:
    """A program whose inputs are like `arrays`; `build` gets coremltools' variables and returns one or several."""
    import coremltools
    from coremltools.converters.mil.mil import Builder, Function, types

    placeholders = {
        f"x{i}": Builder.placeholder(shape=array.shape, dtype=types.numpy_type_to_builtin_type(array.dtype))
        for i, array in enumerate(arrays)
    }
    with Function(placeholders, opset_version=coremltools.target[opset]) as function:
        results = build(*function.inputs.values())
        function.set_outputs(list(results) if isinstance(results, (tuple, list)) else [results])
    return Program(function, Counter(), (), (), 0)


def evaluate(build: Callable[..., Any], *arrays: np.ndarray, opset: str = "iOS16") -> list[np.ndarray]:
    """The outputs in their order; each must have the shape that MIL infers for it."""
    made = program(build, *arrays, opset=opset)
    found = Evaluator(made)({f"x{i}": array for i, array in enumerate(arrays)})
    outputs = []
    for variable in made.function.outputs:
        array = found[variable.name]
        declared = tuple(variable.shape)
        if all(isinstance(size, (int, np.integer)) and size >= 0 for size in declared):
            assert array.shape == declared
        outputs.append(array)
    return outputs


def snr_db(expected: np.ndarray, found: np.ndarray) -> float:
    noise = np.sum((found.astype(np.float64) - expected) ** 2)
    return float("inf") if noise == 0 else float(10 * np.log10(np.sum(np.square(expected, dtype=np.float64)) / noise))


def same(expected: Any, found: np.ndarray) -> None:
    """Floats to more than 90 dB, anything else exactly."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    if found.dtype.kind == "f":
        assert np.array_equal(np.isfinite(found), np.isfinite(expected))
        finite = np.isfinite(expected)
        assert snr_db(expected[finite], found[finite]) > SNR_DB
    else:
        np.testing.assert_array_equal(found, expected)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def whole(*shape: int, low: int = -9, high: int = 9, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.int32)
