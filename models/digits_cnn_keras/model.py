"""digits_cnn_keras: the network of models/digits_cnn in Keras, trained on the same images by the same schedule.

The data are scikit-learn's `load_digits`: 1797 images of 8×8 pixels, the test set of "Optical Recognition of
Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998, UCI Machine Learning Repository, doi 10.24432/C50P49).
Images are NHWC, as TensorFlow has them. On one machine and one version of TensorFlow, two builds give the same
weights bit by bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.model import Arrays, Evaluation, Metric, Model
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    import keras

SEED = 20_240_817
IMAGES = 1797
TRAIN_IMAGES = 1437
"""The other 360 are held out: neither training nor calibration sees them."""
CALIBRATION_IMAGES = 200
EPOCHS = 30
BATCH = 64
LEARNING_RATE = 1e-3


def _split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The data set, shuffled once by `SEED` and cut in two, as in models/digits_cnn.

    Returns:
        Training images, training labels, held-out images, held-out labels. Images are `(n, 8, 8, 1)`
        float32 from 0 (paper) to 1 (ink); labels are `(n,)` int64 from 0 to 9.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[..., None]  # 0..16 counts the set pixels of a 4×4 block
    labels = digits.target.astype(np.int64)
    assert len(images) == IMAGES
    order = np.random.default_rng(SEED).permutation(IMAGES)
    train, held_out = order[:TRAIN_IMAGES], order[TRAIN_IMAGES:]
    return images[train], labels[train], images[held_out], labels[held_out]


def build() -> keras.Model:
    """Trains the network with Adam (Kingma, Ba 2015) on the cross-entropy: `(n, 8, 8, 1)` to logits `(n, 10)`.

    Seeds Python, NumPy and TensorFlow, and asks TensorFlow for deterministic operators and one thread, for the
    whole process: the order in which floats are summed must not depend on the machine's cores.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(SEED)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()

    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="convolution_1"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="convolution_2"),
            layers.MaxPooling2D(2, name="pooling"),
            layers.Flatten(name="flatten"),
            layers.Dense(64, activation="relu", name="dense"),
            layers.Dense(10, name="logits"),
        ],
        name="digits_cnn_keras",
    )
    network.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    images, labels, _, _ = _split()
    network.fit(images, labels, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    return network


def calibration() -> Arrays:
    """The first 200 training images: `image` is `(200, 8, 8, 1)` float32 in 0..1."""
    train_images, _, _, _ = _split()
    return {"image": train_images[:CALIBRATION_IMAGES]}


def evaluation() -> Evaluation:
    """The 360 held-out images, `(360, 8, 8, 1)` float32 in 0..1, and their labels, `(360,)` int64."""
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
    name="digits_cnn_keras",
    source="keras",
    build=build,
    inputs=(TensorSpec("image", (1, 8, 8, 1), "float32", layout="NHWC"),),
    outputs=("logits",),
    calibration=calibration,
    evaluation=evaluation,
    metric=Metric("accuracy", accuracy),
    labels={"logits": tuple("0123456789")},
    depends_on=("tensorflow", "keras", "scikit-learn"),
    origin="Trained here on scikit-learn's load_digits (UCI Optical Recognition of Handwritten Digits, 1998)",
    licence="Apache-2.0 (code, weights); data set CC BY 4.0 (UCI), shipped with scikit-learn (BSD-3-Clause)",
)
