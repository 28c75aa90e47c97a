"""`edgekit.convert(...)`, as a script calls it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import edgekit
from edgekit.convert.sdk import PartialConversionError
from edgekit.errors import ModelError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

SAMPLES = np.random.default_rng(0).standard_normal((20, 16)).astype("float32")


@pytest.fixture
def module() -> Any:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(16, 32), torch.nn.Linear(32, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(torch.relu(self.first(x)))

    torch.manual_seed(0)
    return Net()


def test_a_module(cache: Path, module: Any, tmp_path: Path) -> None:
    artifacts = edgekit.convert(
        module, ["torchscript:float32", "torchscript:int8"], calibration={"x": SAMPLES}, out=tmp_path / "out"
    )
    assert [artifact.title for artifact in artifacts] == ["Net torchscript:float32", "Net torchscript:int8"]
    assert (tmp_path / "out" / "Net" / "torchscript-int8").resolve() == artifacts[1].path
    assert artifacts[1].manifest.inputs[0].shape == (1, 16)
    assert module.training, "the module is left as it was"
    again = edgekit.convert(module, ["torchscript:int8"], calibration={"x": SAMPLES}, out=tmp_path / "out")
    assert again[0].id == artifacts[1].id


def test_a_path_and_the_package_are_one_name(cache: Path, dense_folder: Path, tmp_path: Path) -> None:
    (artifact,) = edgekit.convert(dense_folder, ["tflite:float32"], out=tmp_path / "out")
    assert artifact.manifest.model == "dense"
    assert edgekit.convert.find_model(str(dense_folder)).name == "dense", "it still is the package"


def test_some_recipes_fail(cache: Path, module: Any, tmp_path: Path) -> None:
    import torch

    program = torch.export.export(module.eval(), (torch.zeros(1, 16),))
    with pytest.raises(PartialConversionError, match=r"1 of 2 recipes failed.*needs calibration data") as failure:
        edgekit.convert(program, ["torchscript:float32", "torchscript:int8"], out=tmp_path / "out")
    assert list(failure.value.artifacts) == ["torchscript:float32"]
    assert list(failure.value.errors) == ["torchscript:int8"]


@pytest.mark.parametrize(
    ("calibration", "says"),
    [
        (None, "says nothing of its inputs"),
        ({"y": SAMPLES}, "takes x, but the calibration data hold y"),
        ({"x": SAMPLES[:, :3]}, r"cannot trace the module Net with x \(1, 3\)"),
    ],
)
def test_data_that_do_not_fit_the_module(cache: Path, module: Any, tmp_path: Path, calibration: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        edgekit.convert(module, ["tflite:float32"], calibration=calibration, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_model_and_no_recipe(cache: Path, tiny: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match=r"takes no builtins\.int"):
        edgekit.convert(3, ["tflite:float32"])
    with pytest.raises(RecipeError, match="is not a recipe"):
        edgekit.convert(tiny(), ["tflite"])


def test_an_unknown_name_of_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edgekit.nothing
