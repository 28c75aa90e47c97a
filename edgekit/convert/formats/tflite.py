"""TFLite (LiteRT): `.tflite` from PyTorch by way of litert-torch, quantized with ai-edge-quantizer.

`lower` makes the float32 flatbuffer, once. Every other precision is a post-training quantization of that file, so
their workers need neither torch nor the converter. Weights are quantized per channel, symmetrically; the `int8`
precision (W8A8) quantizes inputs and outputs as well, per tensor, with ranges from the calibration data.
"""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Bindings
from edgekit.convert.formats.base import Converted, Exported, Format, Precision
from edgekit.convert.sources.base import PROGRAM
from edgekit.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from edgekit.recipe import Recipe

LOWERED = "float32.tflite"


class TFLite(Format):
    """TensorFlow Lite flatbuffers."""

    name = "tflite"
    accepts = ("torch-export",)
    runtime = "litert"
    payload = "model.tflite"
    distributions = ("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert")
    extra = "tflite"
    precisions = {  # noqa: RUF012 - the base class declares it a ClassVar
        "float32": Precision("as trained", 60.0, must_not_store=("int8", "float16")),
        "float16": Precision("half-precision weights, float32 compute", 30.0, must_store=("float16",)),
        "dynamic-int8": Precision(
            "int8 weights per channel, activations quantized while running", 6.0, must_store=("int8",)
        ),
        "weight-int8": Precision("int8 weights per channel, float32 compute", 6.0, must_store=("int8",)),
        "int8": Precision(
            "int8 weights per channel, int8 activations, calibrated (W8A8)",
            6.0,
            needs_calibration=True,
            must_store=("int8",),
        ),
    }

    def lower(self, exported: Exported, folder: Path) -> None:
        import litert_torch
        import torch

        program = torch.export.load(exported.folder / PROGRAM)
        arguments, keywords = program.example_inputs or ((), {})
        litert_torch.convert(program.module(), arguments, keywords or None).export(str(folder / LOWERED))

    def convert(
        self,
        exported: Exported,  # noqa: ARG002 - quantizing reads the lowered flatbuffer only
        lowered: Path,
        recipe: Recipe,
        calibration: Mapping[str, np.ndarray],
        payload: Path,
    ) -> Converted:
        source = lowered / LOWERED
        if recipe.precision == "float32":
            shutil.copyfile(source, payload)
        else:
            payload.write_bytes(self._quantize(source, recipe.precision, calibration))
        return Converted(_bindings(payload))

    def _quantize(self, source: Path, precision: str, calibration: Mapping[str, np.ndarray]) -> bytes:
        from ai_edge_quantizer import quantizer

        recipe = _quantizer_recipe(precision)
        tool = quantizer.Quantizer(str(source), recipe)
        ranges = None
        if calibration:
            names = _bindings(source).inputs
            arrays = list(calibration.values())
            samples = [
                {name: array[k] for name, array in zip(names, arrays, strict=True)} for k in range(len(arrays[0]))
            ]
            ranges = _observed_ranges(source, recipe, {_signature(source): samples})
        return bytes(tool.quantize(ranges, enable_progress_report=False).quantized_model)

    def stored_dtypes(self, payload: Path) -> dict[str, int]:
        counts = Counter(detail["dtype"].__name__ for detail in _interpreter(payload).get_tensor_details())
        return dict(sorted(counts.items()))


def _observed_ranges(source: Path, recipe: Any, samples: Mapping[str, list[dict[str, np.ndarray]]]) -> Any:
    """The smallest and largest value of every tensor over all calibration samples.

    `Quantizer.calibrate` keeps a moving average of each sample's range instead, which depends on the samples' order
    and clips whatever lies beyond the average: digits_cnn came out at 15 dB, with logits cut at 14 of 23.
    """
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    observer = calibrator.Calibrator(str(source), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    observer.calibrate(samples, manager)
    return observer.get_model_qsvs()


def _quantizer_recipe(precision: str) -> Any:
    from ai_edge_quantizer import qtyping, recipe, recipe_manager

    if precision == "dynamic-int8":
        return recipe.dynamic_wi8_afp32()
    if precision == "weight-int8":
        return recipe.weight_only_wi8_afp32()
    if precision == "int8":
        return recipe.static_wi8_ai8()
    manager = recipe_manager.RecipeManager()
    manager.add_quantization_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        algorithm_key=recipe.AlgorithmName.FLOAT_CASTING,
    )
    return manager.get_quantization_recipe()


def _interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _signature(path: Path) -> str:
    signatures = list(_interpreter(path).get_signature_list())
    if len(signatures) != 1:
        raise ConversionError(
            f"The converter wrote {len(signatures)} signatures into {path.name}, where one was expected.",
            remedy="Export the model with a single forward.",
        )
    return str(signatures[0])


def _bindings(path: Path) -> Bindings:
    """litert-torch names inputs args_0, args_1, …, outputs output_0, …; the signature lists them unordered."""
    signature = _interpreter(path).get_signature_list()[_signature(path)]

    def by_number(name: str) -> tuple[int, str]:
        digits = name.rsplit("_", 1)[-1]
        return (int(digits) if digits.isdigit() else 0, name)

    return Bindings(
        inputs=tuple(sorted(signature["inputs"], key=by_number)),
        outputs=tuple(sorted(signature["outputs"], key=by_number)),
    )
