"""Sizes that vary: every format either takes each of them in one payload, or refuses by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgekit import plugins
from edgekit.runner.session import run_samples
from tests.convert.programs import Network, make, of_any_length, of_any_length_without_attention, worst

if TYPE_CHECKING:
    from edgekit.convert.formats.base import Format

pytestmark = pytest.mark.slow

ABLE = [
    ("onnx", "float32", 100.0),
    ("onnx", "float16", 45.0),
    ("onnx", "dynamic-int8", 20.0),
    ("onnx", "weight-int8", 25.0),
    ("onnx", "int8", 6.0),  # calibrated at the nominal size; few tokens give wider ranges
    ("executorch", "float32", 100.0),
    ("executorch", "float16", 40.0),
    ("executorch", "dynamic-int8", 20.0),
    ("executorch", "int8", 6.0),
    ("coreml", "float32", 90.0),
    ("coreml", "float16", 40.0),
    ("coreml", "weight-int4", 6.0),  # of what stores weights otherwise, one of each kind: blocks, palettes
    ("coreml", "palettized-6bit", 15.0),
    ("coreml", "int8", 6.0),
    ("torchscript", "float32", 100.0),
    ("torchscript", "float16", 45.0),
    ("torchscript", "dynamic-int8", 20.0),
    ("torchscript", "int8", 6.0),
]
"""Format, precision, and the SNR that it reaches at every size."""
OF_FEW_OPERATORS = {("executorch", "float16"), ("executorch", "dynamic-int8")}
"""What converts too slowly for a network as large as the others', 18 CPU seconds each. Their format takes that one in
float32 and int8; what is these precisions' own is done operator by operator."""


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return of_any_length(tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def plain_tagger(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return of_any_length_without_attention(tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder that a format's `lower` filled of a network, once each."""
    folders: dict[tuple[str, Path], Path] = {}

    def folder_of(form: Format, network: Network) -> Path:
        key = (form.name, network.exported.folder)
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp(form.name)
            form.lower(network.exported, folders[key])
        return folders[key]

    return folder_of


@pytest.mark.parametrize(("name", "precision", "least"), ABLE, ids=[f"{n}-{p}" for n, p, _ in ABLE])
def test_one_payload_takes_every_size_in_any_order(
    tagger: Network, plain_tagger: Network, lowered: Any, name: str, precision: str, least: float
) -> None:
    network = plain_tagger if (name, precision) in OF_FEW_OPERATORS else tagger
    form: Format = plugins.load("format", name)()
    payload = lowered(form, network) / f"{precision}-{form.payload}"
    converted = make(form, network, precision, payload)
    session, _ = form.session(payload, converted.bindings)
    for size in (*network.others, network, *reversed(network.others), network):
        found = worst(size, run_samples(session, size.inputs))
        assert found >= least, (getattr(size, "sizes", "nominal"), found)


def test_sizes_that_are_proven(tagger: Network) -> None:
    assert [size.sizes["length"] for size in tagger.others] == [3, 24, 13]
    tags, text = tagger.exported.outputs
    assert tags.describe() == "float32[1, length 3..24, 5]"
    assert text.describe() == "float32[1, 3]"
    assert np.unique([size.reference[0].shape[2] for size in tagger.others]).tolist() == [3, 13, 24]
