"""The drift reference that `convert` writes: one for all artifacts of a model, or none and the reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgekit.artifact import check_files
from edgekit.telemetry.reporter.reference import Reference
from tests.convert.conftest import make

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow
RECIPES = ("torchscript:float32", "torchscript:float16")


def test_all_artifacts_of_a_model_share_one_reference_of_its_calibration_data(
    cache: Path, tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [o.artifact for o in make(tiny(), *RECIPES, out=tmp_path / "a") if o.artifact]
    assert len(first) == 2
    for artifact in first:
        check_files(artifact)
        told = artifact.manifest.reference
        assert (told.file, told.samples, told.because) == ("reference.json", 20, None)
        assert "reference.json" in [file.path for file in artifact.shipped_files()]
        reference = Reference.load(artifact.path / "reference.json")
        assert reference.id == told.id == first[0].manifest.reference.id
    assert reference.model == "tiny"
    assert [f.name for f in reference.features][:3] == ["x.0", "x.1", "x.2"]
    assert {f.name for f in reference.features if f.role == "output"} >= {"output.class", "output.confidence"}
    assert all(f.n == 20 for f in reference.features)
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "another"))
    again = [o.artifact for o in make(tiny(), RECIPES[0], out=tmp_path / "b") if o.artifact]
    assert again[0].id == first[0].id


def test_without_calibration_data_or_with_nothing_watched_there_is_none_and_it_says_why(
    cache: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tiny()
    text = (folder / "model.py").read_text()
    for changed, because in (
        (text.replace(", calibration=calibration)", ")"), "the model brings no calibration data"),
        (text.replace("calibration)", "calibration, features={'x': None, 'output': None})"), "nothing watched"),
    ):
        (folder / "model.py").write_text(changed)
        (outcome,) = make(folder, RECIPES[0], out=tmp_path / "out")
        assert outcome.artifact is not None, outcome.error
        told = outcome.artifact.manifest.reference
        assert (told.file, told.id, told.samples) == (None, None, 0)
        assert because in str(told.because)
        assert not (outcome.artifact.path / "reference.json").exists()


def test_features_that_do_not_fit_stop_the_conversion_and_name_them(
    cache: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tiny()
    text = (folder / "model.py").read_text().replace("import Model", "import Model, Watch")
    (folder / "model.py").write_text(text.replace("calibration)", "calibration, features={'xx': Watch('number')})"))
    (outcome,) = make(folder, RECIPES[0], out=tmp_path / "out")
    assert "'xx', which is no input or output" in str(outcome.error)
