"""Small networks as exported programs, for the tests of the PyTorch formats; converted and run in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.convert.formats.base import Converted, Exported, Format
from edgekit.convert.sources.base import PROGRAM
from edgekit.dimensions import Dim, resized, sizes_to_prove, varying_outputs
from edgekit.recipe import Recipe
from edgekit.runner.profile import profile
from edgekit.runner.session import run_samples
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from edgekit.artifact import Bindings

VOCABULARY, TOKENS, LONGEST = 50, 12, 24


@dataclass(frozen=True)
class Size:
    """Samples at other than the nominal sizes, and what the module answers to them."""

    sizes: dict[str, int]
    inputs: list[np.ndarray]
    reference: list[np.ndarray]


@dataclass(frozen=True)
class Network:
    """An export, samples (one array an input), and what the module answers to them; `others` where sizes vary."""

    exported: Exported
    inputs: list[np.ndarray]
    reference: list[np.ndarray]
    others: tuple[Size, ...] = ()

    @property
    def calibration(self) -> dict[str, np.ndarray]:
        """The samples, by the model's name of the input."""
        return {spec.name: array for spec, array in zip(self.exported.inputs, self.inputs, strict=True)}


def export(
    module: Any, arrays: Sequence[np.ndarray], folder: Path, inputs: tuple[TensorSpec, ...] | None = None
) -> Network:
    """Exports a module. It is calibrated with the samples that it is judged on: what exceeds a calibrated range is
    another matter than what these tests look at."""
    import torch

    from edgekit.convert.sources.pytorch import dynamic_shapes

    folder.mkdir(exist_ok=True)
    module = module.eval()
    sample = tuple(torch.from_numpy(array[0].copy()) for array in arrays)
    inputs = inputs or tuple(TensorSpec(f"in{i}", a.shape[1:], str(a.dtype)) for i, a in enumerate(arrays))
    torch.export.save(torch.export.export(module, sample, dynamic_shapes=dynamic_shapes(inputs)), folder / PROGRAM)
    reference = answers(module, arrays)
    others = tuple(
        Size(sizes, given, answers(module, given))
        for sizes in sizes_to_prove(inputs)
        for given in [[resized(array, spec, sizes) for spec, array in zip(inputs, arrays, strict=True)]]
    )
    outputs = tuple(
        TensorSpec(
            f"out{j}",
            a.shape[1:],
            str(a.dtype),
            varies=varying_outputs(a.shape[1:], [(o.sizes, o.reference[j].shape[1:]) for o in others], f"out{j}"),
        )
        for j, a in enumerate(reference)
    )
    return Network(Exported("torch-export", folder, inputs, outputs), list(arrays), reference, others)


def answers(module: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a module answers to samples, one array an output."""
    import torch

    with torch.no_grad():
        given = [module(*(torch.from_numpy(array[k].copy()) for array in arrays)) for k in range(len(arrays[0]))]
    leaves = [torch.utils._pytree.tree_leaves(answer) for answer in given]
    return [np.stack([leaf[j].numpy() for leaf in leaves]) for j in range(len(leaves[0]))]


def convolutional(folder: Path) -> Network:
    """What quantizing images meets: strides, a depthwise layer, ReLU6, a residual connection, folded and other
    batch normalisations, pooling, a linear layer."""
    import torch
    from torch import nn

    torch.manual_seed(1)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.stem_norm = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)
            self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
            self.point, self.late_norm = nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16)
            self.head = nn.Linear(16 * 4 * 4, 5)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            x = nn.functional.relu6(self.stem_norm(self.stem(image)))
            x = x + self.point(nn.functional.hardtanh(self.depthwise(x), 0.0, 2.0))
            x = self.late_norm(torch.relu(x))
            return self.head(nn.functional.max_pool2d(x, 2).flatten(1))

    net = Net()
    for norm in (net.stem_norm, net.late_norm):  # statistics as after training, not the identity
        norm.running_mean.uniform_(-0.5, 0.5)
        norm.running_var.uniform_(0.5, 2.0)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    images = np.random.default_rng(1).standard_normal((24, 1, 3, 16, 16)).astype("float32")
    return export(net, [images], folder)


def encoder(folder: Path) -> Network:
    """A transformer encoder: token ids and a mask (both int64) in, a dictionary of logits and a pooled vector out."""
    import torch
    from torch import nn

    torch.manual_seed(2)
    width, heads = 32, 4

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(VOCABULARY, width, padding_idx=0), nn.Embedding(TOKENS, width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.before, self.between, self.last = (nn.LayerNorm(width) for _ in range(3))
            self.head = nn.Linear(width, 7)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
            x = self.tokens(ids) + self.places(torch.arange(TOKENS))
            q, k, v = self.qkv(self.before(x)).reshape(1, TOKENS, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            blocked = torch.full((), torch.finfo(torch.float32).min)  # as the usual libraries mask
            bias = torch.where(mask[:, None, None, :] != 0, torch.zeros(()), blocked)
            attended = torch.softmax(q @ k.transpose(-1, -2) * 0.35 + bias, dim=-1) @ v
            x = x + self.out(attended.transpose(1, 2).reshape(1, TOKENS, width))
            x = self.last(x + self.down(nn.functional.gelu(self.up(self.between(x)))))
            weights = mask.to(torch.float32)[..., None]
            pooled = (x * weights).sum(1) / weights.sum(1)
            return {"logits": self.head(pooled), "pooled": pooled}

    rng = np.random.default_rng(2)
    ids = rng.integers(1, VOCABULARY, (24, 1, TOKENS))
    mask = np.ones_like(ids)
    for row, length in zip(mask, rng.integers(4, TOKENS + 1, len(mask)), strict=True):
        row[0, length:] = 0
    return export(Encoder(), [ids * mask, mask], folder)


def of_any_length(folder: Path) -> Network:
    """Token ids `(1, length 3..24)`, nominally 12, and a mask: a convolution, attention, a head for every token and one
    for the text. Its outputs are (1, length, 5) and (1, 3)."""
    import torch
    from torch import nn

    torch.manual_seed(3)
    width, heads = 16, 2

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(VOCABULARY, width), nn.Embedding(LONGEST, width)
            self.stem = nn.Conv1d(width, width, 3, padding=1)
            self.qkv, self.out, self.norm = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.LayerNorm(width)
            self.tags, self.text = nn.Linear(width, 5), nn.Linear(width, 3)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            length = ids.shape[1]
            real = mask.to(torch.float32)
            x = self.tokens(ids) + self.places.weight[:length]
            x = x + torch.relu(self.stem(x.transpose(1, 2)).transpose(1, 2))
            q, k, v = (
                self.qkv(self.norm(x)).reshape(1, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)
            )
            scores = q @ k.transpose(-1, -2) * 0.35 + ((1.0 - real) * -20.0).reshape(1, 1, 1, length)
            x = x + self.out((torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(1, length, width))
            pooled = (x * real.reshape(1, length, 1)).sum(1) / real.sum(1, keepdim=True)
            return self.tags(x), self.text(pooled)

    rng = np.random.default_rng(3)
    ids = rng.integers(1, VOCABULARY, (12, 1, TOKENS))
    length = Dim("length", 3, LONGEST, nominal=TOKENS)
    inputs = tuple(TensorSpec(f"in{i}", (1, length), "int64") for i in range(2))
    return export(Tagger(), [ids, np.ones_like(ids)], folder, inputs)


def of_any_length_without_attention(folder: Path) -> Network:
    """As `of_any_length`, of few operators, for converters that take long over each."""
    import torch
    from torch import nn

    torch.manual_seed(4)
    width = 16

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(VOCABULARY, width)
            self.tags, self.text = nn.Linear(width, 5), nn.Linear(width, 3)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = self.tokens(ids) * mask.to(torch.float32)[..., None]
            return self.tags(x), self.text(torch.relu(x).mean(1))

    ids = np.random.default_rng(4).integers(1, VOCABULARY, (12, 1, TOKENS))
    length = Dim("length", 3, LONGEST, nominal=TOKENS)
    inputs = tuple(TensorSpec(f"in{i}", (1, length), "int64") for i in range(2))
    return export(Tagger(), [ids, np.ones_like(ids)], folder, inputs)


def weightless(folder: Path) -> Network:
    """A network that nothing can be quantized in."""
    import torch

    return export(torch.nn.ReLU(), [np.ones((4, 1, 3), "float32")], folder)


def make(form: Format, network: Network, precision: str, payload: Path, **options: Any) -> Converted:
    """`Format.convert` without the chain."""
    recipe = Recipe(form.name, precision, options=options)
    declared = form.validate(recipe)
    calibration = network.calibration if declared.needs_calibration else {}
    return form.convert(network.exported, payload.parent, recipe, calibration, payload)


def run(runtime: ModuleType, payload: Path, bindings: Bindings, network: Network, threads: int = 1) -> list[np.ndarray]:
    """What the payload answers to the network's samples, by the code that runs it on devices."""
    names = {"inputs": list(bindings.inputs), "outputs": list(bindings.outputs)}
    return run_samples(runtime.load(str(payload), threads, names), network.inputs)


def profiled(runtime: ModuleType, payload: Path, bindings: Bindings, network: Network) -> dict[str, Any]:
    """What the payload's operators cost, by the runtime's own profiler."""
    names = {"inputs": list(bindings.inputs), "outputs": list(bindings.outputs)}
    sample = [array[0] for array in network.inputs]
    return profile(runtime, str(payload), 1, names, sample, 500_000_000, lambda: None)


def snr_db(reference: np.ndarray, answered: np.ndarray) -> float:
    """Signal to noise, in dB."""
    signal = reference.astype("float64")
    noise = float(((signal - answered) ** 2).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10((signal**2).sum() / noise))


def worst(network: Network | Size, answered: Sequence[np.ndarray]) -> float:
    """The lowest SNR over the outputs, whose shapes must fit."""
    assert [a.shape for a in answered] == [r.shape for r in network.reference]
    return min(snr_db(r, a) for r, a in zip(network.reference, answered, strict=True))


class Payloads:
    """Converts once what several tests ask for: a network and a precision give (payload, bindings, notes)."""

    def __init__(self, form: Format, networks: Mapping[str, Network], folder: Path) -> None:
        self._form, self._networks, self._folder = form, networks, folder
        self._made: dict[tuple[str, str], tuple[Path, Bindings, tuple[str, ...]]] = {}

    def __call__(self, network: str, precision: str) -> tuple[Path, Bindings, tuple[str, ...]]:
        key = (network, precision)
        if key not in self._made:
            path = self._folder / f"{network}-{precision}-{self._form.payload}"
            converted = make(self._form, self._networks[network], precision, path)
            self._made[key] = (path, converted.bindings, converted.notes)
        return self._made[key]
