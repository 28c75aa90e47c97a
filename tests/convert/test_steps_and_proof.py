"""The steps that recipes share are believed only whole; a proof refuses what cannot be compared."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgekit.artifact import Bindings
from edgekit.convert import prove
from edgekit.convert.formats import Converted
from edgekit.convert.prepare import _labels
from edgekit.errors import ConversionError, ModelError, ParityError
from edgekit.model import Model
from edgekit.recipe import Recipe
from edgekit.specs import TensorSpec
from tests.convert.conftest import make

REFERENCE = np.random.default_rng(0).standard_normal((5, 1, 4)).astype("float32")


def parity(outputs: list[np.ndarray], min_snr_db: float = 20.0) -> Any:
    job = SimpleNamespace(model_name="m", recipe=Recipe("tflite", "int8"))
    facts = SimpleNamespace(outputs=(TensorSpec("y", (1, 4)),), held_out="5 samples")
    answers = SimpleNamespace(sizes=None, reference=[REFERENCE], outputs=outputs)
    return prove._parity(job, facts, answers, Converted(Bindings(("x",), ("y",))), min_snr_db)


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ([], "0 outputs, its source 1"),
        ([REFERENCE, REFERENCE], "2 outputs, its source 1"),
        ([REFERENCE[:, 0]], r"shape \(4,\), its source \(1, 4\)"),
        ([REFERENCE * np.nan], "NaN"),
        ([REFERENCE * 1.2], "14.0 dB over 5 held-out samples, where int8 must reach 20 dB"),
        ([np.zeros_like(REFERENCE)], "0.0 dB"),
    ],
)
def test_what_is_no_proof(outputs: list[np.ndarray], says: str) -> None:
    with pytest.raises(ParityError, match=says):
        parity(outputs)


def test_a_proof_is_kept_to_six_digits() -> None:
    (row,) = parity([REFERENCE * np.float32(1.01)])
    assert row.snr_db == pytest.approx(40.0, abs=0.01)
    assert row.snr_db == float(f"{row.snr_db:.6g}")


def test_layouts_are_permuted_there_and_back() -> None:
    """Four sizes that differ, and an order that is not its own inverse: else a wrong permutation would pass."""
    spec = TensorSpec("image", (1, 3, 4, 5), layout="NCHW")
    converted = Converted(Bindings(("image",), ("image",)), layouts={"image": "HWCN"})
    array = np.arange(2 * 60).reshape(2, 1, 3, 4, 5)
    moved = prove.to_payload(array, spec, converted)
    assert moved.shape == (2, 4, 5, 3, 1)
    assert moved[1, 3, 2, 1, 0] == array[1, 0, 1, 3, 2]
    assert np.array_equal(prove.from_payload(moved, spec, converted), array)
    found = {"scale": None, "zero_point": None, "dtype": "float32"}
    assert prove._stored(spec, found, converted) == TensorSpec("image", (4, 5, 3, 1), layout="HWCN")
    same = Converted(converted.bindings)
    assert prove.to_payload(array, spec, same) is array


@pytest.mark.parametrize("layout", [None, "NCW"])
def test_a_layout_that_the_model_does_not_declare(layout: str | None) -> None:
    converted = Converted(Bindings(("image",), ()), layouts={"image": "NHWC"})
    with pytest.raises(ConversionError, match="does not say what layout it has"):
        prove.to_payload(REFERENCE, TensorSpec("image", (1, 4), layout=layout), converted)


@pytest.mark.slow
def test_a_damaged_step_is_run_again(cache: Path, dense_folder: Path, tmp_path: Path) -> None:
    """Else one flipped bit under the cache would spoil every later recipe of that model."""
    make(dense_folder, "tflite:float32", out=tmp_path / "out")
    damaged = sorted((cache / "steps").glob("*/float32.tflite")) + sorted((cache / "steps").glob("*/reference-0.npy"))
    assert len(damaged) == 2
    for file in damaged:
        file.chmod(0o644)
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
    (outcome,) = make(dense_folder, "tflite:float16", out=tmp_path / "out")
    assert outcome.artifact is not None, outcome.error


@pytest.mark.slow
def test_whole_steps_are_shared(cache: Path, dense_folder: Path, tmp_path: Path) -> None:
    make(dense_folder, "tflite:float32", out=tmp_path / "out")
    stages: list[str] = []
    (outcome,) = make(dense_folder, "tflite:int8", out=tmp_path / "out", on_stage=lambda title, _: stages.append(title))
    assert outcome.artifact is not None, outcome.error
    assert set(stages) == {"tflite:int8"}, "neither the source nor the lowering ran again"


def test_labels_are_one_for_each_entry_of_the_last_axis() -> None:
    model = Model("m", "pytorch", object, (TensorSpec("x", (1,)),), labels={"output": ("cat", "dog")})
    assert _labels(model, [TensorSpec("output", (1, 2))]) == {"output": ("cat", "dog")}
    for shape, told in (((1, 3), r"float32\[1, 3\]"), ((), r"float32\[\]")):
        with pytest.raises(ModelError, match=f"2 labels for 'output', which is {told}"):
            _labels(model, [TensorSpec("output", shape)])
