"""The drift reference that `convert` writes: one for all artifacts of a model, or none and the reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.artifact import check_files
from edgekit.convert.watching import write_drift_reference
from edgekit.errors import ModelError
from edgekit.model import Model, Watch
from edgekit.specs import TensorSpec
from edgekit.telemetry.reporter.reference import Reference
from tests.convert.conftest import make

if TYPE_CHECKING:
    from collections.abc import Callable

OUTPUTS = (TensorSpec("output", (1, 2)),)


@pytest.mark.slow
def test_all_artifacts_of_a_model_share_one_reference_of_its_calibration_data(
    cache: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    made = make(tiny(), "torchscript:float32", "torchscript:float16", out=tmp_path / "a")
    artifacts = [outcome.artifact for outcome in made if outcome.artifact]
    assert len(artifacts) == 2
    for artifact in artifacts:
        check_files(artifact)
        told = artifact.manifest.reference
        assert (told.file, told.samples, told.because) == ("reference.json", 20, None)
        assert "reference.json" in [file.path for file in artifact.shipped_files()]
        reference = Reference.load(artifact.path / "reference.json")
        assert reference.id == told.id == artifacts[0].manifest.reference.id
    assert reference.model == "tiny"
    assert [f.name for f in reference.features][:3] == ["x.0", "x.1", "x.2"]
    assert {f.name for f in reference.features if f.role == "output"} >= {"output.class", "output.confidence"}
    assert all(f.n == 20 for f in reference.features)


def _written(folder: Path, *, n: int | None = 30, **known: Any) -> tuple[str | None, int, str | None]:
    model = Model("m", "pytorch", lambda: None, (TensorSpec("x", (1, 4)),), **known)
    samples = None if n is None else {"x": np.random.default_rng(1).random((n, 1, 4)).astype("float32")}
    return write_drift_reference(model, samples, OUTPUTS, lambda given: [given[0][..., :2]], folder)


def test_equal_data_give_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        told = _written(folder)
        assert told[1:] == (30, None)
    assert (first / "reference.json").read_bytes() == (second / "reference.json").read_bytes()


def test_without_calibration_data_or_with_nothing_watched_there_is_none_and_it_says_why(tmp_path: Path) -> None:
    assert _written(tmp_path, n=None) == (None, 0, "the model brings no calibration data")
    nothing = _written(tmp_path, features={"x": None, "output": None})
    assert nothing == (None, 0, "the model has nothing watched (`features`)")
    assert list(tmp_path.iterdir()) == []


def test_only_so_many_samples_are_counted(tmp_path: Path) -> None:
    assert _written(tmp_path, n=2100)[1] == 2000


def test_features_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'xx', which is no input or output"):
        _written(tmp_path, features={"xx": Watch("number")})
