"""Keras 3 models: `.keras` files, and folders whose `build` returns a `keras.Model`.

The reference is the model itself on Keras' TensorFlow backend. It is exported as a frozen SavedModel, and kept as
`model.keras` beside it: from that file a process with the PyTorch backend makes a `torch.export` program, so that
every format which takes PyTorch models takes Keras models as well.

The older `.h5` files are not taken: Keras ignores its safe mode for them (CVE-2025-9905).
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit import plugins
from edgekit.convert.programs import save_program
from edgekit.convert.sources.base import PROGRAM, Reference, Shapes, Source, fixed_shape
from edgekit.convert.sources.keras_archive import unsafe_content
from edgekit.convert.sources.keras_torch import plain_program
from edgekit.convert.sources.savedmodel import dtype_of, refuse, write_frozen
from edgekit.errors import ModelError, first_line
from edgekit.model import Model
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

KERAS = "model.keras"
_NOT_SAVED = "not-saved.txt"


class KerasModel(Source):
    """A `keras.Model`."""

    name = "keras"
    suffixes = (".keras",)
    exports = ("saved-model", "torch-export")
    distributions = ("keras", "tensorflow")
    extra = "keras"
    varies = ("saved-model",)
    parts = (
        "edgekit.convert.sources.keras_archive",
        "edgekit.convert.sources.keras_torch",
        "edgekit.convert.sources.savedmodel",
    )
    deriving = {"torch-export": ("torch",)}  # noqa: RUF012 - the base class declares it a ClassVar
    environment = {  # noqa: RUF012 - likewise
        "saved-model": {"KERAS_BACKEND": "tensorflow"},
        "torch-export": {"KERAS_BACKEND": "torch"},
    }

    @classmethod
    def inspect(cls, path: Path, *, trust: bool, shown: str) -> list[str]:
        plugins.require(cls.distributions, extra=cls.extra, purpose="A Keras model")
        return refuse(unsafe_content(path, shown), trust=trust, shown=shown)

    def open_file(self, path: Path, name: str, shown: str, shapes: Shapes) -> Model:
        _use_backend("tensorflow")
        model = _load(path, shown)
        if not getattr(model, "inputs", None):
            raise ModelError(
                f"{shown} does not say which inputs it takes.",
                remedy="Build it with keras.Input before it is saved, or give a folder with a model.py.",
            )
        inputs = tuple(
            TensorSpec(
                given,
                _shape(given, tensor, shown, shapes),
                dtype_of(tensor.dtype, given, shown),
                _layout(model, tensor),
            )
            for given, tensor in zip(_names([t.name for t in model.inputs]), model.inputs, strict=True)
        )
        return Model(
            name=name,
            source=self.name,
            build=lambda: path,
            inputs=inputs,
            outputs=_names(getattr(model, "output_names", None) or [model.layers[-1].name]),
            no_metric_because="a model file brings no evaluation data",
        )

    def export(self, model: Model, sample: Sequence[np.ndarray], folder: Path) -> Reference:
        _use_backend("tensorflow")
        built = model.build()
        network = _load(built, str(built)) if isinstance(built, (str, Path)) else built
        _check(network, model)
        call = _call(network)

        def reference(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [tensor.numpy() for tensor in call(arrays)]

        try:
            reference(sample)
        except Exception as error:  # a layer raises what it likes here; the user gets its first line
            shapes = ", ".join(f"{spec.name} {spec.describe()}" for spec in model.inputs)
            raise ModelError(
                f"The forward pass of model {model.name!r} fails on {shapes}: {first_line(error)}.",
                remedy="Check that the input specs fit the network.",
            ) from error
        write_frozen(call, model.inputs, model.outputs, folder)
        if isinstance(built, (str, Path)):
            shutil.copyfile(built, folder / KERAS)
        else:
            _save(network, folder)
        return reference

    def derive(self, kind: str, exported: Path, sample: Sequence[np.ndarray], folder: Path) -> None:
        _use_backend("torch")
        import torch

        if (exported / _NOT_SAVED).is_file():
            why = (exported / _NOT_SAVED).read_text()
            raise ModelError(
                f"The Keras model cannot be had as {kind}: it cannot be saved as a .keras file ({why}).",
                remedy="Make it of Keras' own layers, or take a format that reads a SavedModel, such as tflite.",
            )
        try:
            network = _load(exported / KERAS, "the Keras model")
        except ModelError as error:
            raise ModelError(
                f"The Keras model cannot be had as {kind}: the PyTorch backend cannot open it. {error.what}",
                remedy="Make it of Keras' own layers, or take a format that reads a SavedModel, such as tflite.",
            ) from error
        arguments = tuple(torch.from_numpy(array.copy()) for array in sample)
        try:
            program = plain_program(network, _call(network), arguments)
        except Exception as error:  # torch raises what it likes here; the user gets its first line
            raise ModelError(
                f"The Keras model cannot be had as {kind}: torch.export cannot trace it on Keras' PyTorch backend: "
                f"{first_line(error)}.",
                remedy="The log names the layer; take a format that reads a SavedModel, such as tflite.",
            ) from error
        save_program(program, folder / PROGRAM)


def _use_backend(wanted: str) -> None:
    """Keras reads its backend once, when it is imported: by a model.py, perhaps, before this runs."""
    os.environ["KERAS_BACKEND"] = wanted
    import keras

    if keras.backend.backend() != wanted:
        raise ModelError(
            f"Keras was imported with the backend {keras.backend.backend()!r}, and {wanted!r} is needed.",
            remedy="Import keras inside the functions of model.py, not at its top, and do not set KERAS_BACKEND there.",
        )


def _load(path: Path | str, shown: str) -> Any:
    """Opens a `.keras` file. Keras' safe mode is left only for what inspection found, and so for what was trusted."""
    import keras

    trusted = bool(unsafe_content(Path(path), shown))
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not trusted)
    except Exception as error:  # Keras raises what it likes here; the user gets its first line
        raise ModelError(
            f"{shown} cannot be opened by Keras {keras.__version__}: {first_line(error)}.",
            remedy="A model with classes of its own needs a folder with a model.py that brings them.",
        ) from error


def _call(network: Any) -> Any:
    """Runs the network on its inputs, in its own order, whatever structure it takes or returns."""
    import keras

    functional = getattr(network, "inputs", None) and not isinstance(network, keras.Sequential)
    structure = network.input if functional else None

    def call(tensors: Sequence[Any]) -> list[Any]:
        if structure is not None:
            given = keras.tree.pack_sequence_as(structure, list(tensors))
        else:
            given = tensors[0] if len(tensors) == 1 else list(tensors)
        return list(keras.tree.flatten(network(given, training=False)))

    return call


def _check(network: Any, model: Model) -> None:
    import keras

    if not isinstance(network, keras.Model):
        raise ModelError(
            f"build() of model {model.name!r} returned {type(network).__name__}, not a keras.Model.",
            remedy="Return the model itself, with its weights loaded, or the path of a .keras file.",
        )
    own = _names([tensor.name for tensor in getattr(network, "inputs", None) or []])
    declared = tuple(spec.name for spec in model.inputs)
    if own and (len(own) != len(declared) or (set(own) == set(declared) and own != declared)):
        raise ModelError(
            f"Model {model.name!r} declares the inputs {', '.join(declared)}, and the Keras model takes "
            f"{', '.join(own)}, in this order.",
            remedy="Declare them in the order of the Keras model.",
        )


def _save(network: Any, folder: Path) -> None:
    """Keeps the network for `derive`, or the reason why it cannot be kept."""
    try:
        network.save(folder / KERAS)
    except (ValueError, TypeError, NotImplementedError, AttributeError) as error:
        (folder / KERAS).unlink(missing_ok=True)
        (folder / _NOT_SAVED).write_text(first_line(error))


def _names(given: Sequence[str]) -> tuple[str, ...]:
    """Names that a SavedModel's signature takes, all different."""
    plain = [re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_") or "tensor" for name in given]
    return tuple(plain) if len(set(plain)) == len(plain) else tuple(f"{name}_{i}" for i, name in enumerate(plain))


def _shape(name: str, tensor: Any, shown: str, shapes: Shapes) -> tuple[int, ...]:
    """Keras leaves the batch axis open; it is one sample unless the user says otherwise."""
    declared = list(tensor.shape)
    if name not in shapes and declared[:1] == [None]:
        declared[0] = 1
    return fixed_shape(name, declared, shown, shapes)


def _layout(network: Any, tensor: Any) -> str | None:
    """The layout of an image input, as the layers that have one read it."""
    if len(tensor.shape) != 4:
        return None
    formats = {layer.data_format for layer in network.layers if getattr(layer, "data_format", None)}
    return {"channels_last": "NHWC", "channels_first": "NCHW"}[formats.pop()] if len(formats) == 1 else None
