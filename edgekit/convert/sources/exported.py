"""`torch.export` program files (`.pt2`): a model without any code around it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from edgekit.convert.sources.base import PROGRAM, Reference, Shapes, Source, fixed_shape
from edgekit.convert.sources.pytorch import reference_of
from edgekit.errors import ModelError, first_line
from edgekit.model import Model
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np


class ExportedProgramFile(Source):
    """A file that `torch.export.save` wrote. Inputs are named after the arguments of the exported forward."""

    name = "exported"
    suffixes = (".pt2",)
    exports = ("torch-export",)
    distributions = ("torch",)
    extra = "torch"

    def open_file(self, path: Path, name: str, shown: str, shapes: Shapes) -> Model:
        program = _load(path, shown)
        values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
        inputs = tuple(_spec(given, values.get(given), shown, shapes) for given in program.graph_signature.user_inputs)
        count = len(program.graph_signature.user_outputs)
        return Model(
            name=name,
            source=self.name,
            build=lambda: path,
            inputs=inputs,
            outputs=("output",) if count == 1 else tuple(f"output_{i}" for i in range(count)),
            no_metric_because="a model file brings no evaluation data",
        )

    def export(self, model: Model, sample: Sequence[np.ndarray], folder: Path) -> Reference:
        import torch

        path = model.build()
        program = torch.export.load(path)
        reference = reference_of(program.module())
        try:
            reference(sample)
        except Exception as error:  # torch raises what it likes here; the user gets its first line
            raise ModelError(
                f"The program of model {model.name!r} fails: {error}.", remedy="Export it anew."
            ) from error
        if program.range_constraints:  # formats read static shapes
            arguments = tuple(torch.from_numpy(array.copy()) for array in sample)
            torch.export.save(torch.export.export(program.module(), arguments), folder / PROGRAM)
        else:
            shutil.copyfile(path, folder / PROGRAM)
        return reference


def _load(path: Path, shown: str) -> Any:
    import torch

    try:
        return torch.export.load(path)
    except Exception as error:  # torch raises what it likes here; the user gets its first line
        raise ModelError(
            f"{shown} cannot be read as a torch.export program: {first_line(error)}.",
            remedy=f"Write it with torch.export.save and a torch no newer than the one here ({torch.__version__}).",
        ) from error


def _spec(name: str, value: Any, shown: str, shapes: Shapes) -> TensorSpec:
    import torch

    if not isinstance(value, torch.Tensor):
        raise ModelError(f"Input {name!r} of {shown} is not a tensor.", remedy="Export it with tensor inputs only.")
    declared = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(name, fixed_shape(name, declared, shown, shapes), str(value.dtype).removeprefix("torch."))
