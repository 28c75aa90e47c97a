"""What the PyTorch formats share: the graph of an exported program, and the ways to quantize it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.convert.pt2e import embeddings, half, native
from edgekit.convert.pt2e.graph import (
    EMBEDDING,
    batch_norms_as_convolutions,
    finish,
    layers_of,
    names_of,
    open_graph,
    schema,
    tensor_of,
)
from edgekit.convert.pt2e.ranges import Range, observe
from edgekit.errors import ConversionError, RefusedError
from tests.convert.programs import Network, export, worst

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="session")
def images(networks: dict[str, Network]) -> Network:
    return networks["convolutional"]


@pytest.fixture(scope="session")
def texts(networks: dict[str, Network]) -> Network:
    return networks["encoder"]


def answers(graph: Any, network: Network) -> list[np.ndarray]:
    import torch

    with torch.no_grad():
        runs = [graph(*(torch.from_numpy(array[k].copy()) for array in network.inputs)) for k in range(24)]
    return [np.stack([run[j].numpy() for run in runs]) for j in range(len(runs[0]))]


def called(graph: Any) -> list[str]:
    return [name for node in graph.graph.nodes if (name := schema(node))]


def test_a_graph_computes_what_its_program_does(images: Network, texts: Network) -> None:
    for network in (images, texts):
        graph, example = open_graph(network.exported)
        assert worst(network, answers(graph, network)) > 100
        assert [tuple(tensor.shape) for tensor in example] == [spec.shape for spec in network.exported.inputs]


def test_batch_normalisations_are_folded_where_nothing_stands_between(images: Network) -> None:
    graph, _ = open_graph(images.exported)
    assert called(graph).count("aten::batch_norm") == 1, "the one behind a ReLU"
    batch_norms_as_convolutions(graph)
    graph = finish(graph)
    assert "aten::batch_norm" not in called(graph)
    assert names_of(layers_of(graph)) == ("stem", "depthwise", "point", "late_norm", "head")
    assert worst(images, answers(graph, images)) > 100


def test_layers_are_called_as_in_the_model(texts: Network) -> None:
    layers = layers_of(open_graph(texts.exported)[0])
    assert names_of(layers) == ("tokens", "places", "qkv", "out", "up", "down", "head")
    assert [layer.name for layer in layers if layer.kind == EMBEDDING] == ["tokens", "places"]


def test_a_weight_that_is_used_twice_is_one_name(tmp_path: Path) -> None:
    import torch

    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = torch.nn.Embedding(9, 4)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(self.tokens(ids), self.tokens.weight)

    network = export(Tied(), [np.arange(24).reshape(24, 1, 1) % 9], tmp_path)
    graph, _ = open_graph(network.exported)
    assert [layer.name for layer in layers_of(graph)] == ["tokens", "tokens"]
    assert native.quantize_dynamic(graph, ("tokens",), 7) == []
    assert len(native.quantize_dynamic(graph, (), 7)) == 2
    assert worst(network, answers(finish(graph), network)) > 30


def test_other_outputs_than_the_model_names(images: Network) -> None:
    from dataclasses import replace

    with pytest.raises(ConversionError, match="1 inputs and 1 outputs, the model 1 and 2"):
        open_graph(replace(images.exported, outputs=images.exported.outputs * 2))


def test_embedding_rows_lose_half_a_step_at_most(texts: Network) -> None:
    import torch

    graph, _ = open_graph(texts.exported)
    table = tensor_of(graph, layers_of(graph)[0].weight).clone()
    assert torch.count_nonzero(table[0]) == 0, "the row of the padding token"
    done = embeddings.quantize_embeddings(graph, keep=("places",))
    assert [layer.name for layer in done] == ["tokens"]
    graph = finish(graph)
    stored, scale = graph.tokens_int8_0, graph.tokens_scale_0
    assert stored.dtype == torch.int8
    assert not hasattr(graph, "tokens"), "the float table is gone"
    assert bool(((stored * scale - table).abs() <= scale * 0.5001).all())
    assert torch.count_nonzero(stored[0]) == 0


def test_half_precision_weights_are_cast_where_they_are_used(images: Network) -> None:
    import torch

    graph, _ = open_graph(images.exported)
    count = half.store_half(graph)
    graph = finish(graph)
    assert count == len(list(graph.buffers()))
    assert {buffer.dtype for buffer in graph.buffers()} == {torch.float16}
    assert worst(images, answers(graph, images)) > 55


def test_masks_stay_finite_in_half_precision(texts: Network) -> None:
    """The mask of this encoder adds the lowest float32: as an infinity it would make NaN of a masked row."""
    graph, _ = open_graph(texts.exported)
    half.compute_half(graph)
    answered = answers(finish(graph), texts)
    assert {array.dtype.name for array in answered} == {"float32"}
    assert worst(texts, answered) > 45


def test_a_weight_beyond_half_precision_is_refused(tmp_path: Path) -> None:
    import torch

    layer = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(layer.weight, 1e5)
    network = export(layer, [np.ones((4, 1, 2), "float32")], tmp_path)
    for convert in (half.store_half, half.compute_half):
        graph, _ = open_graph(network.exported)
        with pytest.raises(RefusedError, match=r"the weight weight reaches 1e\+05, and half precision ends at 65504"):
            convert(graph)


finite = st.floats(-1e6, 1e6, allow_nan=False)


@given(finite, finite, st.sampled_from([7, 8]))
def test_parameters_of_a_range(one: float, other: float, bits: int) -> None:
    low, high = min(one, other), max(one, other)
    scale, zero_point = Range(low, high).parameters(bits)
    levels = 2**bits - 1
    assert scale > 0
    assert 0 <= zero_point <= levels, "zero is a number of its own: padding adds nothing"
    assert (0 - zero_point) * scale <= min(low, 0.0) + scale
    assert (levels - zero_point) * scale >= max(high, 0.0) - scale


def test_ranges_are_those_of_all_samples(images: Network) -> None:
    graph, _ = open_graph(images.exported)
    seen = observe(graph, images.calibration)
    image = images.calibration["in0"]
    assert seen["image"] == Range(float(image.min()), float(image.max()))
    one = observe(graph, {"in0": image[:1]})
    assert seen["linear"].high > one["linear"].high


def test_a_quantized_network_has_no_float_between_its_layers(images: Network) -> None:
    graph, _ = open_graph(images.exported)
    with native.engine_for_packing():
        done = native.quantize_static(graph, observe(graph, images.calibration), (), 7)
    assert names_of(done) == ("stem", "depthwise", "point", "head")
    operators = called(finish(graph))
    assert operators.count("aten::quantize_per_tensor") == 1, "the input"
    assert operators.count("aten::dequantize") == 1, "the output"
    assert "quantized::add" in operators


def test_residual_streams_of_transformers_stay_in_float(texts: Network) -> None:
    graph, _ = open_graph(texts.exported)
    with native.engine_for_packing():
        native.quantize_static(graph, observe(graph, texts.calibration), (), 7)
    assert "quantized::add" not in called(finish(graph))


def test_no_engine_to_pack_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "ENGINES", ("tpu",))
    with pytest.raises(ConversionError, match="no engine for quantized operators"), native.engine_for_packing():
        pass


@pytest.mark.parametrize("kernel", [3, 4])
def test_padding_in_words_becomes_numbers(tmp_path: Path, kernel: int) -> None:
    """An even kernel pads one more behind than before."""
    import torch

    torch.manual_seed(0)
    layer = torch.nn.Conv2d(2, 3, (kernel, 3), padding="same", dilation=(1, 2))
    network = export(layer, [np.random.default_rng(0).standard_normal((24, 1, 2, 9, 9)).astype("float32")], tmp_path)
    graph, _ = open_graph(network.exported)
    assert called(graph) == ["aten::constant_pad_nd"] * (kernel == 4) + ["aten::conv2d"]
    assert worst(network, answers(graph, network)) > 100
    with native.engine_for_packing():
        native.quantize_static(graph, observe(graph, network.calibration), (), 7)
    assert worst(network, answers(finish(graph), network)) > 25


def test_an_infinite_value_has_no_scale(tmp_path: Path) -> None:
    import torch

    class Infinite(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(torch.log(torch.relu(x)))

    network = export(Infinite(), [np.zeros((24, 1, 3), "float32")], tmp_path)
    graph, _ = open_graph(network.exported)
    with native.engine_for_packing(), pytest.raises(RefusedError, match="the value log reaches from -inf"):
        native.quantize_static(graph, observe(graph, network.calibration), (), 7)
