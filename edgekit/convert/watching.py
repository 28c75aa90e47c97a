"""The drift reference of a model, made in the source step from its calibration data and the source's own answers.

It belongs to the model and not to one artifact: all of them count over the same cells, so that their windows can be
compared and added up (docs/decisions/0027-one-reference-for-all-artifacts.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.errors import ModelError
from edgekit.telemetry.reporter.errors import InvalidReference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.model import Model
    from edgekit.specs import TensorSpec

DRIFT_REFERENCE = "reference.json"
MOST_SAMPLES = 2000
"""Of the calibration data, the first so many: each costs one inference of the source."""
NO_CALIBRATION = "the model brings no calibration data"
NOTHING_WATCHED = "the model has nothing watched (`features`)"


def write_drift_reference(
    model: Model,
    samples: Mapping[str, np.ndarray] | None,
    outputs: Sequence[TensorSpec],
    answers: Callable[[list[np.ndarray]], list[np.ndarray]],
    work: Path,
) -> tuple[str | None, int, str | None]:
    """Writes `reference.json` into the source step's folder.

    Args:
        model: its inputs, and what it says of its `features`.
        samples: calibration data by input, `(n, *shape)`.
        outputs: the specs of the outputs.
        answers: the source: a list of inputs `(n, *shape)` to a list of outputs `(n, *shape)`.
        work: the step's folder.

    Returns:
        The reference's id, its samples, and, where there is none, the reason.

    Raises:
        ModelError, DataError: `features` do not fit.
    """
    from edgekit.telemetry.references.tensors import reference_of_model

    if samples is None:
        return None, 0, NO_CALIBRATION
    given = [samples[spec.name][:MOST_SAMPLES] for spec in model.inputs]
    found = answers(given)
    try:
        reference = reference_of_model(
            model.name,
            list(zip(model.inputs, given, strict=True)),
            list(zip(outputs, found, strict=True)),
            model.features,
            f"calibration data of {model.name}, {len(given[0])} samples",
        )
    except InvalidReference as error:
        raise ModelError(
            f"No drift reference can be made of model {model.name!r}: {error}.",
            remedy="Say what its tensors are with `features=` in model.py.",
        ) from error
    if reference is None:
        return None, 0, NOTHING_WATCHED
    (work / DRIFT_REFERENCE).write_bytes(reference.to_json())
    return reference.id, len(given[0]), None
