"""Post-training quantization of a float32 `.tflite` file with ai-edge-quantizer: recipes, ranges, layers.

A precision is a list of rules for the quantizer; where two match an operator, the later one holds if the operator has
a kernel for it. What this adds to the quantizer's own recipes:

- ranges are the smallest and largest value over all calibration samples (`observe`);
- 4-bit weights are clipped where the mean squared error is least, rather than at their largest value (OCTAV: Sakr et
  al. 2022, "Optimal Clipping and Magnitude-aware Differentiation", arXiv:2206.06501); operators without a 4-bit kernel
  get 8-bit weights;
- a graph that normalises while it runs (layer normalisation) keeps all but its matrix products and convolutions in
  floating point for `int8`: the variance of a normalised tensor does not fit into 8 bits;
- embeddings, which have no static kernel, store int8 rows that the look-up dequantizes;
- depthwise convolutions keep float32 activations in `dynamic-int8`;
- layers can be kept in floating point by name;
- the file is written anew, and smaller (`edgekit.convert.tflite_writing`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgekit.convert.tflite_writing import rewritten
from edgekit.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from edgekit.convert.tflite_file import FlatBuffer

_PRODUCTS = ("FULLY_CONNECTED", "BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
_WEIGHTED = (*_PRODUCTS, "EMBEDDING_LOOKUP")
_QUANTIZER_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}
"""Operators that the quantizer calls otherwise."""
_EVERYWHERE, _AGAIN = ".*", ""
"""Two regular expressions that match every operator: one expression holds one rule for all operators."""
ACTIVATION_BITS = {"int8": 8, "int16x8": 16}


def quantize(
    source: Path, file: FlatBuffer, precision: str, ranges: Any, keep: frozenset[str]
) -> tuple[bytes, tuple[str, ...]]:
    """Quantizes the file.

    Args:
        source: the float32 file, `file` what it holds.
        precision: of the format `tflite`.
        ranges: what `observe` found, None if the precision needs no calibration.
        keep: layers to leave in floating point.

    Returns:
        The quantized file, and notes for its reader.

    Raises:
        RecipeError: a layer to keep that the model does not have.
    """
    from ai_edge_quantizer import quantizer

    recipe, notes = _recipe(file, precision, keep)
    tool = quantizer.Quantizer(str(source), recipe)
    done = tool.quantize(ranges, enable_progress_report=False, enable_progress_bar=False)
    return rewritten(bytes(done.quantized_model)), notes


def observe(source: Path, file: FlatBuffer, precision: str, samples: Sequence[Mapping[str, np.ndarray]]) -> Any:
    """The smallest and largest value of every tensor over all calibration samples.

    `Quantizer.calibrate` keeps a moving average of each sample's range instead, which depends on the samples' order
    and clips whatever lies beyond the average: digits_cnn came out at 15 dB, with logits cut at 14 of 23.

    Args:
        source: the float32 file, which has one signature; `file` what it holds.
        samples: inputs by the names that the signature gives them.
    """
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(_recipe(file, precision, frozenset())[0])
    observer = calibrator.Calibrator(str(source), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    observer.calibrate({file.signature_names[0]: list(samples)}, manager)
    return observer.get_model_qsvs()


def layers(file: FlatBuffer) -> dict[str, list[str]]:
    """The layers that can be kept, in the order of the graph: name to the scopes of its operators.

    A layer is an operator with weights, named by its output, and what follows it until the next one: keeping it leaves
    no part of it quantized. The model's inputs, and what comes before the first layer, belong to the first; the
    model's outputs to the last.
    """

    def scope_of(indices: Sequence[int]) -> str:
        """As ai_edge_quantizer's get_op_scope writes it."""
        return "".join(f"{file.tensors[i].name};" for i in indices if i >= 0 and file.tensors[i].name)

    found: dict[str, list[str]] = {}
    leading = [scope_of(file.inputs)]
    current: list[str] | None = None
    for operator in file.operators:
        names = [file.tensors[i].name for i in operator.outputs if i >= 0 and file.tensors[i].name]
        scope = scope_of(operator.outputs)
        if operator.kind in _WEIGHTED and names and any(_is_weight(file, i) for i in operator.inputs[:2]):
            current = found.setdefault(names[0], [])
            current.extend(leading)
            leading = []
        (leading if current is None else current).append(scope)
    if current is not None:
        current.append(scope_of(file.outputs))
    return found


def _is_weight(file: FlatBuffer, index: int) -> bool:
    return index >= 0 and file.tensors[index].constant and file.tensors[index].dtype == "float32"


def _recipe(file: FlatBuffer, precision: str, keep: frozenset[str]) -> tuple[Any, tuple[str, ...]]:
    from ai_edge_quantizer import qtyping, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    every, kinds = qtyping.TFLOperationName.ALL_SUPPORTED, qtyping.TFLOperationName
    manager = recipe_manager.RecipeManager()
    notes: list[str] = []
    if precision == "float16":
        manager.add_weight_only_config(_EVERYWHERE, every, 16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    elif precision == "dynamic-int8":
        manager.add_dynamic_config(_EVERYWHERE, every, 8)
        if any(operator.kind == "DEPTHWISE_CONV_2D" for operator in file.operators):
            manager.add_weight_only_config(_AGAIN, kinds.DEPTHWISE_CONV_2D, 8)
            notes.append(
                "Depthwise convolutions have int8 weights and compute in float32: XNNPACK has no dynamic kernel for "
                "them, and LiteRT's own costs more than it saves."
            )
    elif precision == "weight-int8":
        manager.add_weight_only_config(_EVERYWHERE, every, 8)
    elif precision == "weight-int4":
        manager.add_weight_only_config(_EVERYWHERE, every, 8)
        manager.add_weight_only_config(_AGAIN, every, 4, algorithm_key=AlgorithmName.OCTAV)
        notes.append("LiteRT unpacks 4-bit weights in every inference: the file is small, and slower than with 8 bits.")
    else:
        notes += _add_static(manager, file, ACTIVATION_BITS[precision])
    if keep:
        manager.add_quantization_config(_only(file, keep), every, algorithm_key=AlgorithmName.NO_QUANTIZE)
        notes.append(f"{len(keep)} of {len(layers(file))} layers were kept in floating point, as asked.")
    return manager.get_quantization_recipe(), tuple(notes)


def _add_static(manager: Any, file: FlatBuffer, bits: int) -> list[str]:
    """The rules for activations of 8 or 16 bits; returns notes."""
    from ai_edge_quantizer.qtyping import TFLOperationName as Kind

    notes = []
    if bits == 8 and _normalises(file):
        for kind in _PRODUCTS:
            manager.add_static_config(_EVERYWHERE, Kind(_QUANTIZER_NAMES.get(kind, kind)), bits, 8)
        notes.append(
            "The model normalises while it runs, so only its matrix products and convolutions are int8; the "
            "operators between them stay float32. For such a model dynamic-int8 is usually faster and closer."
        )
    else:
        manager.add_static_config(_EVERYWHERE, Kind.ALL_SUPPORTED, bits, 8)
    if bits == 16:
        notes.append("LiteRT has only reference kernels for int16 activations: expect ten times the latency or more.")
    if any(operator.kind == "EMBEDDING_LOOKUP" for operator in file.operators):
        manager.add_dynamic_config(_AGAIN, Kind.EMBEDDING_LOOKUP, 8)
        notes.append("Embeddings are stored as int8 and looked up as float32: LiteRT has no other kernel.")
    return notes


def _normalises(file: FlatBuffer) -> bool:
    """Whether it has layer normalisations: a variance, or several divisions by a root (RMS normalisation).

    A single one is the length of an embedding at the end of a network, which the rest need not suffer for.
    """
    kinds = [operator.kind for operator in file.operators]
    return "SQUARED_DIFFERENCE" in kinds or kinds.count("RSQRT") > 1


def _only(file: FlatBuffer, keep: frozenset[str]) -> str:
    """A regular expression that matches the operators of these layers, and no others."""
    known = layers(file)
    unknown = sorted(keep - set(known))
    if unknown:
        raise RecipeError(
            f"The model has no layer {unknown[0]!r} to keep.", remedy=f"Its layers are: {', '.join(known)}."
        )
    scopes = sorted({scope for name in keep for scope in known[name]})
    return f"^(?:{'|'.join(map(re.escape, scopes))})$"
