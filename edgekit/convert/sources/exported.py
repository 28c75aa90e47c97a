"""`torch.export` program files (`.pt2`): a model without any code around it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from edgekit.convert.programs import hold_program, save_program
from edgekit.convert.sources.base import PROGRAM, Reference, Shapes, Source, fixed_shape
from edgekit.convert.sources.pytorch import dynamic_shapes, not_varying, reference_of
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
    varies = ("torch-export",)

    def open_file(self, path: Path, name: str, shown: str, shapes: Shapes) -> Model:
        program = _load(path, shown)
        values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
        called: dict[str, str] = {}
        inputs = tuple(
            _spec(given, values.get(given), shown, shapes, called) for given in program.graph_signature.user_inputs
        )
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
        if program.range_constraints:  # exported anew with what was fixed, or within the bounds that were given
            arguments = tuple(torch.from_numpy(array.copy()) for array in sample)
            open_sizes = dynamic_shapes(model.inputs)
            try:
                exported = torch.export.export(program.module(), arguments, dynamic_shapes=open_sizes)
            except Exception as error:  # likewise
                if open_sizes is None:
                    raise
                raise not_varying(model, error) from error
            save_program(exported, folder / PROGRAM)
        else:
            shutil.copyfile(path, folder / PROGRAM)
            hold_program(program, folder / PROGRAM)
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


def _spec(name: str, value: Any, shown: str, shapes: Shapes, called: dict[str, str]) -> TensorSpec:
    """The spec of an input. `called` gives axes of one symbol in the program one name, that of the first of them."""
    import torch

    if not isinstance(value, torch.Tensor):
        raise ModelError(f"Input {name!r} of {shown} is not a tensor.", remedy="Export it with tensor inputs only.")
    declared = tuple(size if isinstance(size, int) else None for size in value.shape)
    names = [
        None if isinstance(size, int) else called.setdefault(str(size), f"{name}_{i}")
        for i, size in enumerate(value.shape)
    ]
    shape = fixed_shape(name, declared, shown, shapes, names)
    return TensorSpec(name, shape, str(value.dtype).removeprefix("torch."))
