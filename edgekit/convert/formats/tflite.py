"""TFLite (LiteRT): `.tflite` from PyTorch by way of litert-torch, from a SavedModel by way of TensorFlow's converter,
or from a `.tflite` file as it is; quantized with ai-edge-quantizer.

`lower` makes the float32 flatbuffer, once. Every other precision is a post-training quantization of that file
(`edgekit.convert.tflite_quantization`), whatever it came from, so that their workers need neither torch nor TensorFlow.
Weights are quantized per channel, symmetrically; the calibrated precisions quantize inputs and outputs as well, per
tensor, with ranges from the calibration data.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Bindings
from edgekit.convert import tflite_explain
from edgekit.convert.formats.base import Converted, Explanation, Exported, Format, Precision, kept
from edgekit.convert.sources.base import TFLITE as TFLITE_FILE
from edgekit.convert.tflite_file import FlatBuffer, Tensor
from edgekit.convert.tflite_lowering import from_saved_model, from_torch
from edgekit.convert.tflite_quantization import ACTIVATION_BITS, layers, observe, quantize
from edgekit.convert.tflite_writing import rewritten
from edgekit.errors import ConversionError, RecipeError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from edgekit.recipe import Recipe
    from edgekit.specs import TensorSpec

LOWERED = "float32.tflite"
LAYOUT = "layout"
AS_IS = "as-is"
_UNQUANTIZED = ("float32", AS_IS)


class TFLite(Format):
    """TensorFlow Lite flatbuffers."""

    name = "tflite"
    accepts = ("tflite", "saved-model", "torch-export")
    runtime = "litert"
    payload = "model.tflite"
    distributions = ("ai-edge-quantizer", "ai-edge-litert")
    lowering = {"torch-export": ("torch", "litert-torch"), "saved-model": ("tensorflow",)}  # noqa: RUF012 - the base class declares it a ClassVar
    extra = "tflite"
    parts = (
        "edgekit.convert.tflite_explain",
        "edgekit.convert.tflite_file",
        "edgekit.convert.tflite_lowering",
        "edgekit.convert.tflite_quantization",
        "edgekit.convert.tflite_writing",
    )
    options = {LAYOUT: '"NHWC": images of a PyTorch model are taken as NHWC instead of NCHW'}  # noqa: RUF012 - the base class declares it a ClassVar
    mixed = True
    precisions = {  # noqa: RUF012 - the base class declares it a ClassVar
        "float32": Precision("as trained", 60.0, must_not_store=("int8", "int4", "float16")),
        "float16": Precision(
            "half-precision weights, float32 compute", 30.0, must_store=("float16",), nearest=("float32",)
        ),
        "dynamic-int8": Precision(
            "int8 weights per channel, activations quantized while running",
            6.0,
            must_store=("int8",),
            nearest=("weight-int8", "float16", "float32"),
        ),
        "weight-int8": Precision(
            "int8 weights per channel, float32 compute", 6.0, must_store=("int8",), nearest=("float16", "float32")
        ),
        "weight-int4": Precision(
            "int4 weights per channel (int8 where there is no 4-bit kernel), float32 compute",
            6.0,
            must_store=("int4",),
            nearest=("weight-int8", "float16", "float32"),
        ),
        "int8": Precision(
            "int8 weights per channel, int8 activations, calibrated (W8A8)",
            6.0,
            needs_calibration=True,
            must_store=("int8",),
            nearest=("dynamic-int8", "weight-int8", "float16", "float32"),
        ),
        "int16x8": Precision(
            "int8 weights per channel, int16 activations, calibrated (W8A16)",
            6.0,
            needs_calibration=True,
            must_store=("int8", "int16"),
            nearest=("weight-int8", "float16", "float32"),
        ),
        AS_IS: Precision("a .tflite file as it is, whatever it holds", 60.0),
    }

    def __init__(self) -> None:
        self._ranges: dict[tuple[Path, str], Any] = {}
        """What calibration found, for the search of the accuracy budget, which quantizes one file many times."""

    def fixed_because(self, recipe: Recipe, kind: str) -> str:  # noqa: ARG002 - it is the converter that decides
        if kind == "torch-export":
            return "litert-torch, which makes tflite of PyTorch models, lowers operators through JAX at fixed sizes"
        return ""

    def lower(self, exported: Exported, folder: Path) -> None:
        if exported.kind == "tflite":
            content = (exported.folder / TFLITE_FILE).read_bytes()
            file = FlatBuffer(content)
            if not file.signatures:  # as older converters wrote them; calibration runs signatures only
                named = {side: [(n, t.index) for n, t in file.named(side)] for side in ("inputs", "outputs")}
                content = rewritten(content, signature=named)
            (folder / LOWERED).write_bytes(content)
        elif exported.kind == "saved-model":
            (folder / LOWERED).write_bytes(from_saved_model(exported))
        else:
            from_torch(exported, folder / LOWERED, channels_last=())
        if len(FlatBuffer.read(folder / LOWERED).signatures) != 1:
            raise ConversionError(
                "The converter wrote more than one signature, or none.", remedy="Export the model with one forward."
            )

    def validate(self, recipe: Recipe) -> Precision:
        precision = super().validate(recipe)
        if kept(recipe) and recipe.precision in _UNQUANTIZED:
            raise RecipeError(
                f"{recipe} quantizes nothing, so that there is nothing to keep.", remedy="Leave the option keep out."
            )
        if recipe.options.get(LAYOUT, "NHWC") != "NHWC":
            raise RecipeError(
                f"{recipe}: the layout {recipe.options[LAYOUT]!r} is not one to convert to.",
                remedy='Give "NHWC", or leave the option out to keep the layout of the model.',
            )
        return precision

    def convert(
        self,
        exported: Exported,
        lowered: Path,
        recipe: Recipe,
        calibration: Mapping[str, np.ndarray],
        payload: Path,
    ) -> Converted:
        file = FlatBuffer.read(lowered / LOWERED)
        _refuse(exported, recipe, file)
        if recipe.options.get(LAYOUT) is None:
            return self._convert(exported, lowered / LOWERED, recipe, calibration, payload)
        images = _images(exported, recipe)
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            source = Path(folder) / LOWERED
            from_torch(exported, source, channels_last=[exported.inputs.index(spec) for spec in images])
            turned = {
                spec.name: calibration[spec.name].transpose(0, 1, 3, 4, 2)
                for spec in images
                if spec.name in calibration
            }
            converted = self._convert(exported, source, recipe, {**calibration, **turned}, payload)
        return Converted(converted.bindings, converted.notes, layouts={spec.name: "NHWC" for spec in images})

    def _convert(
        self, exported: Exported, source: Path, recipe: Recipe, calibration: Mapping[str, np.ndarray], payload: Path
    ) -> Converted:
        file = FlatBuffer.read(source)
        bindings = _bindings(file, exported)
        if recipe.precision in _UNQUANTIZED:
            shutil.copyfile(exported.folder / TFLITE_FILE if recipe.precision == AS_IS else source, payload)
            return Converted(bindings)
        ranges = None
        if recipe.precision in ACTIVATION_BITS:
            _refuse_loops(recipe, file)
            key = (source, recipe.precision)
            if key not in self._ranges:
                self._ranges[key] = observe(source, file, recipe.precision, _samples(file, bindings, calibration))
            ranges = self._ranges[key]
        content, notes = quantize(source, file, recipe.precision, ranges, kept(recipe))
        payload.write_bytes(content)
        return Converted(bindings, notes)

    def stored_dtypes(self, payload: Path) -> dict[str, int]:
        return FlatBuffer.read(payload).stored_dtypes()

    def layers(self, exported: Exported, lowered: Path, recipe: Recipe) -> tuple[str, ...]:  # noqa: ARG002 - as the base class has it
        if recipe.precision in (*_UNQUANTIZED, "float16"):
            return ()
        return tuple(layers(FlatBuffer.read(lowered / LOWERED)))

    def explain(self, exported: Exported, lowered: Path, recipe: Recipe, payload: Path) -> Explanation:  # noqa: ARG002 - as the base class has it
        return tflite_explain.explain(payload)


def _refuse(exported: Exported, recipe: Recipe, file: FlatBuffer) -> None:
    if recipe.precision == AS_IS and exported.kind != "tflite":
        raise RefusedError(
            f"{recipe} is for models that are .tflite files already.", remedy="Take tflite:float32 for this one."
        )
    if recipe.precision != AS_IS and (held := file.quantized_as) is not None:
        raise RefusedError(
            f"{recipe}: the file is quantized already: it holds {held} values. What was rounded away cannot be had "
            "back, and quantizing it again would lose more.",
            remedy="Take tflite:as-is, or start from the float32 model.",
        )


def _refuse_loops(recipe: Recipe, file: FlatBuffer) -> None:
    """The quantizer observes the main graph only, and fails on tensors of the others, which loops and branches run."""
    inner = sorted({operator.kind for operator in file.operators} & {"CALL", "CALL_ONCE", "IF", "WHILE"})
    if inner:
        raise RefusedError(
            f"{recipe}: the model holds {', '.join(inner)}, whose inner graphs ai-edge-quantizer cannot calibrate.",
            remedy="Take tflite:dynamic-int8, or unroll its loops (unroll=True of Keras' recurrent layers).",
        )


def _images(exported: Exported, recipe: Recipe) -> list[TensorSpec]:
    found = [spec for spec in exported.inputs if spec.layout == "NCHW"]
    if exported.kind != "torch-export" or not found:
        raise RefusedError(
            f"{recipe}: no input of the model is an NCHW image that could be taken as NHWC.",
            remedy="Declare layout='NCHW' in model.py if one is, else leave the option layout out.",
        )
    return found


def _bindings(file: FlatBuffer, exported: Exported) -> Bindings:
    """The payload's names in the model's order. The names of a SavedModel or a file are the model's own.

    litert-torch makes names up (args_0, output_0, or from the keys of a dictionary); its graph keeps the order.

    Raises:
        ConversionError: what the graph has there is not what the model has, in number or size.
    """
    found = {side: file.named(side) for side in ("inputs", "outputs")}
    names: dict[str, tuple[str, ...]] = {}
    for side, specs in (("inputs", exported.inputs), ("outputs", exported.outputs)):
        if exported.kind == "torch-export":
            names[side] = tuple(name for name, _ in found[side])
        else:
            names[side] = tuple(spec.name for spec in specs)
        tensors = dict(found[side])
        found_sizes = [_elements(_at_nominal(tensors[name], spec)) if name in tensors else None
                       for name, spec in zip(names[side], specs, strict=False)]  # fmt: skip
        if len(names[side]) != len(specs) or found_sizes != [_elements(spec.shape) for spec in specs]:
            has = ", ".join(f"{name} {tensor.shape}" for name, tensor in found[side])
            wants = ", ".join(f"{spec.name} {spec.describe()}" for spec in specs)
            raise ConversionError(f"The converter wrote the {side} {has}, where the model has {wants}.")
    return Bindings(inputs=names["inputs"], outputs=names["outputs"])


def _at_nominal(tensor: Tensor, spec: TensorSpec) -> tuple[int, ...]:
    """The tensor's shape, its axes that vary at their nominal sizes: in the file they count as 1."""
    if not spec.varies or len(tensor.shape) != len(spec.shape):
        return tensor.shape
    open_ = {axis.axis for axis in spec.varies}
    return tuple(spec.shape[i] if i in open_ else size for i, size in enumerate(tensor.shape))


def _elements(shape: Sequence[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def _samples(
    file: FlatBuffer, bindings: Bindings, calibration: Mapping[str, np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """Sample by sample, by the names and in the dtypes that the file takes (litert-torch makes int32 of int64)."""
    dtypes = {name: tensor.dtype for name, tensor in file.named("inputs")}
    arrays = {
        name: array.astype(dtypes[name]) for name, array in zip(bindings.inputs, calibration.values(), strict=True)
    }
    return [{name: array[k] for name, array in arrays.items()} for k in range(len(next(iter(arrays.values()))))]
