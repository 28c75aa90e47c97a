"""Models of a wanted latency, for benchmarks of the harness: stacks of convolutions.

    python benchmarks/sized_models.py FOLDER [--layers 2 20]

Writes FOLDER/stack_N.pt2 (`torch.export`) with its calibration data for each number of layers, converts it to
tflite:float32 and prints where the artifact is. A layer is a 3 x 3 convolution of 64 channels on 56 x 56 pixels, 116
million multiplications: about 5 ms in LiteRT on one thread of the machine that the figures of README.md are from. So
two layers take about 10 ms and twenty about 100 ms; for about 1 ms take models/crepe_tiny.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

SIZE, CHANNELS = 56, 64


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 20])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    for layers in options.layers:
        path = options.folder / f"stack_{layers}.pt2"
        torch.export.save(torch.export.export(_stack(layers), (torch.zeros(1, 3, SIZE, SIZE),)), path)
        data = path.with_suffix(".npz")
        np.savez(data, x=np.random.default_rng(0).standard_normal((10, 1, 3, SIZE, SIZE), dtype=np.float32))
        command = [sys.executable, "-m", "edgekit", "convert", str(path), "--calibration", str(data), "--to",
                   "tflite:float32", "--out", str(options.folder / "artifacts")]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        print(options.folder / "artifacts" / f"stack_{layers}" / "tflite-float32", flush=True)


def _stack(layers: int) -> nn.Module:
    """`x` (1, 3, 56, 56) float32 to (1, 64, 56, 56); weights that keep the signal's size from layer to layer."""
    parts: list[nn.Module] = [nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU()]
    for _ in range(layers):
        convolution = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        nn.init.kaiming_normal_(convolution.weight)
        parts += [convolution, nn.ReLU()]
    return nn.Sequential(*parts).eval().requires_grad_(False)


if __name__ == "__main__":
    main()
