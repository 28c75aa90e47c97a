"""Model: a trained source model, with the data that quantizes and judges it.

A model is either a folder with a `model.py` that says

    model = Model(name="digits_cnn", source="pytorch", build=build, inputs=(TensorSpec(...),), ...)

or a single file that needs no code around it (`net.pt2`), for which the command line takes `--calibration data.npz`.
What the fields hold is described at the class; the functions among them run in a worker process, so heavy packages
are imported inside them and `model.py` itself must import fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgekit.dimensions import dimensions
from edgekit.errors import ModelError
from edgekit.specs import is_model_name

if TYPE_CHECKING:
    import numpy as np

    from edgekit.specs import TensorSpec

Arrays = Mapping[str, "np.ndarray"]


@dataclass(frozen=True)
class Evaluation:
    """Held-out data: inputs by name, each `(n, *shape)` or `(n, *shape[1:])`, and `n` targets for the metric."""

    inputs: Arrays
    targets: np.ndarray


@dataclass(frozen=True)
class Metric:
    """The model's own measure of quality.

    Args:
        name: as shown in tables, such as "accuracy".
        compute: `(outputs, targets) -> float`; outputs by name, each of shape `(n, *output shape)`.
        higher_is_better: whether a fall is a loss.
        unit: "%" shows the value times 100; "" as it is.
    """

    name: str
    compute: Callable[[Arrays, np.ndarray], float]
    higher_is_better: bool = True
    unit: str = "%"


@dataclass(frozen=True)
class Watch:
    """How an input or output is watched for drift, where the default does not fit; or a number of the model's own.

    Args:
        kind: number, category, row, image, audio, tokens, embedding, scores or array; "" for what it looks like.
        summaries: those of its kind that are wanted (`edgekit.telemetry.reporter.summaries`); empty for the defaults.
        channel_axis: of an image, counted from the end: -1 or -3.
        low, high: the ends of its scale, for saturation.
        valid: the smallest and largest possible value of a number, None for open.
        compute: for a number or category of the model's own: `(inputs, outputs) -> (n,)`, both by name. The program
            on the device computes the same and hands it to the reporter under this name.
    """

    kind: str = ""
    summaries: tuple[str, ...] = ()
    channel_axis: int | None = None
    low: float | None = None
    high: float | None = None
    valid: tuple[float | None, float | None] | None = None
    compute: Callable[[Arrays, Arrays], np.ndarray] | None = None


@dataclass(frozen=True)
class Model:
    """A source model.

    Args:
        name: identifies the model on devices and in results: letters, digits, `_`, `-`, `.`.
        source: which loader understands what `build` returns (entry-point group `edgekit.sources`).
        build: returns the trained model, ready for inference, such as a `torch.nn.Module` in eval mode.
        inputs: every input, in the order of the model's arguments. A `Dim` in a shape is an axis that varies
            (`edgekit.dimensions`); data have its nominal size.
        outputs: names of the outputs in their order; shapes and dtypes are found by running the model.
        calibration: representative inputs by name, for static quantization and for the drift reference.
        evaluation: held-out data for the metric and for parity; without it the last fifth of the calibration data is
            held out of the calibration and used for parity alone.
        metric: how good outputs are; `None` gives the reason in `no_metric_because`.
        depends_on: names of installed distributions whose version changes what `build` or the data are.
        files: other files (weights) that belong to the source, hashed with it; relative to the model's folder.
        features: what is watched for drift, by the name of an input or output; None: not watched. What is not named
            is watched by default. Another name is a number of the model's own, with `compute`.
        labels: by an output's name, what the entries of its last axis stand for, such as its classes, in their order.
            They travel in the manifest and in bundles; one a line, so a label has no line break.
        origin, licence: where the model comes from, and under what terms.
    """

    name: str
    source: str
    build: Callable[[], Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...] = ("output",)
    calibration: Callable[[], Arrays] | None = None
    evaluation: Callable[[], Evaluation] | None = None
    metric: Metric | None = None
    no_metric_because: str = "the model declares no metric"
    depends_on: tuple[str, ...] = ()
    files: tuple[str, ...] = field(default=())
    features: Mapping[str, Watch | None] = field(default_factory=dict)
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    origin: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if not is_model_name(self.name):
            raise ModelError(
                f"The model name {self.name!r} cannot be used in paths on a device.",
                remedy="Use letters, digits, '_', '-' and '.', and begin with a letter or digit.",
            )
        names = [spec.name for spec in self.inputs]
        if not names or len(set(names)) != len(names):
            raise ModelError(
                f"Model {self.name!r} declares the inputs {names}.", remedy="Give each of its inputs one name."
            )
        dimensions(self.inputs)
        self._check_labels()
        if self.metric is not None and self.evaluation is None:
            raise ModelError(
                f"Model {self.name!r} has a metric but no evaluation data.",
                remedy="Add `evaluation=`, or drop the metric and say why in `no_metric_because`.",
            )

    def _check_labels(self) -> None:
        for name, labels in self.labels.items():
            if name not in self.outputs:
                raise ModelError(
                    f"Model {self.name!r} has labels for {name!r}, which is none of its outputs.",
                    remedy=f"Name one of {', '.join(self.outputs)}.",
                )
            if isinstance(labels, str) or not all(
                isinstance(label, str) and label.strip() and len(label.splitlines()) == 1 for label in labels
            ):
                raise ModelError(
                    f"Model {self.name!r} has labels for {name!r} that are not texts of one line each.",
                    remedy="Give a list of texts, one for each entry of the output's last axis, none of them empty.",
                )
