"""Sizes that vary in TensorFlow's models: Keras leaves an axis open, --shape bounds it, TFLite and Core ML keep it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.convert import convert, find_model
from edgekit.dimensions import Axis, Range
from edgekit.errors import RefusedError
from edgekit.recipe import parse_recipe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token ids and weights of any length to a tag for each token: two inputs that must have one size."""
    import subprocess
    import sys

    path = tmp_path_factory.mktemp("keras") / "tagger.keras"
    code = f"""
import keras
keras.utils.set_random_seed(0)
ids = keras.Input((None,), batch_size=1, dtype="int32", name="ids")
weights = keras.Input((None, 1), batch_size=1, name="weights")
x = keras.layers.Embedding(30, 8)(ids) * weights
x = keras.layers.Conv1D(8, 3, padding="same", activation="relu")(x)
keras.Model([ids, weights], keras.layers.Dense(4, name="tags")(x)).save({str(path)!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"KERAS_BACKEND": "tensorflow", "PATH": ""})
    return path


def test_tflite_and_coreml_keep_the_size_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Path) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "data.npz",
        ids=rng.integers(0, 30, (20, 6)).astype("int32"),
        weights=rng.random((20, 6, 1)).astype("float32"),
    )
    length = Range(2, 9, 6, "length")
    ref = find_model(
        str(network), calibration=tmp_path / "data.npz", shapes={"ids": (1, length), "weights": (1, length, 1)}
    )
    recipes = ("tflite:float32", "tflite:int8", "coreml:float32", "executorch:float32")
    *made, refused = convert(ref, [parse_recipe(text) for text in recipes], out=tmp_path / "out")
    for outcome in made:
        assert outcome.artifact is not None, outcome.error
        manifest = outcome.artifact.manifest
        assert [spec.varies for spec in manifest.inputs] == [(Axis(1, "length", 2, 9),)] * 2
        assert manifest.outputs[0].varies == (Axis(1, "length", 2, 9),)
        assert [size.sizes["length"] for size in manifest.parity.sizes] == [2, 9, 5]
        assert manifest.parity.worst_snr_db is None or manifest.parity.worst_snr_db > 15
    assert isinstance(refused.error, RefusedError)
    assert "the route from keras models to executorch (torch-export) fixes every size" in refused.error.what
    assert "tflite" in refused.error.remedy
