"""Small networks, one an operator and a shape, compiled together and compared with PyTorch one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


@dataclass(frozen=True)
class Case:
    """One network: what builds it, its input's shape, and the schedules that its kernels must get."""

    name: str
    build: Callable[[], Any]
    shape: tuple[int, ...]
    schedules: frozenset[str]


def convolution(name: str, shape: tuple[int, ...], inputs: int, outputs: int, kernel: int, **more: Any) -> Case:
    import torch

    kind = torch.nn.Conv1d if len(shape) == 3 else torch.nn.Conv2d
    depthwise = more.get("groups", 1) == inputs == outputs
    needs = frozenset({"window" if depthwise else "contraction"})
    return Case(name, lambda: kind(inputs, outputs, kernel, **more), shape, needs)


def function(name: str, shape: tuple[int, ...], compute: Callable[[Any], Any], *schedules: str) -> Case:
    import torch

    class Function(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return compute(x)

    return Case(name, Function, shape, frozenset(schedules))


def residual_block(channels: int) -> Any:
    """Convolution, batch normalisation, ReLU6, depthwise, projection, residual: what MobileNet repeats."""
    import torch

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            wide = 3 * channels
            self.body = torch.nn.Sequential(
                torch.nn.Conv2d(channels, wide, 1, bias=False),
                torch.nn.BatchNorm2d(wide),
                torch.nn.ReLU6(),
                torch.nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
                torch.nn.BatchNorm2d(wide),
                torch.nn.ReLU6(),
                torch.nn.Conv2d(wide, channels, 1),
            )
            for module in self.body:
                if isinstance(module, torch.nn.BatchNorm2d):
                    torch.nn.init.normal_(module.running_mean)
                    torch.nn.init.uniform_(module.running_var, 0.5, 2.0)

        def forward(self, x: Any) -> Any:
            return x + self.body(x)

    return Block()


def cases() -> list[Case]:
    import torch
    from torch import nn
    from torch.nn import functional

    gate = torch.Generator().manual_seed(1)
    other = torch.randn(3, 9, 31, generator=gate)
    return [
        convolution("1x1", (1, 16, 7, 7), 16, 24, 1),
        convolution("1x1, odd channels", (1, 13, 5, 9), 13, 17, 1, bias=False),
        convolution("1x1, one channel", (1, 3, 4, 4), 3, 1, 1),
        convolution("1x1, strided", (1, 8, 9, 9), 8, 20, 1, stride=2),
        convolution("3x3, padded", (1, 3, 9, 11), 3, 40, 3, padding=1),
        convolution("3x3, strided, padded", (2, 8, 14, 14), 8, 20, 3, stride=2, padding=1),
        convolution("5x5, odd width", (1, 5, 8, 23), 5, 7, 5, padding=2),
        convolution("3x3, dilated", (1, 4, 12, 12), 4, 16, 3, dilation=2, padding=2),
        convolution("grouped", (1, 6, 8, 8), 6, 10, 3, padding=1, groups=2),
        convolution("grouped, wide", (1, 64, 6, 6), 64, 128, 1, groups=4),
        convolution("multiplied depthwise", (1, 5, 6, 6), 5, 10, 3, groups=5),
        convolution("one-dimensional", (2, 6, 37), 6, 9, 3, padding=1),
        convolution("depthwise", (1, 32, 14, 14), 32, 32, 3, padding=1, groups=32),
        convolution("depthwise, odd channels", (1, 13, 9, 11), 13, 13, 3, padding=1, groups=13),
        convolution("depthwise, strided", (1, 24, 15, 15), 24, 24, 3, stride=2, padding=1, groups=24),
        convolution("depthwise, 5x5", (1, 9, 12, 12), 9, 9, 5, padding=2, groups=9),
        convolution("depthwise, unpadded, dilated", (2, 8, 13, 13), 8, 8, 3, dilation=2, groups=8),
        convolution("depthwise, smaller than its window", (1, 4, 2, 2), 4, 4, 3, padding=1, groups=4),
        Case("residual block", lambda: residual_block(10), (1, 10, 8, 8), frozenset({"contraction", "window"})),
        Case("dense, one row", lambda: nn.Linear(50, 33), (1, 50), frozenset({"contraction"})),
        Case("dense, rows of rows", lambda: nn.Linear(19, 3), (5, 7, 19), frozenset({"contraction"})),
        Case("dense, wide", lambda: nn.Linear(64, 200), (31, 64), frozenset({"contraction"})),
        Case(
            "dense and gelu",
            lambda: nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 24)),
            (1, 9, 24),
            frozenset({"contraction"}),
        ),
        function("batched product", (3, 17, 9), lambda x: x @ other, "contraction"),
        function("product of two inputs", (2, 11, 8), lambda x: x @ x.transpose(1, 2), "contraction", "elementwise"),
        Case("max pooling", lambda: nn.MaxPool2d(3, 2, 1), (1, 5, 11, 11), frozenset({"window"})),
        Case("average pooling", lambda: nn.AvgPool2d(3, 2, 1), (1, 5, 11, 11), frozenset({"window"})),
        Case(
            "average pooling, uncounted padding",
            lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
            (1, 5, 11, 11),
            frozenset(),
        ),
        Case(
            "convolution and max pooling",
            lambda: nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.MaxPool2d(2)),
            (1, 3, 13, 13),
            frozenset({"contraction", "window"}),
        ),
        Case(
            "convolution and average pooling",
            lambda: nn.Sequential(nn.Conv2d(3, 12, 3), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)),
            (1, 3, 12, 12),
            frozenset({"contraction", "window"}),
        ),
        function("mean of an image", (1, 7, 5, 6), lambda x: x.mean((2, 3)), "rows"),
        function("sum of columns", (4, 9, 32), lambda x: x.sum(1), "columns"),
        function("sum of columns, odd", (4, 9, 21), lambda x: x.sum(1), "columns"),
        function("maximum of rows", (6, 32), lambda x: x.amax(-1), "rows"),
        function("softmax", (4, 48), lambda x: torch.softmax(x, -1), "rows"),
        function("softmax, odd", (3, 2, 13), lambda x: torch.softmax(x * 9, -1), "rows"),
        Case("layer norm", lambda: _perturbed(nn.LayerNorm(32)), (5, 32), frozenset({"rows"})),
        Case("layer norm, odd", lambda: _perturbed(nn.LayerNorm(33)), (2, 3, 33), frozenset({"rows"})),
        Case("group norm", lambda: _perturbed(nn.GroupNorm(2, 6)), (1, 6, 5, 5), frozenset()),
        function(
            "activations", (3, 64), lambda x: torch.sigmoid(x) * torch.tanh(3 * x) + functional.silu(x), "elementwise"
        ),
        function(
            "activations, odd",
            (3, 37),
            lambda x: torch.sigmoid(x) * torch.tanh(3 * x) + functional.silu(x),
            "elementwise",
        ),
        function("hard swish", (1, 4, 3, 3), functional.hardswish, "elementwise"),
        function("transposition", (1, 3, 21, 20), lambda x: x.permute(0, 2, 3, 1) + 1, "elementwise"),
        function("padding", (1, 2, 5, 7), lambda x: functional.pad(x, (1, 2, 0, 3)), "elementwise"),
        function("halves", (2, 6, 5), lambda x: x.chunk(2, 1)[0] * torch.sigmoid(x.chunk(2, 1)[1])),
        function("concatenation", (2, 3, 10), lambda x: torch.cat([x, -x], 1), "elementwise"),
        function(
            "attention",
            (1, 2, 12, 8),
            lambda x: functional.scaled_dot_product_attention(x, x, x, is_causal=True),
            "contraction",
            "rows",
        ),
    ]


def _perturbed(module: Any) -> Any:
    import torch

    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


class Bag:
    """All cases as one PyTorch module, so that they are compiled once for each machine."""

    def __init__(self) -> None:
        import torch

        torch.manual_seed(7)
        self.cases = cases()
        self.networks = [case.build().eval() for case in self.cases]
        generator = torch.Generator().manual_seed(3)
        self.samples = tuple(torch.randn(case.shape, generator=generator) for case in self.cases)
        with torch.no_grad():
            self.expected = [
                network(sample).numpy() for network, sample in zip(self.networks, self.samples, strict=True)
            ]

    def program(self) -> Any:
        import torch

        networks = self.networks

        class All(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.networks = torch.nn.ModuleList(networks)

            def forward(self, *samples: Any) -> Any:
                return tuple(network(sample) for network, sample in zip(self.networks, samples, strict=True))

        return torch.export.export(All().eval(), self.samples)


def run(executable: Any, samples: tuple[Any, ...], function: str = "main") -> list[np.ndarray]:
    """The outputs of a built module's `main`, or of another variant of it, in this process."""
    import tvm
    from tvm import relax

    machine = relax.VirtualMachine(executable, tvm.cpu())
    results = machine[function](*(tvm.runtime.tensor(sample.numpy()) for sample in samples))
    return [result.numpy() for result in results] if not hasattr(results, "numpy") else [results.numpy()]
