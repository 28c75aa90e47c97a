"""Models' tensors as features: what each is taken for, what a model can say, and digits with noise, blur, rotation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.convert.load import import_model
from edgekit.errors import DataError, ModelError
from edgekit.model import Watch
from edgekit.specs import TensorSpec
from edgekit.telemetry.drift.judge import judge
from edgekit.telemetry.drift.layout import Layout
from edgekit.telemetry.references.columns import counts_of
from edgekit.telemetry.references.tensors import reference_of_model, tensor_of
from edgekit.telemetry.reporter.summaries import summarise

if TYPE_CHECKING:
    from edgekit.telemetry.drift.verdict import FeatureVerdict
    from edgekit.telemetry.reporter.reference import Reference

REPOSITORY = Path(__file__).parents[3]
RNG = np.random.default_rng(1)
SOUND = np.cumsum(RNG.normal(size=(20, 1, 512)), axis=-1).astype("float32")


@pytest.mark.parametrize(
    ("spec", "array", "role", "kind"),
    [
        (TensorSpec("x", (1, 3, 16, 16), layout="NCHW"), RNG.random((20, 1, 3, 16, 16)), "input", "image"),
        (TensorSpec("x", (1, 16, 16, 3)), RNG.random((20, 1, 16, 16, 3)), "input", "image"),
        (TensorSpec("x", (1, 48), "int64"), RNG.integers(0, 99, (20, 1, 48)), "input", "tokens"),
        (TensorSpec("x", (1, 12)), RNG.random((20, 1, 12)), "input", "row"),
        (TensorSpec("x", (1, 512)), SOUND, "input", "audio"),
        (TensorSpec("x", (1, 512)), RNG.normal(size=(20, 1, 512)), "input", "embedding"),
        (TensorSpec("x", (1, 1)), RNG.random((20, 1, 1)), "input", "number"),
        (TensorSpec("x", (1, 9, 9)), RNG.random((20, 1, 9, 9)), "input", "image"),
        (TensorSpec("x", (1, 5, 9)), RNG.random((20, 1, 5, 9)), "input", "array"),
        (TensorSpec("y", (1, 10)), RNG.normal(size=(20, 1, 10)), "output", "scores"),
        (TensorSpec("y", (1, 7, 10)), RNG.normal(size=(20, 1, 7, 10)), "output", "array"),
    ],
)
def test_what_a_tensor_is_taken_for(spec: TensorSpec, array: np.ndarray, role: str, kind: str) -> None:
    tensor = tensor_of(spec, array, role)
    assert tensor.kind == kind
    reference = reference_of_model(
        "m", [(spec, array)] if role == "input" else [], [(spec, array)] if role == "output" else [], {}, "test"
    )
    assert reference is not None
    assert len(reference.features) <= 16
    assert {feature.tensor for feature in reference.features} == {spec.name}


def test_images_know_their_channels_and_their_scale() -> None:
    spec = TensorSpec("x", (1, 3, 8, 8), "uint8", layout="NCHW")
    tensor = tensor_of(spec, RNG.integers(0, 200, (9, 1, 3, 8, 8)).astype("uint8"), "input")
    assert (tensor.channel_axis, tensor.low, tensor.high) == (-3, 0, 255)
    scores = tensor_of(TensorSpec("y", (1, 4)), RNG.dirichlet(np.ones(4), 9)[:, None], "output")
    assert (scores.low, scores.high) == (0, 1)
    logits = tensor_of(TensorSpec("y", (1, 4)), RNG.normal(size=(9, 1, 4)), "output")
    assert (logits.low, logits.high) == (None, None)


def _made(features: dict[str, Watch | None]) -> Reference | None:
    x, y = TensorSpec("x", (1, 8, 8, 1)), TensorSpec("y", (1, 3))
    arrays = RNG.random((300, 1, 8, 8, 1)), RNG.normal(size=(300, 1, 3))
    return reference_of_model("m", [(x, arrays[0])], [(y, arrays[1])], features, "test")


def test_a_model_says_what_is_watched() -> None:
    reference = _made({
        "x": Watch("image", summaries=("mean", "sharpness")),
        "y": None,
        "glare": Watch("number", valid=(0, 1), compute=lambda inputs, outputs: inputs["x"].max(axis=(1, 2, 3, 4))),
        "side": Watch("category", compute=lambda inputs, outputs: np.where(outputs["y"][:, 0, 0] > 0, "left", "right")),
    })  # fmt: skip
    assert reference is not None
    assert [f.name for f in reference.features] == ["x.mean", "x.sharpness", "glare", "side"]
    glare = reference.features[2]
    assert (glare.summary, glare.tensor, glare.valid_min, glare.valid_max) == ("value", "glare", 0, 1)
    assert [t.name for t in reference.tensors] == ["x", "glare", "side"]
    assert _made({"x": None, "y": None}) is None


@pytest.mark.parametrize(
    ("features", "match"),
    [
        ({"z": Watch("number")}, "'z', which is no input or output"),
        ({"x": Watch("picture")}, "has the kind 'picture'"),
        ({"x": Watch("image", summaries=("loudness",))}, "the summaries loudness"),
        ({"g": Watch("number", compute=lambda inputs, outputs: np.zeros(2))}, r"gave shape \(2,\) for 300 samples"),
    ],
)
def test_what_does_not_fit_is_refused(features: dict[str, Watch | None], match: str) -> None:
    with pytest.raises(ModelError, match=match):
        _made(features)


def test_samples_that_cannot_be_summarised_are_refused() -> None:
    with pytest.raises((DataError, ModelError)):
        reference_of_model(
            "m", [(TensorSpec("x", (1, 4)), RNG.random((9, 1, 4)))], [], {"x": Watch("image", channel_axis=-3)}, "test"
        )


@pytest.fixture(scope="module")
def digits() -> Callable[[np.ndarray | None], dict[str, FeatureVerdict]]:
    """Judges held-out digits, or other images, against the reference of the model's calibration images."""
    import torch

    model = import_model(REPOSITORY / "models/digits_cnn")
    network = model.build()
    assert model.calibration is not None
    assert model.evaluation is not None

    def answers(images: np.ndarray) -> np.ndarray:
        return np.asarray(network(torch.from_numpy(images)).numpy()[:, None])

    images = np.asarray(model.calibration()["image"])
    held_out = np.asarray(model.evaluation().inputs["image"])
    specs = TensorSpec("image", (1, 1, 8, 8), layout="NCHW"), TensorSpec("logits", (1, 10))
    reference = reference_of_model("digits", [(specs[0], images[:, None])], [(specs[1], answers(images))], {}, "")
    assert reference is not None

    def verdicts(changed: np.ndarray | None = None) -> dict[str, FeatureVerdict]:
        seen = (held_out if changed is None else changed).astype("float32")
        windows = []
        for feature in reference.features:
            tensor = next(t for t in reference.tensors if t.name == feature.tensor)
            rows = summarise(tensor, [feature.summary], seen if tensor.role == "input" else answers(seen), numpy=np)
            windows.append(counts_of(feature, [row[0] for row in rows]))
        return {v.feature: v for v in judge(Layout(reference.features), windows)}

    verdicts.held_out = held_out  # type: ignore[attr-defined]
    return verdicts


def _drifted(verdicts: dict[str, FeatureVerdict]) -> set[str]:
    return {name for name, verdict in verdicts.items() if verdict.outcome == "drift"}


def test_held_out_digits_are_quiet(digits: Callable[..., dict[str, FeatureVerdict]]) -> None:
    found = digits()
    assert _drifted(found) == set()
    assert {"image.sharpness", "logits.class", "logits.confidence"} <= set(found)
    assert all(verdict.outcome == "quiet" for verdict in found.values())


def test_noise_blur_and_rotation_are_named(digits: Callable[..., dict[str, FeatureVerdict]]) -> None:
    from scipy import ndimage

    images = digits.held_out  # type: ignore[attr-defined]
    noisy = np.clip(images + np.random.default_rng(3).normal(0, 0.25, images.shape), 0, 1)
    assert "image.sharpness" in _drifted(digits(noisy))
    blurred = ndimage.gaussian_filter(images, sigma=(0, 0, 1, 1))
    assert {"image.sharpness", "image.std"} <= _drifted(digits(blurred))
    turned = np.rot90(images, axes=(2, 3)).copy()
    by_turning = _drifted(digits(turned))
    assert by_turning & {"logits.confidence", "logits.margin", "logits.entropy", "logits.class"}
    assert not by_turning & {"image.mean", "image.std"}
