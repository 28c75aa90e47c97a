"""`edgekit.convert(model, [...])`: the chain for scripts and notebooks.

    import edgekit
    artifacts = edgekit.convert("models/digits_cnn", ["tflite:int8", "onnx:float32"])
    artifacts = edgekit.convert(module, ["tflite:int8"], calibration={"x": array})

A model that exists as an object is written to a file first, since conversions run in processes of their own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.convert.chain import convert
from edgekit.convert.load import find_model
from edgekit.errors import EdgeKitError, ModelError, first_line
from edgekit.recipe import Recipe, parse_recipe

if TYPE_CHECKING:
    import numpy as np

    from edgekit.artifact import Artifact
    from edgekit.convert.building import Bounds
    from edgekit.convert.sources.base import Shapes


class PartialConversionError(EdgeKitError):
    """Some recipes failed. `artifacts` holds those that did not, `errors` the others' errors, by recipe."""

    def __init__(self, artifacts: Mapping[str, Artifact], errors: Mapping[str, EdgeKitError]) -> None:
        listed = " ".join(str(error) for error in errors.values())
        super().__init__(f"{len(errors)} of {len(artifacts) + len(errors)} recipes failed. {listed}")
        self.artifacts = artifacts
        self.errors = errors


def convert_model(
    model: Any,
    recipes: Sequence[str | Recipe],
    *,
    calibration: Mapping[str, np.ndarray] | Path | str | None = None,
    out: Path | str = "artifacts",
    shapes: Shapes | None = None,
    max_drop: str | None = None,
    trust: bool = False,
    bounds: Bounds | None = None,
) -> list[Artifact]:
    """Converts a model by every recipe, proves every artifact, and returns them in the order of the recipes.

    Args:
        model: a path or name as on the command line; or a `torch.nn.Module`, a `torch.export.ExportedProgram` or a
            `keras.Model`.
        recipes: such as "tflite:int8".
        calibration: by input name, arrays of shape `(n, *shape)` or `(n, *shape[1:])` in the input's dtype; or an
            `.npz` file. A module needs arrays: its inputs' names, shapes and dtypes are taken from them, in their
            order, which must be that of the forward's arguments; their first axis is the batch's, cut to one.
        out: where artifacts appear.
        shapes: by input, the shape at which a file's dynamic axes are fixed, or an `edgekit.dimensions.Range` for an
            axis that shall vary; for a module, whose sizes are else those of the arrays, ranges alone have an effect.
        max_drop: the accuracy budget, such as "1%".
        trust: whether a file may execute code that it brings along.
        bounds: time, memory and parallelism.

    Raises:
        PartialConversionError: some recipes failed; it holds the artifacts of the others.
        EdgeKitError: the model, its data or the recipes cannot be used; nothing was converted.
    """
    wanted = [recipe if isinstance(recipe, Recipe) else parse_recipe(recipe) for recipe in recipes]
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        path = _as_path(model, calibration, Path(scratch), shapes or {})
        data = _as_file(calibration, Path(scratch))
        ref = find_model(str(path), calibration=data, trust=trust, shapes=shapes)
        outcomes = convert(ref, wanted, out=Path(out), max_drop=max_drop, bounds=bounds)
    errors = {str(outcome.recipe): outcome.error for outcome in outcomes if outcome.error is not None}
    if errors:
        done = {str(outcome.recipe): outcome.artifact for outcome in outcomes if outcome.artifact is not None}
        raise PartialConversionError(done, errors)
    return [outcome.artifact for outcome in outcomes if outcome.artifact is not None]


def _as_file(calibration: Mapping[str, np.ndarray] | Path | str | None, scratch: Path) -> Path | None:
    if calibration is None or isinstance(calibration, (str, Path)):
        return None if calibration is None else Path(calibration)
    import numpy as np

    path = scratch / "calibration.npz"
    np.savez(path, allow_pickle=False, **dict(calibration))
    return path


def _as_path(model: Any, calibration: Any, scratch: Path, shapes: Shapes) -> Path:
    """Where the model is, or where it was written to. Its file's name becomes the model's name."""
    if isinstance(model, (str, Path)):
        return Path(model)
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(model).__mro__}
    name = type(model).__name__
    if "torch.Module" in kinds:
        return _save_module(model, calibration, scratch / f"{name}.pt2", shapes)
    if "torch.ExportedProgram" in kinds:
        import torch

        torch.export.save(model, scratch / "program.pt2")
        return scratch / "program.pt2"
    if "keras.Model" in kinds:
        path = scratch / f"{model.name}.keras"
        model.save(path)
        return path
    raise ModelError(
        f"edgekit.convert takes no {type(model).__module__}.{name}.",
        remedy="Give a path, a torch.nn.Module, a torch.export.ExportedProgram or a keras.Model.",
    )


def _save_module(module: Any, calibration: Any, path: Path, shapes: Shapes) -> Path:
    import numpy as np
    import torch

    if not isinstance(calibration, Mapping) or not calibration:
        raise ModelError(
            f"The module {path.stem} says nothing of its inputs.",
            remedy="Give calibration={name: array of samples}, in the order of the forward's arguments.",
        )
    names = list(calibration)
    samples = tuple(torch.from_numpy(np.ascontiguousarray(array[:1])) for array in calibration.values())
    was_training = module.training
    try:
        program = torch.export.export(module.eval(), samples, dynamic_shapes=_dynamic_shapes(names, samples, shapes))
    except Exception as error:  # torch raises what it likes here; the user gets its first line
        given = ", ".join(f"{name} {tuple(sample.shape)}" for name, sample in zip(names, samples, strict=True))
        raise ModelError(
            f"torch.export cannot trace the module {path.stem} with {given}: {first_line(error)}.",
            remedy="Check that the calibration arrays are in the order and shape of the forward's arguments.",
        ) from error
    finally:
        module.train(was_training)
    taken = list(program.graph_signature.user_inputs)
    if taken != names:
        raise ModelError(
            f"The module {path.stem} takes {', '.join(map(str, taken))}, but the calibration data hold "
            f"{', '.join(names)}.",
            remedy="Name the arrays like the forward's arguments, in their order.",
        )
    torch.export.save(program, path)
    return path


def _dynamic_shapes(names: Sequence[str], samples: Sequence[Any], shapes: Shapes) -> Any:
    """What `torch.export` is told of the axes for which a range was given."""
    from edgekit.convert.sources.base import fixed_shape
    from edgekit.convert.sources.pytorch import dynamic_shapes
    from edgekit.dimensions import Range
    from edgekit.specs import TensorSpec

    specs = []
    for name, sample in zip(names, samples, strict=True):
        given = shapes.get(name, tuple(sample.shape))
        declared = [None if isinstance(size, Range) else size for size in given]
        specs.append(TensorSpec(name, fixed_shape(name, declared, "the module", shapes)))
    return dynamic_shapes(specs)
