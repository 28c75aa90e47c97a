"""digits_cnn: a small convolutional network that reads handwritten digits, trained here in a few seconds.

The data are scikit-learn's `load_digits`: 1797 images of 8×8 pixels, the test set of "Optical Recognition of
Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998, UCI Machine Learning Repository, doi 10.24432/C50P49).
The network is a LeNet in miniature (LeCun, Bottou, Bengio, Haffner 1998, "Gradient-Based Learning Applied
to Document Recognition"). On one machine and one version of PyTorch, two builds give the same weights bit
by bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.model import Arrays, Evaluation, Metric, Model
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from torch import nn

SEED = 20_240_817
IMAGES = 1797
TRAIN_IMAGES = 1437
"""The other 360 are held out: neither training nor calibration sees them."""
CALIBRATION_IMAGES = 200
EPOCHS = 30
BATCH = 64
LEARNING_RATE = 1e-3


def _split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The data set, shuffled once by `SEED` and cut in two.

    Returns:
        Training images, training labels, held-out images, held-out labels. Images are `(n, 1, 8, 8)`
        float32 from 0 (paper) to 1 (ink); labels are `(n,)` int64 from 0 to 9.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]  # 0..16 counts the set pixels of a 4×4 block
    labels = digits.target.astype(np.int64)
    assert len(images) == IMAGES
    order = np.random.default_rng(SEED).permutation(IMAGES)
    train, held_out = order[:TRAIN_IMAGES], order[TRAIN_IMAGES:]
    return images[train], labels[train], images[held_out], labels[held_out]


def _network() -> nn.Sequential:
    """The untrained network: `(n, 1, 8, 8)` to logits `(n, 10)`, float32; 38,282 parameters, 153 KB."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def build() -> nn.Sequential:
    """Trains the network with Adam (Kingma, Ba 2015) on the cross-entropy, and returns it in eval mode.

    Seeds PyTorch, asks it for deterministic algorithms and sets it to one thread, for the whole process:
    the order in which floats are summed must not depend on the machine's cores.
    """
    import torch
    from torch import nn

    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)

    train_images, train_labels, _, _ = _split()
    images, labels = torch.from_numpy(train_images), torch.from_numpy(train_labels)
    network = _network().train()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    loss_of = nn.CrossEntropyLoss()
    shuffler = np.random.default_rng(SEED + 1)
    for _ in range(EPOCHS):
        order = torch.from_numpy(shuffler.permutation(len(images)))
        for batch in order.split(BATCH):
            optimizer.zero_grad()
            loss_of(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    return network.eval().requires_grad_(False)


def calibration() -> Arrays:
    """The first 200 training images: `image` is `(200, 1, 8, 8)` float32 in 0..1."""
    train_images, _, _, _ = _split()
    return {"image": train_images[:CALIBRATION_IMAGES]}


def evaluation() -> Evaluation:
    """The 360 held-out images, `(360, 1, 8, 8)` float32 in 0..1, and their labels, `(360,)` int64."""
    _, _, images, labels = _split()
    return Evaluation(inputs={"image": images}, targets=labels)


def accuracy(outputs: Arrays, targets: np.ndarray) -> float:
    """Top-1 accuracy: the share of images, 0..1, whose largest logit is the label's.

    Args:
        outputs: `logits`, `(n, 1, 10)` or `(n, 10)`, any float dtype.
        targets: labels, `(n,)`, integers from 0 to 9.
    """
    logits = np.asarray(outputs["logits"]).reshape(len(targets), 10)
    return float(np.mean(logits.argmax(axis=1) == targets))


model = Model(
    name="digits_cnn",
    source="pytorch",
    build=build,
    inputs=(TensorSpec("image", (1, 1, 8, 8), "float32", layout="NCHW"),),
    outputs=("logits",),
    calibration=calibration,
    evaluation=evaluation,
    metric=Metric("accuracy", accuracy),
    labels={"logits": tuple("0123456789")},
    depends_on=("torch", "scikit-learn"),
    origin="Trained here on scikit-learn's load_digits (UCI Optical Recognition of Handwritten Digits, 1998)",
    licence="Apache-2.0 (code, weights); data set CC BY 4.0 (UCI), shipped with scikit-learn (BSD-3-Clause)",
)
