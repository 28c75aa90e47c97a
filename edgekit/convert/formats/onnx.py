"""ONNX: `.onnx`, for ONNX Runtime and everything else that reads it.

From an ONNX source the graph itself is taken, from PyTorch what `torch.onnx.export` makes of the `torch.export`
program. `lower` cleans it and, for the precisions that change weights, writes it a second time with constants folded
and batch normalisations merged into convolutions (ONNX Runtime's basic optimisations). Inputs and outputs bear the
model's own names.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from edgekit import plugins
from edgekit.artifact import Bindings
from edgekit.convert.formats.base import Converted, Explanation, Exported, Format, Precision, kept
from edgekit.convert.programs import load_program
from edgekit.convert.sources.base import ONNX as MODEL
from edgekit.convert.sources.base import PROGRAM
from edgekit.errors import RecipeError, RefusedError, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from edgekit.recipe import Recipe

OPSET = 20
"""What PyTorch models are exported in: read by ONNX Runtime since 1.17 (January 2024)."""
OLDEST_QUANTIZABLE = 13
"""Scales per channel exist since this opset; older models are converted to it before they are quantized."""
FLOAT32, FOLDED, NOT_FOLDED = "float32.onnx", "folded.onnx", "not-folded.txt"


class Onnx(Format):
    """ONNX graphs."""

    name = "onnx"
    accepts = ("onnx", "torch-export")
    runtime = "onnxruntime"
    payload = "model.onnx"
    distributions = ("onnx", "onnxruntime", "onnxscript")
    extra = "onnx"
    parts = ("edgekit.convert.onnx_model",)
    mixed = True
    options = {  # noqa: RUF012 - the base class declares it a ClassVar
        "reduce_range": "int8 weights in 7 bits, so that x86 CPUs without VNNI do not saturate (true)",
        "convolutions": "dynamic-int8: quantize convolutions as well, which makes them smaller and slower (false)",
    }
    precisions = {  # noqa: RUF012 - likewise
        "float32": Precision("as trained", 60.0, must_not_store=("int8", "uint8", "float16"), nearest=("float16",)),
        "float16": Precision(
            "half-precision weights and compute, float32 inputs and outputs", 30.0, must_store=("float16",),
            nearest=("weight-int8", "float32"),
        ),
        "dynamic-int8": Precision(
            "int8 matrix products and embeddings, activations quantized while running", 6.0,
            nearest=("weight-int8", "float16", "float32"),
        ),
        "weight-int8": Precision(
            "int8 weights per channel, float32 compute", 6.0, must_store=("int8",), nearest=("float16", "float32")
        ),
        "int8": Precision(
            "int8 weights per channel, int8 activations, calibrated (QDQ)", 6.0, needs_calibration=True,
            must_store=("int8",), nearest=("dynamic-int8", "weight-int8", "float16", "float32"),
        ),
    }  # fmt: skip

    def validate(self, recipe: Recipe) -> Precision:
        precision = super().validate(recipe)
        for name in self.options:
            if not isinstance(recipe.options.get(name, True), bool):
                raise RecipeError(f"{recipe}: the option {name} must be true or false.", remedy="Mend the recipe.")
        return precision

    def fixed_because(self, recipe: Recipe, kind: str) -> str:  # noqa: ARG002 - every precision can
        return ""

    def lower(self, exported: Exported, folder: Path) -> None:
        import onnx

        from edgekit.convert.onnx_model import cleaning, shaping

        model = onnx.load(exported.folder / MODEL) if exported.kind == "onnx" else _exported_by_torch(exported)
        shaping.call(model, [spec.name for spec in exported.inputs], [spec.name for spec in exported.outputs])
        if any(spec.varies for spec in exported.inputs):  # by the model's names of them, not the exporter's
            shaping.set_shapes(model.graph.input, exported.inputs)
            shaping.set_shapes(model.graph.output, exported.outputs)
        model = cleaning.clean(model)
        cleaning.save(model, folder / FLOAT32)
        _fold(model, folder)

    def convert(
        self,
        exported: Exported,  # noqa: ARG002 - the lowered graphs hold all
        lowered: Path,
        recipe: Recipe,
        calibration: Mapping[str, np.ndarray],
        payload: Path,
    ) -> Converted:
        import onnx

        from edgekit.convert.onnx_model import cleaning

        notes: tuple[str, ...] = ()
        if recipe.precision == "float32":
            model = onnx.load(lowered / FLOAT32)
        else:
            model, notes = self._changed(lowered, recipe, calibration, payload)
        model = cleaning.clean(model)
        cleaning.save(model, payload)
        names = [tuple(value.name for value in values) for values in (model.graph.input, model.graph.output)]
        return Converted(Bindings(*names), notes=notes)

    def _changed(
        self, lowered: Path, recipe: Recipe, calibration: Mapping[str, np.ndarray], payload: Path
    ) -> tuple[Any, tuple[str, ...]]:
        """The model in another precision than float32, and notes. `payload` may hold an intermediate result."""
        import onnx

        from edgekit.convert.onnx_model import half, quantizing, weights

        model = _folded(lowered)
        keep = _nodes_of(model, recipe)
        if recipe.precision == "float16":
            return half.to_float16(model, keep)
        quantizing.refuse_quantized(model)
        if recipe.precision == "weight-int8":
            return weights.to_int8_weights(model, keep), ()
        reduce_range = recipe.options.get("reduce_range", True)
        notes = ("Weights are quantized to 7 bits (reduce_range).",) if reduce_range else ()
        logging.getLogger().setLevel(logging.ERROR)  # the quantizer's advice to preprocess, which `lower` has done
        if recipe.precision == "int8":
            names = [value.name for value in model.graph.input]
            arrays = dict(zip(names, calibration.values(), strict=True))
            quantizing.to_static_int8(lowered / FOLDED, payload, arrays, keep, reduce_range=reduce_range)
        else:
            convolutions = recipe.options.get("convolutions", False)
            _refuse_nothing_dynamic(model, keep, convolutions=convolutions)
            quantizing.to_dynamic_int8(
                lowered / FOLDED, payload, keep, reduce_range=reduce_range, convolutions=convolutions
            )
        return onnx.load(payload), notes

    def stored_dtypes(self, payload: Path) -> dict[str, int]:
        import onnx
        from onnx import helper

        model = onnx.load(payload)
        values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
        types = [value.type.tensor_type.elem_type for value in {v.name: v for v in values}.values()]
        types += [tensor.data_type for tensor in model.graph.initializer]
        counts = Counter(str(helper.tensor_dtype_to_np_dtype(number).name) for number in types if number)
        return dict(sorted(counts.items()))

    def layers(self, exported: Exported, lowered: Path, recipe: Recipe) -> tuple[str, ...]:  # noqa: ARG002 - as the base class has it
        from edgekit.convert.onnx_model import quantizing

        return () if recipe.precision == "float32" else tuple(quantizing.layers(_folded(lowered), recipe.precision))

    def explain(self, exported: Exported, lowered: Path, recipe: Recipe, payload: Path) -> Explanation:  # noqa: ARG002 - as the base class has it
        from edgekit.convert.onnx_model.explaining import explain

        return explain(payload)


def _exported_by_torch(exported: Exported) -> Any:
    """The `torch.export` program as ONNX, its values named by the exporter; `lower` renames the outer ones."""
    import torch

    from edgekit.convert.onnx_model import cleaning

    plugins.require(("torch",), extra="torch", purpose="The format onnx, of a PyTorch model,")
    program = load_program(exported.folder / PROGRAM)
    made = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False).model_proto
    cleaning.name_after_weights(made)
    return made


def _fold(model: Any, folder: Path) -> None:
    """Writes the graph with its constants folded, in an opset that can be quantized; or why that cannot be."""
    import onnx

    from edgekit.convert.onnx_model import cleaning
    from edgekit.convert.onnx_model.running import session

    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    try:
        if opset < OLDEST_QUANTIZABLE:
            model = onnx.version_converter.convert_version(model, OLDEST_QUANTIZABLE)
        session(model, optimise="basic", save_as=folder / FOLDED)
    except Exception as error:  # both raise what they like here; float32 needs neither
        (folder / NOT_FOLDED).write_text(
            f"The graph, of opset {opset}, cannot be prepared for other precisions than float32: {first_line(error)}."
        )
        return
    cleaning.save(cleaning.clean(onnx.load(folder / FOLDED)), folder / FOLDED)


def _folded(lowered: Path) -> Any:
    import onnx

    if (lowered / NOT_FOLDED).exists():
        raise RefusedError(
            (lowered / NOT_FOLDED).read_text(), remedy=f"Take onnx:float32, or export the model in opset {OPSET}."
        )
    return onnx.load(lowered / FOLDED)


def _nodes_of(model: Any, recipe: Recipe) -> set[str]:
    """Names of all nodes of the layers that the recipe keeps.

    Raises:
        RecipeError: there is no such layer.
    """
    from edgekit.convert.onnx_model import quantizing

    groups = quantizing.layers(model, recipe.precision)
    unknown = sorted(kept(recipe) - set(groups))
    if unknown:
        raise RecipeError(
            f"{recipe}: there is no layer {', '.join(unknown)} to keep.",
            remedy=f"Its layers are {', '.join(groups)}." if groups else "It has none with weights.",
        )
    return {node for layer in kept(recipe) for node in groups[layer]}


def _refuse_nothing_dynamic(model: Any, keep: set[str], *, convolutions: bool) -> None:
    from edgekit.convert.onnx_model.weights import weight_axes

    wanted = ("MatMul", "Gemm", "Gather", *(("Conv",) if convolutions else ()))
    weighted = weight_axes(model)
    if not any(n.op_type in wanted and n.name in weighted and n.name not in keep for n in model.graph.node):
        raise RefusedError(
            "The model has no matrix product or embedding with constant weights"
            f"{' that is not kept' if keep else ''}: dynamic-int8 would change nothing.",
            remedy="Take int8 or weight-int8; the option convolutions quantizes those as well.",
        )
