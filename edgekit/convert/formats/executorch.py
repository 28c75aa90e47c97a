"""ExecuTorch programs for CPUs: `.pte`, with XNNPACK for all that it takes.

The exported program is rewritten as a graph (quantized with PT2E, or computed in half precision), exported again, cut
into what XNNPACK takes and what ExecuTorch's portable kernels run, and serialised. Inputs and outputs stay float32 (or
the integers that the model takes); quantizing and dequantizing them is part of the program.

float16 computes in half precision, which rounds every intermediate result, so its floor is lower than that of formats
that only store half-precision weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.artifact import Bindings
from edgekit.convert.formats.base import Converted, Explanation, Exported, Format, Operator, Precision, kept
from edgekit.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from edgekit.convert.pt2e.pte import Program
    from edgekit.recipe import Recipe

QUANTIZED = ("dynamic-int8", "int8")


class ExecuTorch(Format):
    """Programs of ExecuTorch with the XNNPACK delegate."""

    name = "executorch"
    accepts = ("torch-export",)
    runtime = "executorch"
    payload = "model.pte"
    distributions = ("torch", "executorch", "torchao")
    extra = "executorch"
    parts = ("edgekit.convert.pt2e",)
    mixed = True
    precisions = {  # noqa: RUF012 - the base class declares it a ClassVar
        "float32": Precision("as trained", 60.0, must_store=("float32",), must_not_store=("int8", "float16")),
        "float16": Precision(
            "half-precision weights and compute; float32 inputs and outputs",
            15.0,
            must_store=("float16",),
            nearest=("float32",),
        ),
        "dynamic-int8": Precision(
            "int8 weights per channel, activations quantized while running",
            6.0,
            must_store=("int8",),
            nearest=("float16", "float32"),
        ),
        "int8": Precision(
            "int8 weights per channel, int8 activations, calibrated",
            6.0,
            needs_calibration=True,
            must_store=("int8",),
            nearest=("dynamic-int8", "float16", "float32"),
        ),
    }

    def fixed_because(self, recipe: Recipe, kind: str) -> str:  # noqa: ARG002 - every precision can
        return ""

    def convert(
        self,
        exported: Exported,
        lowered: Path,  # noqa: ARG002 - nothing worth sharing: opening the program takes less than a second
        recipe: Recipe,
        calibration: Mapping[str, np.ndarray],
        payload: Path,
    ) -> Converted:
        from edgekit.convert.pt2e import xnnpack
        from edgekit.convert.pt2e.graph import input_names, open_graph
        from edgekit.convert.pt2e.pte import read_program
        from edgekit.convert.sources.pytorch import dynamic_shapes

        graph, example = open_graph(exported)
        bindings = Bindings(input_names(graph), tuple(f"output_{i}" for i in range(len(exported.outputs))))
        varying = dynamic_shapes(exported.inputs)
        graph, notes = _rewrite(graph, example, recipe, calibration, varying)
        payload.write_bytes(xnnpack.program_of(graph, example, half=recipe.precision == "float16", varying=varying))
        return Converted(bindings, (*notes, _delegation(read_program(payload))))

    def stored_dtypes(self, payload: Path) -> dict[str, int]:
        from edgekit.convert.pt2e.pte import read_program

        return read_program(payload).stored

    def layers(self, exported: Exported, lowered: Path, recipe: Recipe) -> tuple[str, ...]:  # noqa: ARG002 - as the base class has it
        from edgekit.convert.pt2e import xnnpack
        from edgekit.convert.pt2e.graph import names_of, open_graph

        if recipe.precision not in QUANTIZED:
            return ()
        return names_of(xnnpack.quantizable(open_graph(exported)[0], dynamic=recipe.precision == "dynamic-int8"))

    def explain(self, exported: Exported, lowered: Path, recipe: Recipe, payload: Path) -> Explanation:  # noqa: ARG002 - as the base class has it
        from edgekit.convert.pt2e.pte import read_program

        program = read_program(payload)
        rows = [Operator(name, count, "XNNPACK") for name, count in program.delegated.items()]
        rows += [
            Operator(name, count, "portable kernel", _ADVICE.get(name.removeprefix("aten::"), ""))
            for name, count in program.kernels.items()
        ]
        advice = [row.advice for row in rows if row.advice]
        if program.partitions > 1:
            advice.insert(0, f"XNNPACK runs in {program.partitions} pieces; {_PIECES}")
        return Explanation(tuple(rows), program.partitions, advice=tuple(dict.fromkeys(advice)))


def _rewrite(
    graph: Any, example: tuple[Any, ...], recipe: Recipe, calibration: Mapping[str, np.ndarray], varying: Any
) -> tuple[Any, list[str]]:
    """The graph rewritten for the recipe's precision, and the notes on it. `varying` as in `xnnpack.quantize`."""
    from edgekit.convert.pt2e import half, xnnpack
    from edgekit.convert.pt2e.graph import finish, names_of

    if recipe.precision == "float32":
        return finish(graph), []
    if recipe.precision == "float16":
        if not half.compute_half(graph):
            raise RefusedError(f"{recipe}: the model has no float32 weights to halve.", remedy="Take float32.")
        return finish(graph), [
            "Computes in half precision: the CPU needs instructions for it (ARMv8.2 FP16, x86 F16C)."
        ]
    keep = kept(recipe)
    given = calibration if recipe.precision == "int8" else None
    graph, done = xnnpack.quantize(graph, example, keep, given, varying)
    if not done:
        raise RefusedError(
            f"{recipe}: the model has no layer that this precision quantizes (linear, convolution, embedding)"
            f"{', except those that are kept in floating point' if keep else ''}.",
            remedy="Take float32 or float16.",
        )
    return graph, [f"{len(names_of(done))} layers are quantized."]


def _delegation(program: Program) -> str:
    pieces = "1 piece" if program.partitions == 1 else f"{program.partitions} pieces"
    outside = ", ".join(f"{count} × {name.removeprefix('aten::')}" for name, count in program.kernels.items())
    return f"XNNPACK runs {sum(program.delegated.values())} nodes in {pieces}" + (
        f"; ExecuTorch's portable kernels run {outside}." if outside else "."
    )


_PIECES = "each boundary copies tensors, and the operators between them run in portable kernels, which are slow."
_ADVICE = {
    "mean": "XNNPACK takes a mean over the last two axes with keepdim=True, or an AdaptiveAvgPool2d(1).",
    "native_layer_norm": "XNNPACK has no layer normalisation; RMS or batch normalisation is delegated.",
    "gelu": "XNNPACK takes GELU in float32 only.",
    "where": "XNNPACK has no select: add a mask of large negative numbers instead.",
    "native_batch_norm": "A batch normalisation right after its convolution is folded into it.",
    "convolution": "XNNPACK takes 1-d and 2-d convolutions, transposed ones with one group.",
}
"""By operator that no delegate took: what to change in the model."""
