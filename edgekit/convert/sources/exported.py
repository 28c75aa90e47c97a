"""`torch.export` program files (`.pt2`): a model without any code around it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from edgekit.convert.sources.base import Reference, Source
from edgekit.convert.sources.pytorch import PROGRAM, reference_of
from edgekit.errors import ModelError
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
    exports = "torch-export"
    distributions = ("torch",)
    extra = "torch"

    def open_file(self, path: Path, name: str, shown: str) -> Model:
        import torch

        try:
            program = torch.export.load(path)
        except Exception as error:  # torch raises what it likes here; the user gets its first line
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(
                f"{shown} cannot be read as a torch.export program: {first}.",
                remedy=f"Write it with torch.export.save and a torch no newer than the one here ({torch.__version__}).",
            ) from error
        values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
        inputs = []
        for given in program.graph_signature.user_inputs:
            value = values.get(given)
            if not isinstance(value, torch.Tensor):
                raise ModelError(
                    f"Input {given!r} of {shown} is not a tensor.", remedy="Export it with tensor inputs only."
                )
            if any(not isinstance(size, int) for size in value.shape):
                raise ModelError(
                    f"Input {given!r} of {shown} has a dynamic shape, {tuple(value.shape)}.",
                    remedy="Export it with static shapes: dynamic ones are not supported yet.",
                )
            inputs.append(TensorSpec(given, tuple(value.shape), str(value.dtype).removeprefix("torch.")))
        count = len(program.graph_signature.user_outputs)
        return Model(
            name=name,
            source=self.name,
            build=lambda: path,
            inputs=tuple(inputs),
            outputs=("output",) if count == 1 else tuple(f"output_{i}" for i in range(count)),
            no_metric_because="a model file brings no evaluation data",
        )

    def export(self, model: Model, sample: Sequence[np.ndarray], folder: Path) -> Reference:
        import torch

        path = model.build()
        shutil.copyfile(path, folder / PROGRAM)
        reference = reference_of(torch.export.load(path).module())
        try:
            reference(sample)
        except Exception as error:  # torch raises what it likes here; the user gets its first line
            raise ModelError(
                f"The program of model {model.name!r} fails: {error}.", remedy="Export it anew."
            ) from error
        return reference
