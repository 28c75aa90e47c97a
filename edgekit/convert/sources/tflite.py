"""`.tflite` files: a model that is converted already, to be proven, quantized, deployed or measured.

The reference is LiteRT itself, through the very module that runs artifacts on devices. Specs are in real values: an
input that the file stores as int8 with a scale is float32 here, and the runner quantizes it as it does for every other
artifact, so that calibration data and golden data mean the same whatever the file holds.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit import plugins
from edgekit.convert.sources.base import TFLITE, Reference, Shapes, Source, fixed_shape
from edgekit.convert.sources.savedmodel import dtype_of, refuse
from edgekit.convert.tflite_file import FlatBuffer, Tensor
from edgekit.errors import ModelError, first_line
from edgekit.model import Model
from edgekit.runner.session import run_samples
from edgekit.specs import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np


class TFLiteFile(Source):
    """A TensorFlow Lite flatbuffer."""

    name = "tflite"
    suffixes = (".tflite",)
    exports = ("tflite",)
    distributions = ("ai-edge-litert",)
    extra = "litert"
    parts = ("edgekit.convert.sources.savedmodel",)

    @classmethod
    def inspect(cls, path: Path, *, trust: bool, shown: str) -> list[str]:
        """Operators that TensorFlow's Flex delegate would run; whatever else is in such a file is arithmetic."""
        plugins.require(cls.distributions, extra=cls.extra, purpose="A tflite model")
        flex = [kind for kind in _read(path, shown).custom if kind.startswith("Flex")]
        return refuse(flex, trust=trust, shown=shown)

    def open_file(self, path: Path, name: str, shown: str, shapes: Shapes) -> Model:
        file = _read(path, shown)
        if len(file.signatures) > 1:
            raise ModelError(
                f"{shown} has {len(file.signatures)} signatures, where one is run.",
                remedy="Save it with a single signature.",
            )
        inputs = []
        for given, tensor in file.named("inputs"):
            declared = list(tensor.declared)
            if given not in shapes and declared[:1] == [None]:
                declared[0] = 1  # the batch: one sample, which is also what the interpreter allocates
            shape = fixed_shape(given, declared, shown, shapes)
            if shape != tensor.shape:
                raise ModelError(
                    f"Input {given!r} of {shown} is allocated as {tensor.shape}: {shape} cannot be had from a file "
                    "that is converted already.",
                    remedy="Convert the model again, with this shape.",
                )
            dtype = "float32" if tensor.quantized else dtype_of(tensor.dtype, given, shown)
            inputs.append(TensorSpec(given, shape, dtype, _layout(file, tensor)))
        return Model(
            name=name,
            source=self.name,
            build=lambda: path,
            inputs=tuple(inputs),
            outputs=tuple(given for given, _ in file.named("outputs")),
            no_metric_because="a model file brings no evaluation data",
        )

    def export(self, model: Model, sample: Sequence[np.ndarray], folder: Path) -> Reference:
        path = Path(model.build())
        bindings = {"inputs": [spec.name for spec in model.inputs], "outputs": list(model.outputs)}
        runtime = plugins.load("runtime", "litert")
        try:
            session = runtime.load(str(path), 1, bindings)
            run_samples(session, [array[None] for array in sample])
        except Exception as error:  # LiteRT raises what it likes here; the user gets its first line
            raise ModelError(
                f"The .tflite file of model {model.name!r} cannot be run by LiteRT: {first_line(error)}.",
                remedy="It may need operators or shapes that the interpreter lacks; the log holds the whole message.",
            ) from error
        shutil.copyfile(path, folder / TFLITE)

        def reference(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
            return [output[0] for output in run_samples(session, [array[None] for array in arrays])]

        return reference


def _read(path: Path, shown: str) -> FlatBuffer:
    try:
        return FlatBuffer.read(path)
    except ValueError as error:
        raise ModelError(
            f"{shown} cannot be read as a .tflite file: {error}.", remedy="Fetch it again, or convert the model anew."
        ) from error


def _layout(file: FlatBuffer, tensor: Tensor) -> str | None:
    """NHWC where a convolution reads the input, with nothing but quantization or padding between."""
    if len(tensor.shape) != 4:
        return None
    reached = {tensor.index}
    for operator in file.operators:
        if operator.inputs[:1] and operator.inputs[0] in reached:
            if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                return "NHWC"
            if operator.kind in ("QUANTIZE", "DEQUANTIZE", "PAD", "PADV2"):
                reached.update(operator.outputs)
    return None
