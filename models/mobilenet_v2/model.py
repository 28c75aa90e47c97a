"""mobilenet_v2: MobileNetV2 at 224×224 and width 1.0 with random weights, for latency and size.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen 2018, "MobileNetV2: Inverted Residuals and Linear
Bottlenecks" (CVPR, arXiv:1801.04381), written from table 2 of the paper. How long a network takes and how
large it is do not depend on what its weights are worth, so nothing is downloaded; what it says about an
image means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.model import Arrays, Model
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

SEED = 1801
CALIBRATION_SEED = 4381
WARM_UP_SEED = 2018
SIZE = 224
"""Pixels, either side."""
CLASSES = 1000
PARAMETERS = 3_504_872
CALIBRATION_IMAGES = 16
WARM_UP_BATCHES, WARM_UP_BATCH = 4, 8

BLOCKS = (
    # expansion t, output channels c, repeats n, stride s of the first: table 2 of the paper
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
FIRST_CHANNELS, LAST_CHANNELS = 32, 1280


def _smooth_images(seed: int, count: int) -> np.ndarray:
    """Random images with the low frequencies of photographs: waves, soft blobs and a little grain.

    Returns:
        `(count, 3, 224, 224)` float32 in -1..1 (black to white), each image spread over the whole range.
    """
    rng = np.random.default_rng(seed)
    axis = np.linspace(0.0, 1.0, SIZE)
    y, x = axis[:, None], axis[None, :]
    images = np.empty((count, 3, SIZE, SIZE), dtype=np.float32)
    for i in range(count):
        image = np.zeros((3, SIZE, SIZE))
        for _ in range(4):  # waves of up to 3 periods across the image
            across, down = rng.uniform(-3.0, 3.0, 2)
            wave = np.cos(2 * np.pi * (across * x + down * y) + rng.uniform(0.0, 2 * np.pi))
            image += rng.normal(0.0, 0.5, (3, 1, 1)) * wave
        for _ in range(12):  # blobs of 4..55 pixels
            centre_y, centre_x = rng.uniform(0.0, 1.0, 2)
            width = np.exp(rng.uniform(np.log(0.02), np.log(0.25)))
            blob = np.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / (2 * width**2))
            image += rng.normal(0.0, 1.0, (3, 1, 1)) * blob
        image += rng.normal(0.0, 0.03, image.shape)
        low, high = image.min(), image.max()
        images[i] = 2.0 * (image - low) / (high - low) - 1.0
    return images


def build() -> nn.Module:
    """The network in eval mode: `image` `(n, 3, 224, 224)` float32 to `logits` `(n, 1000)` float32.

    Weights are drawn as in He et al. 2015 ("Delving Deep into Rectifiers"). The running statistics of the
    batch normalisations are measured on 32 random images, so that activations have the spread of a trained
    network's and quantization meets ranges as it would in one. Seeds PyTorch, asks it for deterministic
    algorithms and sets it to one thread, for the whole process.
    """
    import torch
    from torch import nn

    def convolution(
        inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> list[nn.Module]:
        """Convolution, batch normalisation and, unless linear, ReLU6; "same" padding."""
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        return layers if linear else [*layers, nn.ReLU6()]

    class InvertedResidual(nn.Module):
        """Expand by 1×1, filter each channel by 3×3, project by a linear 1×1 (figure 4d of the paper)."""

        def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
            super().__init__()
            hidden = inputs * expansion
            self.shortcut = stride == 1 and inputs == outputs
            self.layers = nn.Sequential(
                *(convolution(inputs, hidden) if expansion != 1 else ()),
                *convolution(hidden, hidden, kernel=3, stride=stride, groups=hidden),
                *convolution(hidden, outputs, linear=True),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            filtered: torch.Tensor = self.layers(x)
            return x + filtered if self.shortcut else filtered

    class MobileNetV2(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = convolution(3, FIRST_CHANNELS, kernel=3, stride=2)
            channels = FIRST_CHANNELS
            for expansion, outputs, repeats, first_stride in BLOCKS:
                for repeat in range(repeats):
                    stride = first_stride if repeat == 0 else 1
                    layers.append(InvertedResidual(channels, outputs, stride, expansion))
                    channels = outputs
            self.features = nn.Sequential(*layers, *convolution(channels, LAST_CHANNELS))
            self.classifier = nn.Linear(LAST_CHANNELS, CLASSES)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.classifier(self.features(image).mean(dim=(2, 3)))
            return logits

    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)

    network = MobileNetV2()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS

    normalisations = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [module.momentum for module in normalisations]
    for module in normalisations:
        module.momentum = None  # the plain mean over all batches
    images = torch.from_numpy(_smooth_images(WARM_UP_SEED, WARM_UP_BATCHES * WARM_UP_BATCH))
    network.train()
    with torch.no_grad():
        for batch in images.split(WARM_UP_BATCH):
            network(batch)
    for module, momentum in zip(normalisations, momenta, strict=True):
        module.momentum = momentum
    return network.eval().requires_grad_(False)


def calibration() -> Arrays:
    """16 smooth random images: `image` is `(16, 1, 3, 224, 224)` float32 in -1..1."""
    return {"image": _smooth_images(CALIBRATION_SEED, CALIBRATION_IMAGES)[:, None]}


model = Model(
    name="mobilenet_v2",
    source="pytorch",
    build=build,
    inputs=(TensorSpec("image", (1, 3, SIZE, SIZE), "float32", layout="NCHW"),),
    outputs=("logits",),
    calibration=calibration,
    metric=None,
    no_metric_because="its weights are random: it is here for latency and size only",
    depends_on=("torch",),
    origin="Architecture of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), random weights made here",
    licence="Apache-2.0",
)
