"""Model: a trained source model, with the data that quantizes and judges it.

A model is either a folder with a `model.py` that says

    model = Model(name="digits_cnn", source="pytorch", build=build, inputs=(TensorSpec(...),), ...)

or a single file that needs no code around it (`net.pt2`), for which the command line takes `--calibration data.npz`.
What the fields hold is described at the class; the functions among them run in a worker process, so heavy packages
are imported inside them and `model.py` itself must import fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
        if self.metric is not None and self.evaluation is None:
            raise ModelError(
                f"Model {self.name!r} has a metric but no evaluation data.",
                remedy="Add `evaluation=`, or drop the metric and say why in `no_metric_because`.",
            )
