"""Core ML: an ML Program in an `.mlpackage`, from PyTorch or TensorFlow by way of coremltools.

Every precision but `float32` computes in float16, which is Core ML's norm and all that the Neural Engine does. The
others store their weights in fewer bits and expand them when the model is loaded or run; `int8` rounds activations as
well, with ranges from the calibration data. Each precision asks for the oldest system that can have it.

Core ML runs on Apple's systems only. Elsewhere the proof runs in our evaluator of ML Programs (`edgekit.convert.mil`),
and the artifact says so: that proves the program, not Core ML's kernels. On a Mac the proof is Core ML's own.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.convert.formats.base import Converted, Explanation, Exported, Format, Operator, Precision, kept
from edgekit.convert.imports import not_installed

if TYPE_CHECKING:
    import numpy as np

    from edgekit.artifact import Bindings
    from edgekit.recipe import Recipe


@dataclass(frozen=True)
class _Method:
    """How one precision is made.

    Args:
        target: the minimum deployment target.
        float16: what it computes in, else float32.
        weights: "int8", "int4" or "" for as they are.
        palette: bits of an index into a palette, or 0.
        sparsity: the share of weights set to zero.
        activations: whether they are rounded to int8.
    """

    target: str
    float16: bool = True
    weights: str = ""
    palette: int = 0
    sparsity: float = 0.0
    activations: bool = False


_METHODS: Mapping[str, _Method] = {
    "float32": _Method("iOS16", float16=False),
    "float16": _Method("iOS16"),
    "weight-int8": _Method("iOS16", weights="int8"),
    "weight-int4": _Method("iOS18", weights="int4"),
    "palettized-8bit": _Method("iOS16", palette=8),
    "palettized-6bit": _Method("iOS16", palette=6),
    "palettized-4bit": _Method("iOS16", palette=4),
    "pruned-50": _Method("iOS16", sparsity=0.5),
    "pruned-50-int8": _Method("iOS18", sparsity=0.5, weights="int8"),
    "int8": _Method("iOS17", weights="int8", activations=True),
}
_SYSTEMS = {"iOS16": "iOS 16, macOS 13", "iOS17": "iOS 17, macOS 14", "iOS18": "iOS 18, macOS 15"}
_COMPRESSED = ("int8", "int4", "palette4", "palette6", "palette8", "sparse-float16", "sparse-int8", "int8-activations")


_FRAMEWORKS = (
    "executorch", "keras", "libsvm", "sklearn", "tensorflow", "torchao", "torchaudio", "torchvision", "transformers",
    "xgboost",
)  # fmt: skip
"""What coremltools imports if it is there, and a plain `torch.export` program does not need."""


class CoreML(Format):
    """Core ML packages."""

    name = "coreml"
    accepts = ("saved-model", "torch-export")  # TensorFlow models without a detour; PyTorch has the other only
    runtime = "coreml"
    payload = "model.mlpackage"
    distributions = ("coremltools", "torch")
    extra = "coreml"
    lowering = {"saved-model": ("tensorflow",)}  # noqa: RUF012 - likewise
    parts = ("edgekit.convert.coreml", "edgekit.convert.mil")
    mixed = True
    precisions = {  # noqa: RUF012 - the base class declares it a ClassVar
        "float32": Precision(
            "as trained, never on the Neural Engine",
            90.0,
            must_store=("float32",),
            must_not_store=("float16", *_COMPRESSED),
            nearest=("float16",),
        ),
        "float16": Precision(
            "float16 weights and compute",
            20.0,  # each of many layers rounds: 28 dB are left of a deep network with random weights, and it is sound
            must_store=("float16",),
            must_not_store=_COMPRESSED,
            nearest=("float32",),
        ),
        "weight-int8": Precision(
            "int8 weights per channel, float16 compute", 6.0, must_store=("int8",), nearest=("float16", "float32")
        ),
        "weight-int4": Precision(
            "int4 weights per block of 32, float16 compute (iOS 18)",
            3.0,
            must_store=("int4",),
            nearest=("palettized-6bit", "weight-int8", "float16", "float32"),
        ),
        "palettized-8bit": Precision(
            "weights from palettes of 256 values, float16 compute",
            6.0,
            must_store=("palette8",),
            nearest=("float16", "float32"),
        ),
        "palettized-6bit": Precision(
            "weights from palettes of 64 values, float16 compute",
            6.0,
            must_store=("palette6",),
            nearest=("palettized-8bit", "weight-int8", "float16", "float32"),
        ),
        "palettized-4bit": Precision(
            "weights from palettes of 16 values, float16 compute",
            3.0,
            must_store=("palette4",),
            nearest=("palettized-6bit", "palettized-8bit", "weight-int8", "float16", "float32"),
        ),
        "pruned-50": Precision(
            "the smaller half of the weights set to zero, float16 compute",
            3.0,
            must_store=("sparse-float16",),
            nearest=("weight-int8", "float16", "float32"),
        ),
        "pruned-50-int8": Precision(
            "the smaller half of the weights set to zero, the others int8 per channel (iOS 18)",
            3.0,
            must_store=("sparse-int8",),
            nearest=("weight-int8", "pruned-50", "float16", "float32"),
        ),
        "int8": Precision(
            "int8 weights per channel, int8 activations, calibrated (W8A8, iOS 17)",
            6.0,
            needs_calibration=True,
            must_store=("int8", "int8-activations"),
            nearest=("weight-int8", "float16", "float32"),
        ),
    }

    def fixed_because(self, recipe: Recipe, kind: str) -> str:  # noqa: ARG002 - every precision can
        return ""

    def load(self, kind: str) -> None:
        with not_installed(_FRAMEWORKS if kind == "torch-export" else ()):
            import coremltools  # noqa: F401 - what it found is settled from now on

    def convert(
        self,
        exported: Exported,
        lowered: Path,  # noqa: ARG002 - deployment targets share no step
        recipe: Recipe,
        calibration: Mapping[str, np.ndarray],
        payload: Path,
    ) -> Converted:
        from edgekit.convert.coreml import compression
        from edgekit.convert.coreml.conversion import bindings_of, convert
        from edgekit.convert.coreml.package import write_package

        method = _METHODS[recipe.precision]
        model = convert(exported, target=method.target, float16=method.float16)
        names, keep = bindings_of(exported), kept(recipe)
        function = _function(model)
        compression.check_layers(function, keep)
        if method.activations:
            samples = _samples(calibration, names.inputs)
            ranges = compression.observed_ranges(_evaluator(model, payload.parent), samples)
            model = compression.quantize_activations(model, function, ranges, keep)
        if method.sparsity:
            model = compression.prune_weights(model, function, method.sparsity, keep)
        if method.palette:
            model = compression.palettize_weights(model, function, method.palette, keep)
        if method.weights:
            joint = bool(method.sparsity)
            model = compression.quantize_weights(model, function, method.weights, keep, joint=joint)
        write_package(model, payload)
        return Converted(names, notes=_notes(method))

    def stored_dtypes(self, payload: Path) -> dict[str, int]:
        from edgekit.convert.coreml.package import stored_dtypes

        return stored_dtypes(payload)

    def layers(self, exported: Exported, lowered: Path, recipe: Recipe) -> tuple[str, ...]:  # noqa: ARG002 - as the base class has it
        from edgekit.convert.coreml.compression import layers_of
        from edgekit.convert.coreml.conversion import convert

        method = _METHODS[recipe.precision]
        if not (method.weights or method.palette or method.sparsity):
            return ()
        model = convert(exported, target=method.target, float16=method.float16)
        return tuple(layers_of(_function(model), activations=method.activations))

    def explain(self, exported: Exported, lowered: Path, recipe: Recipe, payload: Path) -> Explanation:  # noqa: ARG002 - as the base class has it
        from edgekit.convert.coreml.advice import advice_on, general_advice
        from edgekit.convert.mil.program import count_operators, read_spec

        float16 = _METHODS[recipe.precision].float16
        units = "CPU, GPU or Neural Engine, as Core ML decides" if float16 else "CPU or GPU, as Core ML decides"
        counts = count_operators(read_spec(payload))
        operators = [
            Operator(name, count, "expanded beforehand" if name.startswith("constexpr_") else units, advice_on(name))
            for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ]
        return Explanation(
            operators=tuple(operators),
            because="which unit takes which operator is known on a Mac only "
            "(coremltools.models.compute_plan.MLComputePlan)",
            advice=general_advice(counts, float16=float16),
        )

    def session(self, payload: Path, bindings: Bindings) -> tuple[Any, str]:
        if platform.system() == "Darwin":
            return super().session(payload, bindings)
        from edgekit.convert.mil import session

        return session.Session(payload, bindings), session.NAME


def _notes(method: _Method) -> tuple[str, ...]:
    notes = [f"Runs on {_SYSTEMS[method.target]} and later."]
    if platform.system() != "Darwin":
        notes.append(
            "Proven in the MIL evaluator, which runs the program's operators as documented, not by Core ML itself: "
            "that needs a Mac."
        )
    return tuple(notes)


def _samples(calibration: Mapping[str, np.ndarray], names: tuple[str, ...]) -> list[dict[str, np.ndarray]]:
    arrays = list(calibration.values())
    return [{name: array[k] for name, array in zip(names, arrays, strict=True)} for k in range(len(arrays[0]))]


def _function(model: Any) -> Any:
    """The program of coremltools' `MLModel`, with the names that its passes will see."""
    from coremltools.converters.mil.frontend.milproto.load import load

    spec = model.get_spec()
    loaded = load(spec, specification_version=spec.specificationVersion, file_weights_dir=model.weights_dir or "")
    return loaded.functions["main"]


def _evaluator(model: Any, folder: Path) -> Any:
    """The float16 program in the evaluator; read back from a package, as it will be proven."""
    from edgekit.convert.coreml.package import write_package
    from edgekit.convert.mil import Evaluator, read_program

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch, "float16.mlpackage")
        write_package(model, path)
        return Evaluator(read_program(path))
