"""TorchScript for PyTorch Mobile's lite interpreter: `.ptl`.

The exported program is rewritten as a graph (quantized, or its weights stored in half precision), traced (compiled,
where sizes vary: `edgekit.convert.pt2e.scripting`), and saved for the lite interpreter. Upstream no longer maintains
PyTorch Mobile and its quantized tensors: `executorch` is the format for new applications; this one serves those that
ship the lite interpreter.

Only float32 goes through a graph optimiser: `optimize_for_mobile` where this PyTorch has XNNPACK, else `jit.freeze`.
Both fold constants: half-precision weights would be float32 again, and packed int8 weights are written twice.

A `.ptl` holds code. Shapes and dtypes of its inputs are not in it, so they are written beside the code, in
`extra/edgekit.json`; the runtime loads no file without them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Bindings
from edgekit.convert.formats.base import Converted, Explanation, Exported, Format, Operator, Precision, kept
from edgekit.errors import RecipeError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from edgekit.recipe import Recipe

TOLD = "edgekit.json"
BITS = "activation_bits"
QUANTIZED = ("dynamic-int8", "int8")

_SUCCESSOR = "PyTorch Mobile is no longer maintained upstream; ExecuTorch is its successor (format executorch)."
_ANY_ENGINE = (
    "Weights are packed when the file is loaded, for the engine of the machine that loads it: it runs with fbgemm "
    "(x86) and with qnnpack (ARM)."
)


class TorchScript(Format):
    """Archives of the lite interpreter."""

    name = "torchscript"
    accepts = ("torch-export",)
    runtime = "torchlite"
    payload = "model.ptl"
    distributions = ("torch",)
    extra = "torch"
    parts = ("edgekit.convert.pt2e",)
    mixed = True
    options = {  # noqa: RUF012 - the base class declares it a ClassVar
        BITS: "7 (default): right with every engine; 8: more precise, for qnnpack (ARM) only: fbgemm saturates"
    }
    precisions = {  # noqa: RUF012 - likewise
        "float32": Precision("as trained", 60.0, must_not_store=("int8", "float16")),
        "float16": Precision(
            "half-precision weights, float32 compute", 30.0, must_store=("float16",), nearest=("float32",)
        ),
        "dynamic-int8": Precision(
            "int8 weights per channel; linear layers quantize their input while running, convolutions stay in float32",
            6.0,
            must_store=("int8",),
            nearest=("float16", "float32"),
        ),
        "int8": Precision(
            "int8 weights per channel, uint8 activations, calibrated",
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
        import torch

        from edgekit.convert.pt2e import archive
        from edgekit.convert.pt2e.graph import finish, input_names, open_graph
        from edgekit.convert.pt2e.scripting import scripted

        graph, example = open_graph(exported)
        bindings = Bindings(input_names(graph), tuple(f"output_{i}" for i in range(len(exported.outputs))))
        notes = [_SUCCESSOR, *_rewrite(graph, recipe, calibration)]
        with torch.no_grad():
            if any(spec.varies for spec in exported.inputs):
                module = scripted(graph)
            else:
                module = torch.jit.trace(finish(graph), example, check_trace=False)
            if recipe.precision == "float32":
                module, note = _optimised(module)
                notes.append(note)
            content = module._save_to_buffer_for_lite_interpreter()  # noqa: SLF001 - torch has no public one
        told = _told(exported, bindings, quantized=recipe.precision in QUANTIZED)
        payload.write_bytes(archive.rewritten(content, {TOLD: told}))
        return Converted(bindings, tuple(notes))

    def stored_dtypes(self, payload: Path) -> dict[str, int]:
        from edgekit.convert.pt2e import archive

        return archive.stored_dtypes(payload)

    def layers(self, exported: Exported, lowered: Path, recipe: Recipe) -> tuple[str, ...]:  # noqa: ARG002 - as the base class has it
        from edgekit.convert.pt2e.graph import layers_of, names_of, open_graph

        return names_of(layers_of(open_graph(exported)[0])) if recipe.precision in QUANTIZED else ()

    def explain(self, exported: Exported, lowered: Path, recipe: Recipe, payload: Path) -> Explanation:  # noqa: ARG002 - as the base class has it
        from edgekit.convert.pt2e import archive

        rows = tuple(_operator(name, count) for name, count in archive.operators(payload).items())
        advice = [row.advice for row in rows if row.advice]
        return Explanation(
            rows,
            because="the lite interpreter runs operator by operator; it has no delegate in this file",
            advice=(_SUCCESSOR, *dict.fromkeys(advice)),
        )


def _rewrite(graph: Any, recipe: Recipe, calibration: Mapping[str, np.ndarray]) -> list[str]:
    """Rewrites the graph for the recipe's precision; returns the notes on it."""
    from edgekit.convert.pt2e import half, native
    from edgekit.convert.pt2e.graph import names_of
    from edgekit.convert.pt2e.ranges import observe

    keep, bits = kept(recipe), _bits(recipe)
    if recipe.precision == "float32":
        return []
    if recipe.precision == "float16":
        if not half.store_half(graph):
            raise RefusedError(
                f"{recipe}: the model has no float32 weights to store in half precision.", remedy="Take float32."
            )
        return ["Not frozen: freezing would expand the half-precision weights to float32."]
    with native.engine_for_packing():
        if recipe.precision == "int8":
            done = native.quantize_static(graph, observe(graph, calibration), keep, bits)
        else:
            done = native.quantize_dynamic(graph, keep, bits)
    if not done:
        raise RefusedError(
            f"{recipe}: the model has no linear layer, convolution (1-d, 2-d) or embedding"
            f"{' that is not kept in floating point' if keep else ''}, so there is nothing to quantize.",
            remedy="Take float32 or float16.",
        )
    engine = (
        f"Activations have {bits} bits, which no engine saturates."
        if bits < 8
        else "Activations have 8 bits: right with qnnpack; fbgemm's depthwise convolutions saturate."
    )
    return [
        f"{len(names_of(done))} layers are quantized; not frozen: freezing would write their packed weights twice.",
        f"{_ANY_ENGINE} {engine}",
    ]


def _bits(recipe: Recipe) -> int:
    bits = recipe.options.get(BITS, 7)
    if bits not in (7, 8) or isinstance(bits, bool):
        raise RecipeError(f"{recipe}: the option {BITS} is {bits!r}.", remedy="Write 7 or 8.")
    return int(bits)


def _optimised(module: Any) -> tuple[Any, str]:
    """The traced module as the best optimiser of this PyTorch leaves it, and a note on which that was."""
    import torch
    import torch.backends.xnnpack

    if torch.backends.xnnpack.enabled:
        from torch.utils.mobile_optimizer import optimize_for_mobile

        return optimize_for_mobile(module), "Optimised with optimize_for_mobile: it needs a PyTorch with XNNPACK."
    note = "Frozen with torch.jit.freeze: this PyTorch has no XNNPACK, which optimize_for_mobile needs."
    return torch.jit.freeze(module.eval()), note


def _told(exported: Exported, bindings: Bindings, *, quantized: bool) -> str:
    """What the runtime must know and the archive does not say, as JSON."""

    def rows(names: tuple[str, ...], specs: tuple[Any, ...]) -> list[dict[str, Any]]:
        return [
            {"name": name, "shape": list(spec.shape), "dtype": spec.dtype}
            for name, spec in zip(names, specs, strict=True)
        ]

    told = {
        "inputs": rows(bindings.inputs, exported.inputs),
        "outputs": rows(bindings.outputs, exported.outputs),
        "quantized": quantized,
    }
    return json.dumps(told, sort_keys=True)


def _operator(name: str, count: int) -> Operator:
    if name.startswith("quantized::"):
        return Operator(name, count, "int8 kernel of the engine (fbgemm, qnnpack)")
    if name in ("aten::quantize_per_tensor", "aten::dequantize"):
        return Operator(name, count, "conversion between float32 and int8", advice=_CONVERSIONS if count > 4 else "")
    return Operator(name, count, "PyTorch's own kernel, in the dtype that it is given")


_CONVERSIONS = (
    "Conversions between float32 and int8 cost time: they stand around operators that have no quantized kernel here. "
    "ReLU, ReLU6, max-pooling and reshaping keep the values in int8; GELU, softmax and layer normalisation do not."
)
