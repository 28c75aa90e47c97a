"""Fixtures of the chain's tests: a private cache, small models made on the spot, formats that misbehave."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit.convert import Outcome, convert, find_model
from edgekit.recipe import parse_recipe
from tests.convert.flatbuffers import write_dense
from tests.convert.programs import Network, convolutional, encoder, weightless

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]

MODEL = """
import numpy as np
from edgekit.model import Model
from edgekit.specs import TensorSpec


def build():
    import torch

    torch.manual_seed(0)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Linear(16, 32), torch.nn.Linear(32, 4)

        def forward(self, x):
            return {forward}

    return Net()


def calibration():
    return {{"x": np.random.default_rng(0).standard_normal((20, 16)).astype("float32")}}


inputs = (TensorSpec("x", (1, {size})),)
model = Model(name="tiny", source="pytorch", build=build, inputs=inputs, calibration=calibration)
"""

MODEL_OF_A_FILE = """
from pathlib import Path
import numpy as np
from edgekit.model import Model
from edgekit.specs import TensorSpec

FILE = Path(__file__).parent / "net.tflite"


def calibration():
    return {"x": np.random.default_rng(0).standard_normal((20, 16)).astype("float32")}


model = Model(
    name="dense", source="tflite", build=lambda: FILE, files=("net.tflite",), inputs=(TensorSpec("x", (1, 16)),),
    outputs=("output",), calibration=calibration,
)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EDGEKIT_CACHE", str(folder))
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model folder: two linear layers, 16 inputs, 4 outputs."""

    def write(forward: str = "self.second(torch.relu(self.first(x)))", size: int = 16) -> Path:
        folder = tmp_path / "tiny"
        folder.mkdir(exist_ok=True)
        (folder / "model.py").write_text(MODEL.format(forward=forward, size=size))
        return folder

    return write


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.tflite` file: two linear layers, 16 inputs, 4 outputs. What tests of the chain itself convert."""
    return write_dense(tmp_path_factory.mktemp("dense") / "net.tflite")


@pytest.fixture
def dense_folder(tmp_path: Path) -> Path:
    """The same as a model folder, with calibration data."""
    folder = tmp_path / "dense"
    folder.mkdir()
    write_dense(folder / "net.tflite")
    (folder / "model.py").write_text(MODEL_OF_A_FILE)
    return folder


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `torch.export` file: the input `x`, float32[1, 16], to four numbers."""
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4)).eval()
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    torch.export.save(torch.export.export(net, (torch.zeros(1, 16),)), path)
    return path


@pytest.fixture
def samples(tmp_path: Path) -> Callable[..., Path]:
    """Writes an .npz with one array."""

    def write(array: np.ndarray, name: str = "input") -> Path:
        np.savez(tmp_path / "data.npz", **{name: array})
        return tmp_path / "data.npz"

    return write


def make(model: Path, *recipes: str, out: Path, calibration: Path | None = None, **more: Any) -> list[Outcome]:
    """`convert` with recipes as text."""
    ref = find_model(str(model), calibration=calibration)
    return convert(ref, [parse_recipe(recipe) for recipe in recipes], out=out, **more)


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Network]:
    """What the tests of the PyTorch formats share, exported once."""
    folder = tmp_path_factory.mktemp("networks")
    kinds = {"convolutional": convolutional, "encoder": encoder, "weightless": weightless}
    return {name: kind(folder / name) for name, kind in kinds.items()}
