"""Dynamic axes are fixed on purpose; several inputs and outputs, integers among them; several conversions at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.convert import convert, find_model
from edgekit.convert.sources.exported import ExportedProgramFile
from edgekit.errors import ModelError
from edgekit.recipe import parse_recipe
from tests.convert.conftest import REPOSITORY, make

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program whose input `x` is float32[batch, 16]."""
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    path = tmp_path_factory.mktemp("dynamic") / "net.pt2"
    torch.export.save(torch.export.export(net, (torch.zeros(2, 16),), dynamic_shapes=({0: batch},)), path)
    return path


@pytest.fixture(scope="session")
def two_and_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tokens` int64[1, 6] and `features` float32[1, 4] to two outputs [1, 3] with other values."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(50, 8)
            self.mix, self.state = torch.nn.Linear(12, 3), torch.nn.Linear(12, 3)

        def forward(self, tokens: torch.Tensor, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            both = torch.cat([self.embedding(tokens).mean(1), features], 1)
            return self.mix(both), torch.tanh(self.state(both))

    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("two") / "two.pt2"
    program = torch.export.export(Net().eval(), (torch.zeros(1, 6, dtype=torch.int64), torch.zeros(1, 4)))
    torch.export.save(program, path)
    return path


def test_a_dynamic_axis_wants_a_size(dynamic: Path) -> None:
    with pytest.raises(ModelError) as refused:
        ExportedProgramFile().open_file(dynamic, "net", "net.pt2", {})
    assert "dynamic shape, (?, 16)" in refused.value.what
    assert "--shape input=1,16" in refused.value.remedy


def test_a_dynamic_axis_is_fixed(cache: Path, dynamic: Path, tmp_path: Path) -> None:
    ref = find_model(str(dynamic), shapes={"input": (2, 16)})
    (outcome,) = convert(ref, [parse_recipe("tflite:float32")], out=tmp_path / "out")
    assert outcome.artifact is not None, outcome.error
    assert outcome.artifact.manifest.inputs[0].shape == (2, 16)
    assert outcome.artifact.manifest.parity.worst_snr_db > 100


@pytest.mark.parametrize("shape", [(1, 17), (16,)])
def test_a_shape_that_does_not_fit(dynamic: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="does not fit"):
        ExportedProgramFile().open_file(dynamic, "net", "net.pt2", {"input": shape})


def test_a_shape_in_words_that_mean_nothing(tmp_path: Path, dynamic: Path) -> None:
    command = [sys.executable, "-m", "edgekit", "convert", str(dynamic), "--to", "tflite:float32"]
    for text in ("input", "input=", "input=1,x", "input=0,16", "=1,16"):
        done = subprocess.run([*command, "--shape", text], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 2
        assert "is no shape" in done.stderr


def two_inputs(folder: Path, count: int = 30) -> Path:
    random = np.random.default_rng(0)
    path = folder / "two.npz"
    features = random.standard_normal((count, 4)).astype("float32")
    np.savez(path, tokens=random.integers(0, 50, (count, 6)), features=features)
    return path


def test_several_inputs_and_outputs_with_integers(cache: Path, two_and_two: Path, tmp_path: Path) -> None:
    outcomes = make(
        two_and_two, "tflite:float32", "tflite:dynamic-int8", out=tmp_path / "out", calibration=two_inputs(tmp_path)
    )
    for outcome in outcomes:
        assert outcome.artifact is not None, outcome.error
        manifest = outcome.artifact.manifest
        assert [spec.name for spec in manifest.inputs] == ["tokens", "features"]
        assert manifest.inputs[0].dtype in ("int32", "int64")
        assert len(manifest.parity.outputs) == 2
        assert all(np.load(outcome.artifact.path / name).shape[1:] == (1, 3) for name in manifest.golden.outputs)
    assert outcomes[0].artifact.manifest.parity.worst_snr_db > 100


def test_three_conversions_over_one_cache(cache: Path, dense: Path, tmp_path: Path) -> None:
    """They race for the same steps and the same artifact; whoever is first, all end well and alike."""
    command = [sys.executable, "-m", "edgekit", "convert", str(dense), "--to", "tflite:float32", "--to",
               "tflite:float16", "--json", "--out", str(tmp_path / "out")]  # fmt: skip
    running = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for _ in range(3)]  # fmt: skip
    ended = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], ended
    stores = list((tmp_path / "out" / ".store").iterdir())
    assert len([entry for entry in stores if not entry.name.startswith(".")]) == 2
    assert not list(cache.rglob(".tmp-*"))
