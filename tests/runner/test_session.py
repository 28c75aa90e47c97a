"""Samples in, samples out, quantized where the payload is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.runner import session

FLOAT = {"name": "x", "shape": [1, 2], "dtype": "float32", "scale": None, "zero_point": None}
INT8 = {"name": "x", "shape": [1, 2], "dtype": "int8", "scale": 0.5, "zero_point": -3}


@given(st.integers(-128, 127))
def test_what_is_stored_is_what_is_read(stored: int) -> None:
    real = session.to_real(np.array([stored], "int8"), INT8)
    assert real.dtype == np.float32
    assert real[0] == 0.5 * (stored + 3)
    assert session._to_stored(real, INT8)[0] == stored


def test_values_beyond_the_range_saturate() -> None:
    stored = session._to_stored(np.array([1e9, -1e9, 0.24, 0.26], "float32"), INT8)
    assert stored.tolist() == [127, -128, -3, -2]
    assert stored.dtype == np.int8


def test_stored_data_are_passed_on_as_they_are() -> None:
    given_ = np.array([1, 2], "int8")
    assert session._to_stored(given_, INT8).tolist() == [1, 2]
    assert session._to_stored(np.array([1.5]), FLOAT).dtype == np.float32


class TwoOutputs:
    """Answers (x + y, x - y), and reuses its buffers as interpreters do."""

    inputs = [FLOAT, FLOAT]  # noqa: RUF012 - nobody changes them
    outputs = [FLOAT, FLOAT]  # noqa: RUF012 - nobody changes them

    def __init__(self) -> None:
        self.values = [np.zeros((1, 2), "float32")] * 2
        self.buffers = [np.zeros((1, 2), "float32"), np.zeros((1, 2), "float32")]

    def set_input(self, i: int, array: np.ndarray) -> None:
        self.values = [*self.values[:i], array, *self.values[i + 1 :]]

    def invoke(self) -> None:
        x, y = self.values
        self.buffers[0][:], self.buffers[1][:] = x + y, x - y

    def get_output(self, i: int) -> np.ndarray:
        return self.buffers[i]


def test_every_sample_keeps_its_own_answer() -> None:
    x = np.arange(6, dtype="float32").reshape(3, 1, 2)
    ticks: list[int] = []
    total, difference = session.run_samples(TwoOutputs(), [x, 2 * x], tick=lambda: ticks.append(1))
    np.testing.assert_array_equal(total, 3 * x)
    np.testing.assert_array_equal(difference, -x)
    assert len(ticks) == 3
    assert total.shape == (3, 1, 2)


@pytest.mark.slow
def test_a_real_payload_in_float_and_in_int8(tmp_path: Path) -> None:
    """The same tensors through LiteRT: see tests/convert for how well the answers agree."""
    from edgekit.convert import convert, find_model
    from edgekit.recipe import parse_recipe
    from edgekit.runner.compare import compare
    from edgekit.runner.runtimes import litert
    from tests.convert.conftest import REPOSITORY

    ref = find_model(str(REPOSITORY / "models" / "digits_cnn"))
    recipes = [parse_recipe("tflite:float32"), parse_recipe("tflite:int8")]
    for outcome in convert(ref, recipes, out=tmp_path):
        assert outcome.artifact is not None, outcome.error
        manifest, folder = outcome.artifact.manifest, outcome.artifact.path
        bindings = {"inputs": manifest.bindings.inputs, "outputs": manifest.bindings.outputs}
        opened = litert.load(str(folder / manifest.payload), 1, bindings)
        assert opened.inputs[0]["shape"] == [1, 1, 8, 8]
        assert opened.inputs[0]["dtype"] == manifest.inputs[0].dtype
        (answer,) = session.run_samples(opened, [np.load(folder / manifest.golden.inputs[0])])
        assert answer.dtype == np.float32
        assert compare(np.load(folder / manifest.golden.outputs[0]), answer)["exact"], "the same machine, the same bits"
        source = np.load(folder / manifest.golden.source_outputs[0])
        assert compare(source, answer)["snr_db"] > (100 if outcome.recipe.precision == "float32" else 30)
