"""The accuracy budget: how it is written, and the search for the fewest layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.convert.budget import fewest, parse_max_drop
from edgekit.errors import DataError, ParityError, RecipeError
from tests.convert.conftest import make

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTLIER = """
import numpy as np
from edgekit.model import Evaluation, Metric, Model
from edgekit.specs import TensorSpec


def build():
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64),
        torch.nn.ReLU(), torch.nn.Linear(64, 512), torch.nn.ReLU(), torch.nn.Linear(512, 8),
    )
    with torch.no_grad():
        for layer in net[::2]:
            torch.nn.init.kaiming_normal_(layer.weight)
            layer.bias.zero_()
        net[2].weight[0] *= 200  # one channel so large that eight bits for all of them leave nothing for the others
        net[4].weight[:, 0] /= 200
    return net


def samples(seed, count):
    return np.random.default_rng(seed).standard_normal((count, 16)).astype("float32")


def evaluation():
    import torch

    x = samples(1, 300)
    with torch.no_grad():
        return Evaluation({"x": x}, build()(torch.from_numpy(x)).argmax(1).numpy())


def agreement(outputs, targets):
    return float(np.mean(outputs["y"].reshape(len(targets), 8).argmax(1) == targets))


model = Model(
    name="outlier", source="pytorch", build=build, inputs=(TensorSpec("x", (1, 16)),), outputs=("y",),
    calibration=lambda: {"x": samples(0, 100)}, evaluation=evaluation, metric=Metric("agreement", agreement),
)
"""

UNFAIR = """
from edgekit.model import Evaluation, Metric


def evaluation():
    return Evaluation(calibration(), np.zeros(20))


def once(outputs, targets):
    asked = Path({asked!r})
    first = not asked.exists()
    asked.touch()
    return float(first)

"""


@pytest.mark.parametrize(
    ("text", "unit", "source", "allowed", "refused"),
    [
        ("1%", "%", 0.97, 0.01, 0.0101),
        ("0.02", "%", 0.97, 0.02, 0.0201),
        ("2 %", "", 50.0, 1.0, 1.01),
        ("3", "", 50.0, 3.0, 3.1),
        ("0", "%", 0.5, -0.1, 0.001),
    ],
)
def test_what_a_budget_allows(text: str, unit: str, source: float, allowed: float, refused: float) -> None:
    budget = parse_max_drop(text, unit)
    assert budget.allows(allowed, source)
    assert not budget.allows(refused, source)


@pytest.mark.parametrize("text", ["", "%", "one", "-1%", "nan", "inf", "1%%"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(RecipeError, match="no accuracy budget"):
        parse_max_drop(text, "%")


@given(limit=st.integers(1, 200), needed=st.integers(0, 220))
def test_the_fewest_are_found_in_few_attempts(limit: int, needed: int) -> None:
    asked: list[int] = []

    def inside(count: int) -> bool:
        asked.append(count)
        return count >= needed

    found = fewest(limit, inside)
    assert found == (needed if needed < limit else None)
    assert len(asked) <= 2 * limit.bit_length() + 2
    assert max(asked) < limit


@given(limit=st.integers(1, 60), data=st.data())
def test_what_is_found_was_inside_even_if_more_layers_are_not_better(limit: int, data: st.DataObject) -> None:
    answers = data.draw(st.lists(st.booleans(), min_size=limit, max_size=limit))
    found = fewest(limit, answers.__getitem__)
    if found is not None:
        assert answers[found]


@pytest.fixture(scope="module")
def outlier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model that int8 ruins by one layer: what it answers in float32 is its metric's truth. It is lowered once, in a
    cache that its tests share."""
    folder = tmp_path_factory.mktemp("budget") / "outlier"
    folder.mkdir()
    (folder / "model.py").write_text(OUTLIER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_CACHE", str(folder.parent / "cache"))
        yield folder


@pytest.mark.slow
def test_the_layers_to_blame_are_found_and_kept(outlier: Path, tmp_path: Path) -> None:
    (plain,) = make(outlier, "tflite:int8", out=tmp_path / "plain")
    assert plain.artifact is not None, plain.error
    assert plain.artifact.manifest.accuracy.drop > 0.1
    (outcome,) = make(outlier, "tflite:int8", out=tmp_path / "out", max_drop="2%")
    assert outcome.artifact is not None, outcome.error
    manifest = outcome.artifact.manifest
    assert manifest.accuracy.drop <= 0.02
    budget = manifest.budget
    assert (budget.max_drop, budget.wanted) == ("2%", "tflite:int8")
    assert budget.trials[0].drop == plain.artifact.manifest.accuracy.drop
    assert not budget.trials[0].inside
    kept = manifest.recipe.options["keep"]
    assert 1 <= len(kept) < len(budget.layers)
    assert list(kept) == [layer.layer for layer in budget.layers[: len(kept)]], "the worst ones"
    assert budget.layers[0].snr_db < budget.layers[-1].snr_db - 10
    assert {"int8", "float32"} <= manifest.stored_dtypes.keys()
    assert manifest.payload_bytes == min(t.payload_bytes for t in budget.trials if t.inside)
    assert outcome.link == tmp_path / "out" / "outlier" / "tflite-int8"
    (again,) = make(outlier, "tflite:int8", out=tmp_path / "out", max_drop="2%")
    assert again.cached


@pytest.mark.slow
def test_a_budget_that_the_wanted_precision_meets_changes_nothing(outlier: Path, tmp_path: Path) -> None:
    (plain,) = make(outlier, "tflite:float16", out=tmp_path / "plain")
    (outcome,) = make(outlier, "tflite:float16", out=tmp_path / "out", max_drop="2%")
    assert outcome.artifact.id == plain.artifact.id


@pytest.mark.slow
def test_a_budget_without_a_metric(cache: Path, dense_folder: Path, tmp_path: Path) -> None:
    (outcome,) = make(dense_folder, "tflite:int8", out=tmp_path / "out", max_drop="1%")
    assert isinstance(outcome.error, DataError)
    assert "nothing to hold within 1%" in outcome.error.what


@pytest.mark.slow
def test_a_budget_that_nothing_meets(cache: Path, dense_folder: Path, tmp_path: Path) -> None:
    """Out of reach: the metric is 1 the first time, which is the source's own, and 0 for whatever is made of it."""
    model = (dense_folder / "model.py").read_text()
    unfair = UNFAIR.format(asked=str(tmp_path / "asked"))
    declared = "calibration=calibration, metric=Metric('once', once), evaluation=evaluation"
    (dense_folder / "model.py").write_text(
        model.replace("\nmodel = Model(", f"{unfair}\nmodel = Model(").replace("calibration=calibration", declared)
    )
    (outcome,) = make(dense_folder, "tflite:weight-int8", out=tmp_path / "out", max_drop="1%")
    assert isinstance(outcome.error, ParityError)
    assert "nothing that tflite makes of it loses at most 1%" in outcome.error.what
    assert not (tmp_path / "out").exists()
