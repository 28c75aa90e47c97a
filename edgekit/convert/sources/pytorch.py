"""PyTorch modules: `build` returns a `torch.nn.Module`, which is exported with `torch.export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.convert.programs import save_program
from edgekit.convert.sources.base import PROGRAM, Reference, Source
from edgekit.errors import ModelError, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.model import Model
    from edgekit.specs import TensorSpec


def reference_of(module: Any) -> Reference:
    """Runs a module (or a loaded program's module) on one sample without gradients."""
    import torch

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            result = module(*(torch.from_numpy(array.copy()) for array in arrays))
        leaves = torch.utils._pytree.tree_leaves(result)  # noqa: SLF001 - the order that torch.export itself uses
        return [leaf.detach().cpu().numpy() for leaf in leaves]

    return run


def dynamic_shapes(specs: Sequence[TensorSpec]) -> tuple[dict[int, Any], ...] | None:
    """What `torch.export` is told of axes that vary, input by input; None where none does."""
    import torch

    dims = {
        axis.name: torch.export.Dim(axis.name, min=axis.min, max=axis.max) for spec in specs for axis in spec.varies
    }
    return tuple({axis.axis: dims[axis.name] for axis in spec.varies} for spec in specs) if dims else None


def not_varying(model: Model, error: Exception) -> ModelError:
    """The error for a model that torch.export finds to work at one size only, or not within the declared bounds."""
    declared = ", ".join(f"{spec.name} {spec.describe()}" for spec in model.inputs if spec.varies)
    shapes = " ".join(f"--shape {s.name}={','.join(map(str, s.shape))}" for s in model.inputs if s.varies)
    return ModelError(
        f"torch.export cannot trace model {model.name!r} with the sizes that it declares to vary ({declared}): "
        f"{first_line(error)}.",
        remedy=f"Compute sizes from tensor.shape in `forward` instead of constants, or fix them: {shapes}. The log "
        "holds torch's own advice.",
    )


class PyTorchModule(Source):
    """A `torch.nn.Module`."""

    name = "pytorch"
    exports = ("torch-export",)
    distributions = ("torch",)
    extra = "torch"
    varies = ("torch-export",)

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
            program = torch.export.export(module, arguments, dynamic_shapes=dynamic_shapes(model.inputs))
        except Exception as error:  # torch raises what it likes here; the user gets its first line
            if any(spec.varies for spec in model.inputs):
                raise not_varying(model, error) from error
            raise ModelError(
                f"torch.export cannot trace model {model.name!r}: {first_line(error)}.",
                remedy="The log holds the whole explanation; control flow that depends on data is the usual cause.",
            ) from error
        save_program(program, folder / PROGRAM)
        return reference
