"""The data of a conversion: what calibrates, and what is held out to judge it."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import DataError
from edgekit.specs import arrays_sha256, stack_all

if TYPE_CHECKING:
    import numpy as np

    from edgekit.model import Arrays, Model

RANDOM_SAMPLES = 16
SEED = 20261124


def calibration_of_model(model: Model, file: str | None) -> dict[str, np.ndarray] | None:
    """By input, arrays `(n, *shape)`: from the `.npz` file, if one is given, else the model's own; None without either.

    Raises:
        DataError: the file cannot be read, or the data do not fit the model.
    """
    if file is not None:
        return stack_all(model.inputs, _read_npz(Path(file)), what=f"calibration data in {Path(file).name}")
    if model.calibration is None:
        return None
    return stack_all(model.inputs, model.calibration(), what=f"calibration data of model {model.name!r}")


def _read_npz(path: Path) -> Arrays:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                return {"array": archive}
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as calibration data: {error}.",
            remedy="Write it with numpy.savez(path, input_name=array), without Python objects.",
        ) from error


@dataclass(frozen=True)
class HeldOut:
    """What parity and metric are judged on: inputs by name, `(n, *shape)`; targets, if any; what it is, in words."""

    inputs: dict[str, np.ndarray]
    targets: np.ndarray | None
    said: str

    def sha256(self) -> str:
        """Over the inputs and the targets."""
        return arrays_sha256([*self.inputs.values(), *([] if self.targets is None else [self.targets])])


def held_out_data(model: Model) -> HeldOut:
    """What is held out when a model of a folder is converted; runs its code in this process.

    Raises:
        DataError: the data do not fit the model, or it has none.
    """
    return hold_out(model, None if model.evaluation is not None else calibration_of_model(model, None))[0]


def hold_out(model: Model, calibration: dict[str, np.ndarray] | None) -> tuple[HeldOut, dict[str, np.ndarray] | None]:
    """What is held out, and the calibration data that remain.

    Raises:
        DataError: the data do not fit the model, or it has none.
    """
    import numpy as np

    if model.evaluation is not None:
        evaluation = model.evaluation()
        held_out = stack_all(model.inputs, evaluation.inputs, what=f"evaluation data of model {model.name!r}")
        count = len(next(iter(held_out.values())))
        targets = np.asarray(evaluation.targets)
        if len(targets) != count:
            raise DataError(
                f"The evaluation data of model {model.name!r} have {count} inputs and {len(targets)} targets.",
                remedy="Give one target an input.",
            )
        return HeldOut(held_out, targets, f"{count} evaluation samples"), calibration
    if calibration is None:
        if any(not spec.dtype.startswith("float") for spec in model.inputs):
            raise DataError(
                f"Model {model.name!r} takes integers and brings no data: random ones would mean nothing to it.",
                remedy="Give --calibration data.npz.",
            )
        random = np.random.default_rng(SEED)
        held_out = {
            spec.name: random.standard_normal((RANDOM_SAMPLES, *spec.shape)).astype(spec.dtype) for spec in model.inputs
        }
        return HeldOut(held_out, None, f"{RANDOM_SAMPLES} random inputs (no calibration data were given)"), None
    count = len(next(iter(calibration.values())))
    if count == 1:
        return HeldOut(calibration, None, "the only calibration sample, which also calibrated"), calibration
    kept = count - max(1, count // 5)
    held_out = {name: array[kept:] for name, array in calibration.items()}
    remaining = {name: array[:kept] for name, array in calibration.items()}
    return HeldOut(held_out, None, f"{count - kept} samples held out of the calibration data"), remaining
