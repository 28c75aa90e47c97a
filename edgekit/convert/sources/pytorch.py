"""PyTorch modules: `build` returns a `torch.nn.Module`, which is exported with `torch.export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.sources.base import PROGRAM, Reference, Source
from edgekit.errors import ModelError, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.model import Model


def reference_of(module: Any) -> Reference:
    """Runs a module (or a loaded program's module) on one sample without gradients."""
    import torch

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            result = module(*(torch.from_numpy(array.copy()) for array in arrays))
        leaves = torch.utils._pytree.tree_leaves(result)  # noqa: SLF001 - the order that torch.export itself uses
        return [leaf.detach().cpu().numpy() for leaf in leaves]

    return run


class PyTorchModule(Source):
    """A `torch.nn.Module`."""

    name = "pytorch"
    exports = ("torch-export",)
    distributions = ("torch",)
    extra = "torch"

    def export(self, model: Model, sample: Sequence[np.ndarray], folder: Path) -> Reference:
        import torch

        module = model.build()
        if not isinstance(module, torch.nn.Module):
            raise ModelError(
                f"build() of model {model.name!r} returned {type(module).__name__}, not a torch.nn.Module.",
                remedy="Return the module itself, with its weights loaded.",
            )
        module = module.eval().cpu()
        reference = reference_of(module)
        try:
            reference(sample)
        except Exception as error:  # torch raises what it likes here; the user gets its first line
            shapes = ", ".join(f"{spec.name} {spec.describe()}" for spec in model.inputs)
            raise ModelError(
                f"The forward pass of model {model.name!r} fails on {shapes}: {type(error).__name__}: {error}.",
                remedy="Check that the input specs in model.py match the network.",
            ) from error
        arguments = tuple(torch.from_numpy(array.copy()) for array in sample)
        try:
            program = torch.export.export(module, arguments)
        except Exception as error:  # torch raises what it likes here; the user gets its first line
            raise ModelError(
                f"torch.export cannot trace model {model.name!r}: {first_line(error)}.",
                remedy="The log holds the whole explanation; control flow that depends on data is the usual cause.",
            ) from error
        torch.export.save(program, folder / PROGRAM)
        return reference
