"""Whole models, written by both of PyTorch's exporters, imported again: more than 90 dB from ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch

from edgekit.convert.load import import_model
from edgekit.runner.compare import compare
from tests.convert.conftest import REPOSITORY
from tests.convert.onnx_to_torch.helpers import imported, in_onnx_runtime

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

MIN_SNR_DB = 90.0


class Encoder(torch.nn.Module):
    """Two layers of a small transformer encoder: token ids `(1, 12)` to five numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(100, 32)
        self.position = torch.nn.Parameter(torch.randn(1, 12, 32) / 10)
        layer = torch.nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu", batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = torch.nn.Linear(32, 5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embedding(tokens) + self.position).mean(1))


class Recurrent(torch.nn.Module):
    """A bidirectional LSTM and a GRU over six steps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = torch.nn.LSTM(3, 4, bidirectional=True, batch_first=True)
        self.gru = torch.nn.GRU(8, 5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gru(self.lstm(x)[0])[0]


def network(name: str) -> tuple[torch.nn.Module, np.ndarray]:
    if name == "encoder":
        return Encoder().eval(), np.random.default_rng(0).integers(0, 100, (1, 12))
    if name == "recurrent":
        return Recurrent().eval(), np.random.default_rng(0).standard_normal((1, 6, 3)).astype(np.float32)
    declared = import_model(REPOSITORY / "models" / name)
    assert declared.calibration is not None
    sample = next(iter(declared.calibration().values()))[0].reshape(declared.inputs[0].shape)
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    try:
        return declared.build().eval(), sample
    finally:  # training a model sets these for the whole process, in which other tests follow
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)


def exported(net: torch.nn.Module, sample: np.ndarray, path: Path, **options: Any) -> onnx.ModelProto:
    torch.onnx.export(net, (torch.from_numpy(sample),), path, external_data=False, verbose=False, **options)
    return onnx.load(path)


DYNAMO, SCRIPT, OLD = {"dynamo": True}, {"dynamo": False, "opset_version": 17}, {"dynamo": False, "opset_version": 14}


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("digits_cnn", (DYNAMO, SCRIPT)),
        ("crepe_tiny", (DYNAMO, SCRIPT)),
        ("mobilenet_v2", (DYNAMO, SCRIPT)),
        ("encoder", (DYNAMO, SCRIPT, OLD)),
        ("recurrent", (SCRIPT, OLD)),  # whether dynamo=True writes an LSTM is the exporter's matter
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_comes_back_as_it_was(name: str, ways: tuple[dict[str, Any], ...], tmp_path: Path) -> None:
    net, sample = network(name)
    for options in ways:
        made = exported(net, sample, tmp_path / "model.onnx", **options)
        given = {made.graph.input[0].name: sample}
        expected, answered = in_onnx_runtime(made, given)[0], imported(made, given)[0]
        found = compare(expected[None], answered[None])
        assert found["exact"] or found["snr_db"] > MIN_SNR_DB, (options, found)
